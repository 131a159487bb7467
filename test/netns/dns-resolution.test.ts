// Names as people use them: two sites with real gateways, a real upstream server, the documented
// Corefiles, and hosts that know nothing but their name server. IPv4 and IPv6.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import type { IpVersion } from "../../src/programs/demo/network.js";
import { staticEncodedAddress } from "../../src/programs/demo/network.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import {
  type DnsProcess,
  dig,
  digShort,
  newFolder,
  startDns,
  startKnot,
  statusOf,
  useResolver,
  zoneText,
} from "../support/dns-lab.js";
import {
  BESIDE_STUB,
  CLIENT,
  EXAMPLE,
  INSTALLER,
  IPV6,
  README,
  SERVER,
  TWO_ZONES,
} from "../support/dns-setups.js";
import { createLab, type Lab, logs, REFERENCES } from "../support/lab.js";

const why = await whyNoNamespaces([
  "ip",
  "nft",
  "ping",
  "curl",
  "dig",
  "knotd",
  "dnsperf",
  "getent",
]);
const skip = why === undefined ? false : why.reason;

const REFERENCE = REFERENCES[0].text;
const PUBLIC_SERVERS = ["8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"];
const NAMES = 10_000;
const HTTP_PORT = 8000;

/** example.com as the public sees it. `gateway`: public address of site 2. */
function publicZone(gateway: string, gatewayVersion: IpVersion): string {
  const type = gatewayVersion === 4 ? "A" : "AAAA";
  const many = Array.from({ length: NAMES }, (_, index) => {
    const network = index % 16;
    const other =
      gatewayVersion === 4 ? `203.0.113.${10 + network}` : `2001:db8:2:${network + 1}::1`;
    return `n${index} TXT "AA ${other} + ${5000 + (index >> 4)}"`;
  });
  return zoneText(
    "example.com",
    1,
    `ns A 8.8.8.8
gw ${type} ${gateway}
host TXT "v=spf1 -all" "AA ${gateway} + ${REFERENCE}"
     A 192.0.2.80
     AAAA 2001:db8:ffff::80
     HTTPS 1 . alpn=h2 ipv4hint=192.0.2.80
named TXT "AA gw.example.com + ${REFERENCE}"
www CNAME host
plain A 192.0.2.81
      AAAA 2001:db8:ffff::81
mail MX 10 host
www-native A 192.0.2.82
${many.join("\n")}`,
  );
}

const INTERNAL = zoneText(
  "internal",
  7,
  "ns A 10.0.0.53\nhost A 10.0.0.1\nshop CNAME host.example.com.",
);
const DMZ = zoneText("dmz", 8, "ns A 10.0.0.53\nhost A 10.0.1.1");

/** A lab with an upstream in the Internet that has the addresses of public resolvers. */
class World {
  readonly lab: Lab;
  dns: DnsProcess | undefined;
  folder = "";
  readonly #undo: (() => void)[] = [];

  private constructor(lab: Lab) {
    this.lab = lab;
  }

  static async create(version: IpVersion): Promise<World> {
    const lab = await createLab({
      sites: [{ localVersion: version }, { localVersion: version }],
      tunnelVersion: version,
    });
    const world = new World(lab);
    const { namespaces, internet } = lab.network;
    const lines = PUBLIC_SERVERS.map(
      (address) => `address add ${address}/${address.includes(":") ? 128 : 32} dev lo`,
    );
    await namespaces.ip(internet, lines);
    const [, site2] = lab.network.sites;
    await startKnot(namespaces, internet, {
      "example.com": publicZone(site2.publicAddress, version),
    });
    const script = `require("http")
.createServer((q, r) => r.end("hello from site 2\\n")).listen(${HTTP_PORT})`;
    namespaces.spawn(site2.hosts[0].namespace, process.execPath, ["-e", script]);
    return world;
  }

  get namespace(): string {
    return this.lab.network.sites[0].gatewayNamespace;
  }

  get host(): string {
    return this.lab.network.sites[0].hosts[0].namespace;
  }

  async start(corefile: string): Promise<void> {
    const { namespaces } = this.lab.network;
    this.folder = newFolder(namespaces, "coredns");
    writeFileSync(join(this.folder, "internal.db"), INTERNAL);
    writeFileSync(join(this.folder, "dmz.db"), DMZ);
    const mapperSocket = this.lab.gateways[0].socketPath;
    this.dns = await startDns(namespaces, this.namespace, this.folder, corefile, { mapperSocket });
  }

