// Our zones in the hands of other people's software: NSD, Knot and BIND as secondaries, dig and
// kdig as clients, a zone served by Knot as the judge of ours.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Namespaces, waitFor } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import {
  type DnsProcess,
  dig,
  digShort,
  newFolder,
  startBindSecondary,
  startDns,
  startKnot,
  startNsdSecondary,
  statusOf,
  zoneText,
} from "../support/dns-lab.js";

const why = await whyNoNamespaces(["ip", "dig", "kdig", "knotd", "nsd", "named"]);
const skip = why === undefined ? false : why.reason;

const PRIMARY = "10.77.0.1";
const RECORDS = 10_000;

/** Every kind of record, and 10,000 addresses. */
function bigZone(serial: number): string {
  const many = Array.from(
    { length: RECORDS },
    (_, index) => `h${index} A 10.1.${index >> 8}.${index & 255}`,
  );
  return zoneText(
    "internal",
    serial,
    `ns A ${PRIMARY}
host 300 IN A 10.0.0.1
 IN AAAA fd00::1
 IN TXT "AA 203.0.113.5 + 1025" "a; b" "say \\"hi\\""
alias CNAME host
*.wild TXT "any"
mail MX 10 host
_sip._tcp SRV 1 2 5060 host
cut NS ns.cut
ns.cut A 10.0.0.9
odd\\.label A 10.0.0.7
new${serial} A 10.0.0.8
unknown TYPE65400 \\# 4 0a000001
svc HTTPS 1 . alpn=h2 ipv4hint=10.0.0.1
caa CAA 0 issue "ca.example"
${many.join("\n")}`,
  );
}

/** Transfer as sorted lines, so that two servers can be compared. */
async function transferLines(namespaces: Namespaces, where: string, words: string) {
  const { stdout } = await dig(namespaces, where, `+onesoa +nocomments +nostats +nocmd ${words}`);
  const lines = stdout.split("\n").filter((line) => /\sIN\s/.test(line) && !line.startsWith(";"));
  return lines.map((line) => line.replace(/\s+/g, " ").toLowerCase()).sort();
}

