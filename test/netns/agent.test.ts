/** The DNS agent against real name servers and the real gateway (spec/dns-agent.md). */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { sleep } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import {
  AgentSite,
  KEY_512_TEXT,
  KEY_TEXT,
  type Program,
  published,
  type ServedZones,
  startBind,
  startKnot,
  startNsd,
  zoneText,
} from "./agent-site.js";

const why = await whyNoNamespaces(["ip", "knotd", "nsd", "named"]);
const skip = why === undefined ? false : why.reason;
const PROXY = fileURLToPath(new URL("./agent-proxy.js", import.meta.url));

const MANY = 10_000;
/** spec/dns-agent.md 3: the first poll comes five seconds after the start. */
const FIRST_POLL_MS = 5000;

/** Local names: www and mail, old and new, and h0 to h9999. */
function localZone(): string {
  const lines = ["www A 10.0.0.10", "mail A 10.0.0.25", "old A 10.0.0.3", "new A 10.0.0.4"];
  lines.push("ns AAAA ::1");
  for (let index = 0; index < MANY; index++) {
    lines.push(`h${index} A 10.1.${index >> 8}.${index & 255}`);
  }
  return zoneText(1, lines);
}

/** Reference of host `index`: the second byte from the end is below 16. */
function manyReference(index: number): number {
  return (1 + (index >> 12)) * 65_536 + (index & 4095);
}

function manyZone(serial: number, first: number, count: number): string {
  const lines: string[] = [];
  for (let index = first; index < first + count; index++) {
    const reference = manyReference(index);
    lines.push(
      published(
        `h${index}`,
        `${(reference >> 16).toString(16)}-${(reference & 65_535).toString(16)}`,
      ),
    );
  }
  return zoneText(serial, lines);
}

/** Time of day of the first line with this text, in milliseconds. */
function stampMs(log: string, text: string): number {
  const line = log.split("\n").find((one) => one.includes(text)) ?? "";
  const [hours, minutes, seconds] = line.slice(0, 15).split(":").map(Number);
  return 1000 * (3600 * hours! + 60 * minutes! + seconds!);
}

