/** Acceptance, block choice, sizes and EDNS: spec/resolver.md 1.2, 5 and 6.4. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp } from "../../../src/base/ip.js";
import { planListeners } from "../../../src/dns/server/listeners.js";
import { SourceLimits } from "../../../src/dns/server/rate-limit.js";
import { SourceFilter } from "../../../src/dns/server/source-filter.js";
import { Site } from "../../../src/dns/site.js";
import { octets } from "../../wire/dns/messages.js";
import { complaintsOf, configure, requestOf, see, TestServer, World } from "../world.js";

const ZONE = `@ 60 SOA ns hm 1 1 1 1 1
@ 60 NS ns
ns 60 A 192.0.2.53
www 60 A 192.0.2.1
${Array.from({ length: 100 }, (_, index) => `many 60 A 10.0.0.${index}`).join("\n")}
mx 60 MX 1 many
`;

function start(text = "zone.org {\n file z\n}") {
  return TestServer.start(text, { z: ZONE });
}

async function raw(server: TestServer, hex: string): Promise<string> {
  const [reply] = await server.exchange(octets(hex));
  return reply === undefined ? "none" : Buffer.from(reply).toString("hex");
}

test("messages that get no reply or a bare header", async () => {
  const server = await start();
  const name = "04'zone'03'org'00";
  const cases: [string, string][] = [
    ["1234 0100 0001 0000 0000 00", "none"],
    [`1234 8100 0001 0000 0000 0000 ${name} 0001 0001`, "none"],
    [`1234 2900 0001 0000 0000 0000 ${name} 0006 0001`, "1234a9040000000000000000"],
    ["1234 0100 0000 0000 0000 0000", "123481010000000000000000"],
    [
      `1234 0100 0002 0000 0000 0000 ${name} 0001 0001 ${name} 0001 0001`,
      "123481010000000000000000",
    ],
    ["1234 0100 0001 0000 0000 0000 c00c 0001 0001", "123481010000000000000000"],
    [`1234 0100 0001 0000 0000 0000 ${name} 0001 0001 00`, "123481010000000000000000"],
    ["1234 0100 ffff ffff ffff ffff", "123481010000000000000000"],
  ];
  for (const [message, expected] of cases)
    assert.equal(await raw(server, message), expected, message);
  assert.equal(server.world.counted.get("ipref_dns_rejected_total message-too-short"), 1);
  assert.equal(server.world.counted.get("ipref_dns_rejected_total trailing-octets"), 1);
});

test("class other than IN and names of no block are REFUSED with their question", async () => {
  const server = await start();
  const chaos = await server.exchange(
    octets("1234 0100 0001 0000 0000 0000 04'zone'03'org'00 0010 0003"),
  );
  assert.equal(see(chaos[0]!).rcode, "REFUSED");
  const other = await server.ask("example.net. A");
  assert.equal(other.rcode, "REFUSED");
  assert.equal(other.message.questions.length, 1);
});

test("REFUSED is told five times a second and source, then silence", async () => {
  const server = await start();
  let told = 0;
  for (let count = 0; count < 20; count++) {
    told += (await server.exchange(requestOf("example.net. A"))).length;
  }
  assert.equal(told, 5);
  server.world.nowMs += 1000;
  assert.equal((await server.exchange(requestOf("example.net. A"))).length, 1);
});

test("EDNS version 1 gets BADVERS with an OPT of version 0 and nothing else", async () => {
  const server = await start();
  const request = requestOf("www.zone.org. A", { edns: true });
  request[request.length - 5] = 1;
  const seen = see((await server.exchange(request))[0]!);
  assert.equal(seen.rcode, "BADVERS");
  assert.equal(seen.message.edns!.version, 0);
  assert.deepEqual([seen.answer.length, seen.message.questions.length], [0, 0]);
});

test("an OPT comes back exactly when one was sent; options are not echoed, DO is", async () => {
  const server = await start();
  assert.equal((await server.ask("www.zone.org. A")).message.edns, undefined);
  const cookie = octets(
    "1234 0100 0001 0000 0000 0001 03'www'04'zone'03'org'00 0001 0001",
    "00 0029 04d0 0000 8001 000c 000a 0008 0102030405060708",
  );
  const { edns } = see((await server.exchange(cookie))[0]!).message;
  assert.deepEqual([edns!.isDnssecOk, edns!.options.length, edns!.udpSizeBytes], [true, 0, 1232]);
});

test("the question comes back as it was spelled", async () => {
  const server = await start();
  const seen = await server.ask("wWw.zONe.ORG. A");
  assert.equal(seen.message.questions[0]!.name.toString(), "wWw.zONe.ORG.");
});

test("replies over the client's size are truncated to question and OPT", async () => {
  const server = await start("zone.org {\n file z\n bufsize 1400\n}");
  const small = await server.ask("many.zone.org. A");
  assert.equal(small.flags, "aa tc rd");
  assert.deepEqual([small.answer.length, small.authority.length], [0, 0]);
  const zero = await server.ask("many.zone.org. A", { edns: true, size: 0 });
  assert(zero.flags.includes("tc"));
  assert.notEqual(zero.message.edns, undefined);
  const limited = await server.ask("many.zone.org. A", { edns: true, size: 4096 });
  assert(limited.flags.includes("tc"), "bufsize limits");
  const tcp = await server.ask("many.zone.org. A", { transport: "tcp" });
  assert.equal(tcp.answer.length, 100);
});

test("additional records that do not fit are left out without TC", async () => {
  const server = await start();
  const seen = await server.ask("mx.zone.org. MX");
  assert.equal(seen.flags, "aa rd");
  assert.deepEqual([seen.answer.length, seen.additional.length], [1, 0]);
  const tcp = await server.ask("mx.zone.org. MX", { transport: "tcp" });
  assert.equal(tcp.additional.length, 100);
});

test("30 equal owners compress into 512 octets", async () => {
  const records = Array.from({ length: 29 }, (_, index) => `few 60 A 10.1.0.${index}\n`);
  const zone = `${ZONE}${records.join("")}`;
  const server = await TestServer.start("zone.org {\n file z\n}", { z: zone });
  const seen = await server.ask("few.zone.org. A");
  assert.equal(seen.answer.length, 29);
});

test("the longest zone wins, an empty block refuses, a chain without answer fails", async () => {
  const server = await start("zone.org {\n file z\n}\nempty.zone.org {\n}\n. {\n log\n}");
  assert.equal((await server.ask("www.zone.org. A")).rcode, "NOERROR");
  assert.equal((await server.ask("www.empty.zone.org. A")).rcode, "REFUSED");
  assert.equal((await server.ask("www.EMPTY.zone.org. A")).rcode, "REFUSED");
  assert.equal((await server.ask("example.net. A")).rcode, "SERVFAIL");
});

test("DS goes to the block of the parent zone", async () => {
  const parent = `${ZONE}sub 60 NS ns\nsub 60 DS 1 8 9 abcd\n`;
  const sub = "@ 60 SOA ns hm 1 1 1 1 1\n@ 60 NS ns\nns 60 A 192.0.2.1\n";
  const server = await TestServer.start("zone.org {\n file p\n}\nsub.zone.org {\n file s\n}", {
    p: parent,
    s: sub,
  });
  assert.equal((await server.ask("sub.zone.org. DS")).answer.length, 1);
  assert.equal((await server.ask("sub.zone.org. NS")).answer.length, 1);
});

test("blocks with ipref, forward, hosts or private zones answer local sources only", async () => {
  const server = await TestServer.start(
    "zone.org {\n file z\n}\ninternal 10.in-addr.arpa {\n whoami\n}\n",
    { z: ZONE },
  );
  const rcode = async (question: string, client: string) =>
    (await server.ask(question, { client })).rcode;
  assert.equal(await rcode("x.internal. A", "8.8.8.8"), "REFUSED");
  assert.equal(await rcode("1.10.in-addr.arpa. PTR", "8.8.4.4"), "REFUSED");
  for (const local of [
    "127.0.0.1",
    "10.1.2.3",
    "172.31.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "::1",
    "fd00::1",
    "fe80::1",
  ]) {
    assert.equal(await rcode("x.internal. A", local), "NOERROR", local);
  }
  assert.equal(await rcode("www.zone.org. A", "8.8.8.8"), "NOERROR");
  server.filter.onLinkPrefixes = [{ address: parseIp("8.8.8.0")!, bits: 24 }];
  assert.equal(await rcode("x.internal. A", "8.8.8.8"), "NOERROR");
});

test("a CNAME does not open a private block to strangers", async () => {
  const zone = `${ZONE}secret 60 CNAME x.internal.\n`;
  const server = await TestServer.start("zone.org {\n file z\n}\ninternal {\n file i\n}\n", {
    z: zone,
    i: "@ 60 SOA ns hm 1 1 1 1 1\n@ 60 NS ns\nx 60 A 10.0.0.1\nns 60 A 10.0.0.2\n",
  });
  assert.equal((await server.ask("secret.zone.org. A")).answer.length, 2);
  assert.equal((await server.ask("secret.zone.org. A", { client: "8.8.8.8" })).answer.length, 1);
});

test("questions of one source are limited, loopback is not", async () => {
  const server = await start();
  let answered = 0;
  for (let count = 0; count < 1500; count++) {
    answered += (await server.exchange(requestOf("www.zone.org. A"), { client: "8.8.8.8" })).length;
  }
  assert.equal(answered, 1000);
  for (let count = 0; count < 1500; count++) {
    assert.equal((await server.exchange(requestOf("www.zone.org. A"))).length, 1);
  }
  assert.equal(server.world.counted.get("ipref_dns_rejected_total rate-limit"), 500);
});

test("IPv6 sources share a bucket by /64", () => {
  const limits = new SourceLimits({ ratePerSecond: 1, burst: 2 });
  assert(limits.mayAsk(parseIp("2001:db8::1")!, 0));
  assert(limits.mayAsk(parseIp("2001:db8::2")!, 0));
  assert(!limits.mayAsk(parseIp("2001:db8::3")!, 0));
  assert(limits.mayAsk(parseIp("2001:db8:0:1::1")!, 0));
});

test("a bug in a handler costs one SERVFAIL", async () => {
  const server = await start();
  const handler = server.site.chains[0]!.handlers[0]!;
  const original = handler.handle;
  handler.handle = () => {
    throw new Error("broken");
  };
  assert.equal((await server.ask("www.zone.org. A")).rcode, "SERVFAIL");
  handler.handle = () => Promise.reject(new Error("broken later"));
  assert.equal((await server.ask("www.zone.org. A")).rcode, "SERVFAIL");
  handler.handle = original;
  assert.equal((await server.ask("www.zone.org. A")).rcode, "NOERROR");
  assert.equal(server.world.texts("ERROR").length, 2);
  assert.equal(server.server.inFlight, 0);
});

test("replies that come later keep their question though the buffer was used again", async () => {
  const server = await start();
  const handler = server.site.chains[0]!.handlers[0]!;
  const original = handler.handle.bind(handler);
  handler.handle = async (query, next) => {
    await new Promise((done) => setImmediate(done));
    return original(query, next);
  };
  const questions = ["www.zone.org. A", "ns.zone.org. A", "gone.zone.org. A"];
  const replies = await Promise.all(questions.map((question) => server.ask(question)));
  assert.deepEqual(
    replies.map((seen) => `${seen.message.questions[0]!.name} ${seen.rcode} ${seen.answer.length}`),
    ["www.zone.org. NOERROR 1", "ns.zone.org. NOERROR 1", "gone.zone.org. NXDOMAIN 0"],
  );
});

test("listeners: every address without bind, those of bind otherwise", async () => {
  const interfaces = [
    { interfaceName: "lo", address: parseIp("127.0.0.1")! },
    { interfaceName: "eth0", address: parseIp("192.0.2.53")! },
    { interfaceName: "eth0", address: parseIp("fe80::1")! },
    { interfaceName: "eth1", address: parseIp("fe80::1")! },
  ];
  const plan = async (text: string) => {
    const configuration = await configure(text);
    assert.deepEqual(complaintsOf(configuration), []);
    const site = new Site(configuration, new World().environment, new SourceFilter());
    const problems: string[] = [];
    const listeners = planListeners(site.chains, interfaces, {
      error: (position, message) => problems.push(`${position.line}:${position.column} ${message}`),
      warning: () => {},
    });
    return { listeners, problems };
  };
  const all = await plan(". {\n whoami\n}");
  assert.equal(all.listeners.length, 4);
  assert.deepEqual(
    all.listeners.map((one) => one.interfaceName),
    [undefined, undefined, "eth0", "eth1"],
  );
  const two = await plan(
    "a {\n bind 127.0.0.2 eth0 {\n except fe80::1\n }\n whoami\n}\nb:54 {\n bind lo\n whoami\n}",
  );
  assert.deepEqual(
    two.listeners.map((one) => `${one.address.bytes.join(".")}:${one.port} ${one.isExplicit}`),
    ["127.0.0.2:53 true", "192.0.2.53:53 true", "127.0.0.1:54 true"],
  );
  const twice = await plan("a {\n bind 192.0.2.53\n whoami\n}\na {\n bind eth0\n whoami\n}");
  assert.match(twice.problems.join(), /5:1 Found zone a\. on 192\.0\.2\.53 port 53 again/);
  const wrong = await plan(". {\n bind eth9\n whoami\n}");
  assert.match(
    wrong.problems.join(),
    /2:7 Found 'eth9', expected an IP address or an interface.*did you mean 'eth0'/,
  );
});

test("each address serves the blocks that listen on it", async () => {
  const server = await TestServer.start("a {\n bind 127.0.0.1\n whoami\n}\nb {\n whoami\n}");
  const rcode = async (question: string, local: string) =>
    (await server.ask(question, { local })).rcode;
  assert.equal(await rcode("x.a. A", "127.0.0.1"), "NOERROR");
  assert.equal(await rcode("x.b. A", "127.0.0.1"), "NOERROR");
  assert.equal(await rcode("x.a. A", "192.0.2.53"), "REFUSED");
  assert.equal(await rcode("x.b. A", "192.0.2.53"), "NOERROR");
});