describe("our zones and other software", { skip, concurrency: 1, timeout: 240_000 }, () => {
  let namespaces: Namespaces;
  let server: string;
  let peer: string;
  let folder: string;
  let dns: DnsProcess;

  before(async () => {
    namespaces = new Namespaces();
    server = await namespaces.add("dns");
    peer = await namespaces.add("peer");
    await namespaces.ip(server, [
      `link add name lan0 type veth peer name lan0 netns ${peer}`,
      `address add ${PRIMARY}/24 dev lan0`,
      "address add fd77::1/64 dev lan0",
      "link set lan0 up",
    ]);
    await namespaces.ip(peer, [
      "address add 10.77.0.2/24 dev lan0",
      "address add 10.77.0.3/24 dev lan0",
      "address add 10.77.0.4/24 dev lan0",
      "address add fd77::2/64 dev lan0",
      "link set lan0 up",
    ]);
    folder = newFolder(namespaces, "coredns");
    writeFileSync(join(folder, "internal.db"), bigZone(100));
    dns = await startDns(
      namespaces,
      server,
      folder,
      `internal {
    file internal.db {
        reload 1s
    }
    transfer {
        to * 10.77.0.2 10.77.0.3 10.77.0.4
    }
}
`,
    );
  });
  after(async () => {
    await dns?.stop();
    await namespaces?.destroy();
  });

  it("answers as Knot answers from the same file", async () => {
    const judge = await startKnot(namespaces, server, { internal: bigZone(100) }, { port: 5353 });
    const questions = [
      ...["host A", "host AAAA", "host TXT", "host MX", "alias A", "alias CNAME", "x.y.wild TXT"],
      ...["x.wild A", "mail MX", "_sip._tcp SRV", "none A", "a.cut A", "cut NS", "HOST A"],
      ...["odd\\.label A", "unknown TYPE65400", "svc HTTPS", "caa CAA", "wild A", "_tcp A"],
      ...["h9999 A", "cut DS"],
    ];
    for (const question of questions) {
      const [name, type] = question.split(" ");
      const ask = async (port: number) => {
        const how = `@127.0.0.1 -p ${port} +norec +nostats +nocmd +noedns`;
        const words = `${how} ${name}.internal ${type}`;
        return essenceOf((await dig(namespaces, server, words)).stdout);
      };
      assert.deepEqual(await ask(53), await ask(5353), question);
    }
    await judge.stop();
  });

  it("transfers the zone complete and equal to what Knot makes of the file", async () => {
    const judge = await startKnot(
      namespaces,
      server,
      { internal: bigZone(100) },
      {
        port: 5354,
        extra: "acl:\n  - id: all\n    address: 0.0.0.0/0\n    action: transfer\n",
        zoneExtra: "    acl: all\n",
      },
    );
    const ours = await transferLines(namespaces, server, `@127.0.0.1 internal AXFR`);
    const theirs = await transferLines(namespaces, server, `@127.0.0.1 -p 5354 internal AXFR`);
    assert.ok(ours.length > RECORDS, String(ours.length));
    assert.deepEqual(ours, theirs);
    await judge.stop();
  });

  it("IXFR: one SOA when current, the whole zone when older, UDP sends to TCP", async () => {
    const current = await dig(namespaces, peer, `@${PRIMARY} internal IXFR=100`);
    assert.match(current.stdout, /XFR size: 1 records/);
    const older = await dig(namespaces, peer, `@${PRIMARY} internal IXFR=99`);
    assert.match(older.stdout, /XFR size: 100\d\d records/, older.stdout.slice(-300));
  });

  it("kdig: EDNS versions, unknown options, TCP with two questions, small buffers", async () => {
    const kdig = async (...args: string[]) =>
      (await namespaces.exec(peer, "kdig", ["+time=3", "+retry=0", `@${PRIMARY}`, ...args])).stdout;
    assert.match(await kdig("+ednsopt=65001:abcd", "host.internal", "A"), /status: NOERROR/);
    const version = await dig(namespaces, peer, `@${PRIMARY} +edns=1 +noednsneg host.internal A`);
    assert.match(version.stdout, /status: BADVERS/);
    assert.match(version.stdout, /EDNS: version: 0/);
    const two = await kdig("+tcp", "+keepopen", "host.internal", "A", "mail.internal", "MX");
    assert.match(two, /10\.0\.0\.1/);
    assert.match(two, /10 host\.internal\./);
    // Code 11, 2 octets, 100 times 100 ms (RFC 7828).
    const keepalive = await dig(namespaces, peer, `@${PRIMARY} +tcp +keepalive host.internal A`);
    assert.match(keepalive.stdout, /TCP[- ]KEEPALIVE: 10\.0 secs/i, keepalive.stdout);
    const overUdp = await dig(namespaces, peer, `@${PRIMARY} +keepalive host.internal A`);
    assert.doesNotMatch(overUdp.stdout, /KEEPALIVE:/i);
    assert.match(await kdig("+dnssec", "host.internal", "A"), /Flags: do/i);
    const six = await namespaces.exec(peer, "kdig", [
      "@fd77::1",
      "+short",
      "host.internal",
      "AAAA",
    ]);
    assert.equal(six.stdout.trim(), "fd00::1");
  });

  it("ISC's EDNS compliance questions (RFC 8906)", async () => {
    const ask = async (words: string) =>
      (await dig(namespaces, peer, `@${PRIMARY} +norec ${words} internal SOA`)).stdout;
    for (const words of [
      "+noedns",
      "+edns=0",
      "+edns=0 +ednsopt=100",
      "+edns=0 +ednsflags=0x40",
      "+edns=0 +dnssec",
      "+edns=0 +bufsize=512",
      "+tcp",
      "+edns=0 +cookie",
      "+edns=0 +nsid +subnet=192.0.2.0/24",
    ]) {
      const output = await ask(words);
      assert.equal(statusOf(output), "NOERROR", `${words}\n${output}`);
      assert.match(output, /flags: qr aa/, words);
      assert.equal(/EDNS: version: 0/.test(output), words !== "+noedns", `${words}\n${output}`);
    }
    assert.match(await ask("+edns=1 +noednsneg +ednsopt=100"), /status: BADVERS/);
    assert.match(await ask("+opcode=15 +noedns +header-only"), /status: NOTIMP/);
    assert.match(await ask("+edns=0 +noad +zflag"), /status: NOERROR/);
  });

  for (const [name, start, address] of [
    ["NSD", startNsdSecondary, "10.77.0.2"],
    ["BIND", startBindSecondary, "10.77.0.3"],
    ["Knot", startKnotSecondary, "10.77.0.4"],
  ] as const) {
    it(`${name} as secondary: transfers, hears of a new serial by NOTIFY, is equal`, async () => {
      const secondary = await start(namespaces, peer, "internal", PRIMARY);
      const serialAt = async () =>
        (await digShort(namespaces, peer, "@127.0.0.1 internal SOA"))[0]?.split(" ")[2];
      const before = Number(
        (await digShort(namespaces, peer, `@${PRIMARY} internal SOA`))[0]?.split(" ")[2],
      );
      try {
        const has = (serial: number) =>
          waitFor(
            async () => ((await serialAt()) === String(serial) ? true : undefined),
            20_000,
            200,
          );
        assert.ok(await has(before), `${secondary.log()}\n${dns.log().slice(-2000)}`);
        writeFileSync(join(folder, "internal.db"), bigZone(before + 1));
        assert.ok(
          await has(before + 1),
          `${address}: ${secondary.log()}\n${dns.log().slice(-2000)}`,
        );
        assert.deepEqual(
          await digShort(namespaces, peer, `@127.0.0.1 new${before + 1}.internal A`),
          ["10.0.0.8"],
        );
        assert.deepEqual(await digShort(namespaces, peer, "@127.0.0.1 h9999.internal A"), [
          "10.1.39.15",
        ]);
      } finally {
        await secondary.stop();
      }
    });
  }
});

/** Knot as secondary. */
function startKnotSecondary(
  namespaces: Namespaces,
  namespace: string,
  zone: string,
  primary: string,
): Promise<DnsProcess> {
  return startKnot(
    namespaces,
    namespace,
    { [zone]: "" },
    {
      extra: `remote:\n  - id: primary\n    address: ${primary}\nacl:\n  - id: notify\n    address: ${primary}\n    action: notify\n`,
      zoneExtra:
        "    master: primary\n    acl: notify\n    zonefile-load: none\n    zonefile-sync: -1\n",
    },
  );
}

/** What two right servers agree on: code, AA, answer records, authority records as sets. */
function essenceOf(output: string): object {
  const section = (name: string) => {
    const start = output.indexOf(`;; ${name} SECTION:`);
    if (start < 0) return [];
    const lines = output.slice(start).split("\n").slice(1);
    const end = lines.indexOf("");
    return lines
      .slice(0, end)
      .map((line) => line.replace(/\s+/g, " "))
      .sort();
  };
  const flags = /flags: ([a-z ]*);/.exec(output)?.[1] ?? "";
  const isPositive = section("ANSWER").length > 0;
  return {
    status: statusOf(output),
    isAuthoritative: flags.includes("aa"),
    answer: section("ANSWER"),
    // Positive answers may carry the apex NS or not.
    authority: isPositive ? [] : section("AUTHORITY"),
  };
}
