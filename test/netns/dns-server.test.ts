// Addresses, sources and the end of the DNS server, with machines around it: port 53, stub
// resolvers, addresses that come and go, strangers.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { Namespaces, sleep, waitFor } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import {
  type DnsProcess,
  dig,
  digShort,
  newFolder,
  startDns,
  statusOf,
  zoneText,
} from "../support/dns-lab.js";

const why = await whyNoNamespaces(["ip", "dig", "dnsperf"]);
const skip = why === undefined ? false : why.reason;

const ZONE = "example.org {\n    file example.org.db\n}\n";

describe("the DNS server among other machines", { skip, concurrency: 1, timeout: 180_000 }, () => {
  let namespaces: Namespaces;
  let server: string;
  let near: string;
  let folder: string;
  let dns: DnsProcess | undefined;

  before(async () => {
    namespaces = new Namespaces();
    server = await namespaces.add("dns");
    near = await namespaces.add("near");
    await namespaces.ip(server, [
      `link add name lan0 type veth peer name lan0 netns ${near}`,
      "address add 10.77.0.1/24 dev lan0",
      "address add fd77::1/64 dev lan0",
      "address add 198.51.100.1/24 dev lan0",
      "link set lan0 up",
      // With a default route the interface is one that leads outside: its networks are not ours.
      "route add default via 198.51.100.254",
    ]);
    await namespaces.ip(near, [
      "address add 10.77.0.2/24 dev lan0",
      "address add fd77::2/64 dev lan0",
      "address add 198.51.100.9/24 dev lan0",
      "link set lan0 up",
    ]);
  });
  after(async () => namespaces?.destroy());
  afterEach(async () => {
    const running = dns;
    dns = undefined;
    if (running !== undefined && running.child.exitCode === null) {
      assert.equal(await running.stop(), 0, running.log());
    }
  });

  async function start(corefile: string, args: string[] = [], isStartAwaited = true) {
    folder = newFolder(namespaces, "coredns");
    writeFileSync(
      join(folder, "example.org.db"),
      zoneText("example.org", 1, "ns A 198.51.100.1\nhost A 192.0.2.1"),
    );
    dns = await startDns(namespaces, server, folder, corefile, { args, isStartAwaited });
    return dns;
  }

  /** Holds port 53 of an address under the name of systemd's resolver. */
  async function holdPort(address: string) {
    const script = `process.title="systemd-resolve";
const u=require("dgram").createSocket("udp4");u.bind(53,"${address}",()=>
require("net").createServer().listen(53,"${address}",()=>console.log("holding")));`;
    const child = namespaces.spawn(server, process.execPath, ["-e", script]);
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    assert.ok(await waitFor(() => (output.includes("holding") ? true : undefined), 5000));
    return child;
  }

  const askNear = (words: string) => dig(namespaces, near, words);

  it("answers at every address, from the address that was asked, UDP and TCP", async () => {
    await start(ZONE);
    for (const how of ["", "+tcp "]) {
      for (const address of ["10.77.0.1", "198.51.100.1", "fd77::1"]) {
        const found = await digShort(namespaces, near, `@${address} ${how}host.example.org A`);
        assert.deepEqual(found, ["192.0.2.1"], `${how}${address}`);
      }
      const local = await digShort(namespaces, server, `@127.0.0.7 ${how}host.example.org A`);
      assert.deepEqual(local, ["192.0.2.1"]);
    }
  });

  it("answers at link-local addresses", async () => {
    await start(ZONE);
    const { stdout } = await namespaces.exec(server, "ip", [
      "-6",
      "-o",
      "addr",
      "show",
      "dev",
      "lan0",
      "scope",
      "link",
    ]);
    const address = /inet6 (fe80[0-9a-f:]+)/.exec(stdout)?.[1];
    assert.ok(address, stdout);
    for (const how of ["", "+tcp "]) {
      const found = await digShort(namespaces, near, `@${address}%lan0 ${how}host.example.org A`);
      assert.deepEqual(found, ["192.0.2.1"], how);
    }
  });

  it("answers at an address that comes later", async () => {
    await start(ZONE);
    await namespaces.ip(server, ["address add 10.77.0.50/24 dev lan0"]);
    assert.deepEqual(await digShort(namespaces, near, "@10.77.0.50 host.example.org A"), [
      "192.0.2.1",
    ]);
    await namespaces.ip(server, ["address del 10.77.0.50/24 dev lan0"]);
  });

  it("runs beside a stub resolver, and follows addresses there, too", async () => {
    const stub = await holdPort("127.0.0.53");
    const running = await start(ZONE);
    assert.deepEqual(await digShort(namespaces, near, "@10.77.0.1 host.example.org A"), [
      "192.0.2.1",
    ]);
    assert.deepEqual(await digShort(namespaces, near, "@fd77::1 +tcp host.example.org A"), [
      "192.0.2.1",
    ]);
    assert.match(running.log(), /Listening on .*10\.77\.0\.1:53/);
    await namespaces.ip(server, ["address add 10.77.0.51/24 dev lan0"]);
    const found = await waitFor(
      async () => {
        const [first] = await digShort(namespaces, near, "@10.77.0.51 host.example.org A");
        return first === "192.0.2.1" ? true : undefined;
      },
      12_000,
      500,
    );
    assert.ok(found, running.log());
    await namespaces.ip(server, ["address del 10.77.0.51/24 dev lan0"]);
    stub.kill("SIGKILL");
  });

  it("ends with 69 when port 53 is taken everywhere, names systemd-resolved and both ways out", async () => {
    const stub = await holdPort("0.0.0.0");
    const running = await start(`. {\n    bind 127.0.0.1\n    whoami\n}\n`, [], false);
    await waitFor(() => running.child.exitCode ?? undefined, 10_000);
    assert.equal(running.child.exitCode, 69, running.log());
    assert.match(
      running.log(),
      /Cannot listen on udp:\/\/127\.0\.0\.1:53: the address is already in use/,
    );
    assert.match(running.log(), /pid \d+ \(systemd-resolve\) holds it; set DNSStubListener=no/);
    assert.match(
      running.log(),
      /or let this server use another address \('bind' in the Corefile\)/,
    );
    stub.kill("SIGKILL");
  });

  it("serves different blocks at different addresses and ports", async () => {
    await start(
      `example.org {\n    bind 10.77.0.1\n    file example.org.db\n}\norg {\n    bind 198.51.100.1\n    any\n    whoami\n}\nexample.org:5300 {\n    bind lan0 {\n        except 10.77.0.1\n    }\n    file example.org.db\n}\n`,
    );
    assert.deepEqual(await digShort(namespaces, near, "@10.77.0.1 host.example.org A"), [
      "192.0.2.1",
    ]);
    assert.match(
      (await askNear("@198.51.100.1 host.example.org A")).stdout,
      /_udp\.host\.example\.org/,
    );
    assert.equal(statusOf((await askNear("@10.77.0.1 other.org A")).stdout), "REFUSED");
    assert.deepEqual(await digShort(namespaces, near, "@198.51.100.1 -p 5300 host.example.org A"), [
      "192.0.2.1",
    ]);
    assert.match(
      (await askNear("@10.77.0.1 -p 5300 host.example.org A")).stdout,
      /refused|timed out/,
    );
  });

  it("answers strangers from public zones only, REFUSED five times a second, then silence", async () => {
    await start(`${ZONE}. {\n    hosts {\n        10.0.0.1 secret.lan\n    }\n}\n`);
    const stranger = "-b 198.51.100.9 @198.51.100.1";
    assert.deepEqual(await digShort(namespaces, near, `${stranger} host.example.org A`), [
      "192.0.2.1",
    ]);
    assert.equal(statusOf((await askNear(`${stranger} secret.lan A`)).stdout), "REFUSED");
    assert.deepEqual(await digShort(namespaces, near, "-b 10.77.0.2 @10.77.0.1 secret.lan A"), [
      "10.0.0.1",
    ]);
    const list = join(folder, "names");
    writeFileSync(list, Array.from({ length: 50 }, () => "secret.lan A\n").join(""));
    const load = await namespaces.exec(near, "dnsperf", [
      "-s",
      "198.51.100.1",
      "-a",
      "198.51.100.9",
      "-d",
      list,
      "-n",
      "1",
      "-t",
      "1",
      "-q",
      "50",
    ]);
    const refused = Number(/REFUSED (\d+)/.exec(load.stdout)?.[1] ?? 0);
    assert.ok(refused <= 6, load.stdout);
  });

  it("limits equal responses to strangers, a second client of the network included", async () => {
    await start(ZONE);
    const list = join(folder, "names");
    writeFileSync(list, Array.from({ length: 200 }, () => "host.example.org A\n").join(""));
    const flood = (source: string) =>
      namespaces.exec(near, "dnsperf", [
        "-s",
        "198.51.100.1",
        "-a",
        source,
        "-d",
        list,
        "-n",
        "1",
        "-t",
        "1",
        "-q",
        "200",
      ]);
    const { stdout } = await flood("198.51.100.9");
    const answered = Number(/Queries completed:\s+(\d+)/.exec(stdout)?.[1]);
    const lost = Number(/Queries lost:\s+(\d+)/.exec(stdout)?.[1]);
    // 20 whole, of the other 180 half truncated, half lost; a few more as the second passes.
    assert.ok(answered >= 105 && answered <= 130, stdout);
    assert.ok(lost >= 70, stdout);
    // Over TCP nobody can forge the source.
    assert.deepEqual(
      await digShort(namespaces, near, "+tcp -b 198.51.100.9 @198.51.100.1 host.example.org A"),
      ["192.0.2.1"],
    );
  });

  it("gives up root with -user and still answers", async () => {
    const running = await start(ZONE, ["-user", "nobody"]);
    const status = readFileSync(`/proc/${running.child.pid}/status`, "utf8");
    assert.match(status, /^Uid:\t65534\t65534\t65534\t65534$/m);
    assert.match(status, /^CapEff:\t0+$/m);
    assert.deepEqual(await digShort(namespaces, near, "@10.77.0.1 host.example.org A"), [
      "192.0.2.1",
    ]);
  });

  it("answers the questions that are under way before it ends", async () => {
    const script = `const s=require("dgram").createSocket("udp4");
s.on("message",(m,r)=>setTimeout(()=>{m[2]|=128;s.send(m,r.port,r.address)},300));s.bind(5353,"127.0.0.1",()=>console.log("up"))`;
    const slow = namespaces.spawn(server, process.execPath, ["-e", script]);
    let up = "";
    slow.stdout?.on("data", (chunk: Buffer) => {
      up += chunk.toString();
    });
    assert.ok(await waitFor(() => (up.includes("up") ? true : undefined), 5000));
    const running = await start(". {\n    forward . 127.0.0.1:5353\n}\n");
    const question = dig(namespaces, near, "@10.77.0.1 slow.example A");
    await sleep(120);
    assert.equal(await running.stop(), 0, running.log());
    assert.notEqual(statusOf((await question).stdout), "no reply", (await question).stdout);
    slow.kill("SIGKILL");
  });

  it("bears 10,000 questions in flight with a dead upstream, and lives on", async () => {
    const running = await start(`. {
    forward . 127.0.0.1:5399
}
example.org {
    file example.org.db
}
`);
    // A socket that takes everything and says nothing.
    const script = `const s = require("dgram").createSocket("udp4");
s.bind(5399, "127.0.0.1", () => console.log("up"));`;
    const silent = namespaces.spawn(server, process.execPath, ["-e", script]);
    let up = "";
    silent.stdout?.on("data", (chunk: Buffer) => {
      up += chunk.toString();
    });
    assert.ok(await waitFor(() => (up.includes("up") ? true : undefined), 5000));
    const list = join(folder, "names");
    const names = Array.from({ length: 10_000 }, (_, index) => `n${index}.example.net A\n`);
    writeFileSync(list, names.join(""));
    const args = ["-s", "127.0.0.1", "-d", list, "-n", "1", "-c", "10", "-q", "10000", "-t", "8"];
    const load = namespaces.exec(server, "dnsperf", args, { timeoutMs: 60_000 });
    await sleep(1500);
    const meanwhile = await digShort(namespaces, server, "@127.0.0.1 host.example.org A");
    assert.deepEqual(meanwhile, ["192.0.2.1"]);
    const { stdout } = await load;
    assert.match(stdout, /SERVFAIL 10000 \(100\.00%\)/, stdout);
    const status = readFileSync(`/proc/${running.child.pid}/status`, "utf8");
    assert.ok(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) < 250_000, status);
    const later = await digShort(namespaces, server, "@127.0.0.1 host.example.org A");
    assert.deepEqual(later, ["192.0.2.1"]);
    silent.kill("SIGKILL");
  });
});