describe("the DNS agent and real name servers", { skip, concurrency: 1, timeout: 300_000 }, () => {
  let site: AgentSite;
  const masters = { knot: 5301, bind: 5302, nsd: 5303 };

  before(async () => {
    site = new AgentSite();
    await site.start();
    await startKnot(site, 5300, { lan: { text: localZone() } });
    for (const [make, start] of Object.entries({
      knot: startKnot,
      bind: startBind,
      nsd: startNsd,
    })) {
      const port = masters[make as keyof typeof masters];
      const base = port - 5300;
      const quorum = make === "nsd" ? zoneText(1, [published("old", "700")]) : undefined;
      const zones: ServedZones = {
        [`plain-${make}.example`]: { text: zoneText(1, [published("www", `${base}01`)]) },
        [`signed-${make}.example`]: {
          text: zoneText(1, [published("www", `${base}02`)]),
          key: "transfer",
        },
        [`strong-${make}.example`]: {
          text: zoneText(1, [published("www", `${base}03`)]),
          key: "strong",
        },
        "names.example": { text: zoneText(1, [published("www", "801")]), key: "transfer" },
        "quorum.example": { text: quorum ?? zoneText(2, [published("new", "701")]) },
      };
      await start(site, port, zones);
    }
  });

  after(async () => site?.destroy());

  function keyFile(text: string): string {
    const path = join(site.folder("key"), "key");
    writeFileSync(path, text);
    return path;
  }

  for (const [make, port] of Object.entries(masters)) {
    it(`publishes from ${make}, without and with TSIG`, async () => {
      const base = port - 5300;
      const server = `127.0.0.1:${port}`;
      const agents = [
        site.agent(`lan:plain-${make}.example:${server}`),
        site.agent("-tsig-key", keyFile(KEY_TEXT), `lan:signed-${make}.example:${server}`),
        site.agent("-tsig-key", keyFile(KEY_512_TEXT), `lan:strong-${make}.example:${server}`),
      ];
      for (const number of [1, 2, 3]) await site.untilAddress(100 * base + number, "10.0.0.10");
      for (const agent of agents) assert.equal(await agent.stop(), 0, agent.log());
    });

    it(`takes nothing from ${make} with a wrong key or without one, and says so`, async () => {
      const wrong = KEY_TEXT.replace("MDEyMzQ1", "WDEyMzQ1");
      const zone = `signed-${make}.example:127.0.0.1:${port}`;
      const agents = [
        site.agent("-tsig-key", keyFile(wrong), `other:${zone}`),
        site.agent(`another:${zone}`),
      ];
      await agents[0]!.until(/^E other:.*(BADSIG|signature|TSIG)/m);
      await agents[1]!.until(/^E another:.*(REFUSED|NOTAUTH).*Hosting providers/m);
      for (const agent of agents) {
        assert.doesNotMatch(agent.log(), /hosts to publish/);
        assert.equal(await agent.stop("SIGINT"), 0);
      }
    });
  }

  it("reaches a server by its IPv6 address and by its name", async () => {
    const agents = [
      site.agent("lan:plain-knot.example:[::1]:5301"),
      site.agent("-resolver", "127.0.0.1:5300", "lan:plain-knot.example:ns.lan:5301"),
    ];
    await agents[0]!.until(/\[::1\]:5301: AXFR, serial 1, 1 AA records/);
    await agents[1]!.until(/ns\.lan:5301: AXFR, serial 1, 1 AA records/);
    for (const agent of agents) await agent.stop();
  });

  it("asks for single names where no transfer is allowed", async () => {
    const agent = site.agent("-resolver", "127.0.0.1:5302", "lan:names.example:names:www,@,none");
    await site.untilAddress(801, "10.0.0.10", 20_000, agent);
    assert.match(agent.log(), /W none\.names\.example: .*not published/);
    await agent.stop();
  });

  it("lets two of three servers outvote a stale one", async () => {
    const servers = Object.values(masters).map((port) => `127.0.0.1:${port}`);
    const agent = site.agent(`lan:quorum.example:${servers.join(",")}`);
    await site.untilAddress(701, "10.0.0.4", 20_000, agent);
    assert.equal(await site.localAddress(700n), undefined);
    await agent.stop();
  });

  it("hears NOTIFY, transfers the difference, and removes hosts, the last one too", async () => {
    const zone = (serial: number, ...lines: string[]) => zoneText(serial, lines);
    const [www, mail] = [published("www", "501"), published("mail", "502")];
    const knot = await startKnot(
      site,
      5305,
      { "live.example": { text: zone(1, www) } },
      { notifyPort: 5355 },
    );
    const agent = site.agent("-notify", "127.0.0.1:5355", "lan:live.example:127.0.0.1:5305");
    await site.untilAddress(501, "10.0.0.10");
    await knot.change("live.example", zone(2, www, mail));
    await site.untilAddress(502, "10.0.0.25", 8000, agent);
    assert.match(agent.log(), /IXFR, serial 2/);
    await knot.change("live.example", zone(3));
    await agent.until(/serial 3, 0 AA records/, 8000);
    await site.untilAddress(501, undefined, 60_000);
    await site.untilAddress(502, undefined, 5000);
    await agent.stop();
    await knot.stop();
  });

  describe("with ten thousand records", () => {
    let agent: Program;
    let knot: Program & { readonly folder: string };
    const flag = () => join(site.namespaces.directory, "kill");
    const zones = (serial: number, first: number): ServedZones => ({
      "many.example": { text: manyZone(serial, first, MANY - first) },
    });

    before(async () => {
      knot = await startKnot(site, 5304, zones(1, 0));
      const proxy = site.spawn("node", [PROXY, "5314", "5304", flag(), "50000"]);
      await proxy.until(/listening/);
    });

    it("accepts them within five seconds of the first poll", async () => {
      agent = site.agent("-time-stamps", "lan:many.example:127.0.0.1:5314");
      await agent.until(/10000 records acknowledged/, 30_000);
      const startMs = stampMs(agent.log(), "connected to the mapper");
      const tookMs = stampMs(agent.log(), "records acknowledged") - startMs - FIRST_POLL_MS;
      assert.ok(tookMs < 5000, `took ${Math.round(tookMs)} ms:\n${agent.log()}`);
      for (const index of [0, 4095, 4096, MANY - 1]) {
        const address = await site.localAddress(BigInt(manyReference(index)));
        assert.equal(address, `10.1.${index >> 8}.${index & 255}`);
      }
    });

    it("changes nothing when the server is killed in mid-transfer, and recovers", async () => {
      await knot.stop();
      knot = await startKnot(site, 5304, zones(2, 1));
      writeFileSync(flag(), String(knot.child.pid));
      agent.child.kill("SIGHUP"); // asks now
      await agent.until(/E lan:many\.example: .*transfer: /);
      await sleep(1000);
      assert.equal(await site.localAddress(BigInt(manyReference(0))), "10.1.0.0");
      assert.doesNotMatch(agent.log(), /serial 2/);
      knot = await startKnot(site, 5304, zones(2, 1));
      await agent.until(/serial 2, 9999 AA records/, 40_000);
      await agent.until(/9999 records acknowledged/);
      assert.equal(await agent.stop(), 0);
    });
  });
});