  /** Stops the server; it must end in order. */
  async stop(): Promise<void> {
    const { dns } = this;
    this.dns = undefined;
    if (dns !== undefined) assert.equal(await dns.stop(), 0, dns.log());
  }

  resolver(address: string): void {
    this.#undo.push(
      useResolver(this.host, [`nameserver ${address}`, "options timeout:3 attempts:1"]),
    );
  }

  dig(words: string) {
    return dig(this.lab.network.namespaces, this.namespace, words);
  }

  short(words: string) {
    return digShort(this.lab.network.namespaces, this.namespace, words);
  }

  onHost(command: string, ...args: string[]) {
    return this.lab.network.namespaces.exec(this.host, command, args);
  }

  diagnosis(): string {
    return `${this.dns?.log().slice(-4000) ?? ""}${logs(this.lab)}`;
  }

  async destroy(): Promise<void> {
    for (const undo of this.#undo) undo();
    await this.lab.destroy();
  }
}

describe("documented Corefiles over IPv4", { skip, concurrency: 1, timeout: 240_000 }, () => {
  let world: World;
  const encoded = staticEncodedAddress(4, 0);
  before(async () => {
    world = await World.create(4);
  });
  after(async () => world?.destroy());
  afterEach(async () => world.stop());

  it("client: translates names with AA, forwards the others", async () => {
    await world.start(CLIENT);
    assert.deepEqual(
      await world.short("@127.0.0.1 host.example.com A"),
      [encoded],
      world.diagnosis(),
    );
    assert.deepEqual(await world.short("@127.0.0.1 plain.example.com A"), ["192.0.2.81"]);
    const other = (await world.dig("@127.0.0.1 host.example.com AAAA")).stdout;
    assert.equal(statusOf(other), "NOERROR");
    assert.match(other, /ANSWER: 0, AUTHORITY: 1/);
    assert.match(other, /flags: qr rd ra/);
    const text = await world.short("@127.0.0.1 host.example.com TXT");
    assert.ok(
      text.some((line) => line.includes(`+ ${REFERENCE}`)),
      text.join("\n"),
    );
    assert.match(
      world.dns!.log(),
      /"A IN host\.example\.com\. udp \d+ false 1232" NOERROR qr,rd,ra/,
    );
  });

  it("client: keeps the CNAME, resolves gateway names, hides hints and native addresses", async () => {
    await world.start(CLIENT);
    assert.deepEqual(await world.short("@127.0.0.1 www.example.com A"), [
      "host.example.com.",
      encoded,
    ]);
    assert.deepEqual(await world.short("@127.0.0.1 named.example.com A"), [encoded]);
    assert.deepEqual(await world.short("@127.0.0.1 host.example.com HTTPS"), []);
    const mail = (await world.dig("@127.0.0.1 mail.example.com MX")).stdout;
    assert.match(mail, /MX\s+10 host\.example\.com\./);
    assert.doesNotMatch(mail, /192\.0\.2\.80/);
    assert.deepEqual(await world.short(`@127.0.0.1 -x ${encoded}`), ["named.example.com."]);
  });

  it("server: serves the local zone beside, over UDP and TCP, and transfers it", async () => {
    await world.start(SERVER);
    for (const how of ["", "+tcp "]) {
      assert.deepEqual(await world.short(`@127.0.0.1 ${how}host.internal A`), ["10.0.0.1"]);
      assert.deepEqual(await world.short(`@127.0.0.1 ${how}host.example.com A`), [encoded]);
    }
    const transfer = (await world.dig("@127.0.0.1 internal AXFR")).stdout;
    assert.match(transfer, /XFR size: 6 records/, transfer);
    const shop = await world.short("@127.0.0.1 shop.internal A");
    assert.deepEqual(shop, ["host.example.com.", encoded], world.diagnosis());
  });

  it("read-me: debug and comments", async () => {
    await world.start(README);
    assert.deepEqual(await world.short("@127.0.0.1 host.internal A"), ["10.0.0.1"]);
    assert.deepEqual(await world.short("@127.0.0.1 host.example.com A"), [encoded]);
  });

  it("installer script: SERVFAIL for everything that is not IPREF", async () => {
    await world.start(INSTALLER);
    assert.deepEqual(await world.short("@127.0.0.1 host.example.com A"), [encoded]);
    for (const question of ["plain.example.com A", "none.example.com A", "host.example.com TXT"]) {
      assert.equal(
        statusOf((await world.dig(`@127.0.0.1 ${question}`)).stdout),
        "SERVFAIL",
        question,
      );
    }
  });

  it("two zones: each answers its own and no transfer", async () => {
    await world.start(TWO_ZONES);
    assert.deepEqual(await world.short("@127.0.0.1 host.internal A"), ["10.0.0.1"]);
    assert.deepEqual(await world.short("@127.0.0.1 host.dmz A"), ["10.0.1.1"]);
    assert.match((await world.dig("@127.0.0.1 dmz AXFR")).stdout, /Transfer failed/);
    assert.equal(statusOf((await world.dig("@127.0.0.1 host.example.com A")).stdout), "REFUSED");
  });

  it("beside a stub: answers at 127.0.0.2 only", async () => {
    await world.start(BESIDE_STUB);
    assert.deepEqual(await world.short("@127.0.0.2 host.example.com A"), [encoded]);
    assert.match((await world.dig("@127.0.0.1 host.example.com A")).stdout, /refused|timed out/);
  });

  it("plugin example: FROM and except", async () => {
    await world.start(EXAMPLE);
    assert.deepEqual(await world.short("@127.0.0.1 host.example.com A"), [encoded]);
    // `except` names the CNAME's owner: everything about it is forwarded as it is.
    const excepted = await world.short("@127.0.0.1 www.example.com A");
    assert.deepEqual(excepted, ["host.example.com.", "192.0.2.80"]);
  });

  it("a host that knows nothing pings, fetches and looks up by name", async () => {
    await world.start(SERVER);
    const server = world.lab.network.sites[0].gatewayLocalAddress;
    world.resolver(server);
    for (const name of ["host.example.com", "www.example.com", "shop.internal"]) {
      const ping = await world.onHost("ping", "-c", "2", "-i", "0.2", "-W", "2", name);
      assert.equal(ping.code, 0, `${name}: ${ping.stdout}${ping.stderr}${world.diagnosis()}`);
      const url = `http://${name}:${HTTP_PORT}/`;
      const page = await world.onHost("curl", "-sS", "--max-time", "5", url);
      assert.equal(page.stdout, "hello from site 2\n", page.stderr);
      const any = await world.onHost("getent", "ahosts", name);
      assert.deepEqual(addressesOf(any.stdout), [encoded]);
      assert.deepEqual(addressesOf((await world.onHost("getent", "ahostsv4", name)).stdout), [
        encoded,
      ]);
      assert.equal(
        (await world.onHost("getent", "ahostsv6", name)).stdout.includes("2001:db8"),
        false,
      );
    }
  });

  it("answers 10,000 names with AA through upstream and gateway without one failure", async () => {
    await world.start(CLIENT);
    const list = join(world.folder, "names");
    const lines = Array.from({ length: NAMES }, (_, index) => `n${index}.example.com A`);
    writeFileSync(list, `${lines.join("\n")}\n`);
    const { namespaces } = world.lab.network;
    const args = ["-s", "127.0.0.1", "-d", list, "-n", "1", "-c", "4", "-q", "50", "-t", "5"];
    const result = await namespaces.exec(world.namespace, "dnsperf", args, { timeoutMs: 60_000 });
    assert.match(result.stdout, /Queries completed:\s+10000 \(100\.00%\)/, result.stdout);
    assert.match(
      result.stdout,
      /NOERROR 10000 \(100\.00%\)/,
      `${result.stdout}${world.diagnosis()}`,
    );
    assert.match(
      result.stdout,
      /Average packet size:\s+request \d+, response (4\d|5\d|6\d)/,
      result.stdout,
    );
  });

  it("goes on when the gateway is killed and comes back", async () => {
    await world.start(CLIENT);
    assert.deepEqual(await world.short("@127.0.0.1 host.example.com A"), [encoded]);
    const { startGateway } = await import("../../src/programs/demo/gateway-process.js");
    const { hostsLines } = await import("../support/lab.js");
    const [site1, site2] = world.lab.network.sites;
    await world.lab.gateways[0].stop("SIGKILL");
    const without = (await world.dig("@127.0.0.1 host.example.com A")).stdout;
    // `on-failure next`: the native address with a short life.
    assert.match(without, /host\.example\.com\.\s+([0-9]|[12][0-9]|30)\s+IN\s+A\s+192\.0\.2\.80/);
    // Started while there is no mapper, the server answers, too, and finds the mapper later.
    await world.stop();
    await world.start(CLIENT);
    assert.deepEqual(await world.short("@127.0.0.1 host.example.com A"), ["192.0.2.80"]);
    world.lab.gateways[0] = await startGateway(world.lab.network, site1, {
      hostsLines: hostsLines(site1, site2),
    });
    for (let attempt = 0; ; attempt++) {
      const found = await world.short("@127.0.0.1 host.example.com A");
      if (found[0] === encoded) break;
      assert.ok(attempt < 30, `still ${found}: ${world.diagnosis()}`);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  });
});

describe("the documented Corefile for IPv6", { skip, concurrency: 1, timeout: 120_000 }, () => {
  let world: World;
  const encoded = staticEncodedAddress(6, 0);
  before(async () => {
    world = await World.create(6);
    await world.start(IPV6);
  });
  after(async () => world?.destroy());

  it("translates to AAAA and answers A questions with NODATA", async () => {
    assert.deepEqual(await world.short("@::1 host.example.com AAAA"), [encoded], world.diagnosis());
    const other = (await world.dig("@::1 host.example.com A")).stdout;
    assert.match(other, /status: NOERROR/);
    assert.match(other, /ANSWER: 0, AUTHORITY: 1/);
    assert.deepEqual(await world.short("@::1 +tcp www.example.com AAAA"), [
      "host.example.com.",
      encoded,
    ]);
    assert.deepEqual(await world.short("@::1 plain.example.com AAAA"), ["2001:db8:ffff::81"]);
  });

  it("a host that knows nothing pings, fetches and looks up by name", async () => {
    world.resolver(world.lab.network.sites[0].gatewayLocalAddress);
    for (const name of ["host.example.com", "www.example.com", "named.example.com"]) {
      const ping = await world.onHost("ping", "-c", "2", "-i", "0.2", "-W", "2", name);
      assert.equal(ping.code, 0, `${name}: ${ping.stdout}${ping.stderr}${world.diagnosis()}`);
      const url = `http://${name}:${HTTP_PORT}/`;
      const page = await world.onHost("curl", "-sS", "--max-time", "5", url);
      assert.equal(page.stdout, "hello from site 2\n", page.stderr);
      assert.deepEqual(addressesOf((await world.onHost("getent", "ahosts", name)).stdout), [
        encoded,
      ]);
    }
  });
});

/** One Corefile of a document and the questions below it, each with the answer printed there. */
interface Example {
  readonly corefile: string;
  readonly questions: readonly { readonly words: string; readonly answer: readonly string[] }[];
}

/** Blocks marked `corefile`, each with the block marked `console` behind it. */
function examplesOf(document: string): Example[] {
  const blocks = [...document.matchAll(/```(corefile|console)\n(.*?)```/gs)];
  const examples: Example[] = [];
  for (const [, kind, text] of blocks) {
    if (kind === "corefile") {
      examples.push({ corefile: text!, questions: [] });
      continue;
    }
    const questions = text!.split(/^\$ dig \+short /m).slice(1);
    const last = examples.pop()!;
    const read = questions.map((question) => {
      const [words, ...answer] = question.trimEnd().split("\n");
      return { words: words!, answer };
    });
    examples.push({ ...last, questions: read });
  }
  return examples;
}

describe("docs/DNS-SERVER.md", { skip, concurrency: 1, timeout: 180_000 }, () => {
  const path = join(repositoryRoot(), "docs", "DNS-SERVER.md");
  const examples = examplesOf(readFileSync(path, "utf8"));
  let world: World;
  before(async () => {
    world = await World.create(4);
    world.resolver(world.lab.network.sites[0].gatewayLocalAddress);
  });
  after(async () => world?.destroy());
  afterEach(async () => world.stop());

  it("has a question for each Corefile", () => {
    assert.ok(examples.length >= 5);
    for (const { corefile, questions } of examples) assert.ok(questions.length > 0, corefile);
  });

  for (const [index, { corefile, questions }] of examples.entries()) {
    it(`example ${index + 1} answers as printed`, async () => {
      await world.start(corefile);
      for (const { words, answer } of questions) {
        const found = await digShort(world.lab.network.namespaces, world.host, words);
        assert.deepEqual(found, answer, `${words}\n${world.diagnosis()}`);
      }
    });
  }
});

/** Addresses in the output of `getent ahosts`. */
function addressesOf(output: string): string[] {
  const first = output.split("\n").map((line) => line.split(/\s+/)[0] ?? "");
  return [...new Set(first.filter((address) => address !== ""))];
}
