import assert from "node:assert/strict";
import { test } from "node:test";
import { type Name, nameOf } from "../../src/wire/dns/name.js";
import { address, askIn, type IprefWorld, startIpref, txt } from "./ipref-world.js";

const AA = "AA 203.0.113.5 + 1";
const NATIVE = "forward . 192.0.2.9";

async function started(properties = "", rest = "", from = "") {
  const { world, server } = await startIpref(properties, rest, ".", from);
  const ask = (question: string, ms = 0) => askIn(world, server, question, ms);
  return { world, server, ask };
}

test("1.11: TXT passes unchanged", async () => {
  const { world, ask } = await started("", NATIVE);
  world.publish("h.example.", 60, AA);
  assert.deepEqual((await ask("h.example. TXT")).answer, [`h.example. 60 TXT "${AA}"`]);
});

test("1.11: ANY is one HINFO", async () => {
  const { ask } = await started("", NATIVE, "example");
  const { message } = await ask("h.example. ANY");
  assert.equal(message.answer.length, 1);
  const { type, ttlSeconds, data } = message.answer[0]!;
  assert.deepEqual([type, ttlSeconds], [13, 3600]);
  assert.equal(Buffer.from(data).toString("latin1"), "\x07RFC8482\x00");
});

const HTTPS_DATA = Buffer.from(
  "0001" +
    "00" +
    "00010003026832" +
    "00040004c0000250" +
    "0006001020010db8000000000000000000000080",
  "hex",
);
const HTTPS_STRIPPED = "0001" + "00" + "00010003026832";

function https(world: IprefWorld, owner: string, type = 65): void {
  const template = txt(owner, 60, "x");
  world.upstream.set(`${owner} ${type === 65 ? "HTTPS" : "SVCB"}`, {
    answer: [{ ...template, type, data: Uint8Array.from(HTTPS_DATA) }],
  });
}

test("1.11: HTTPS and SVCB are NODATA with HAS, pass with NONE", async () => {
  const { world, ask } = await started("", NATIVE);
  world.publish("h.example.", 50, AA);
  for (const question of [
    "h.example. HTTPS",
    "_8443._https.h.example. HTTPS",
    "_x.h.example. SVCB",
  ]) {
    https(world, question.split(" ")[0]!, question.endsWith("SVCB") ? 64 : 65);
    const seen = await ask(question);
    assert.deepEqual([seen.rcode, seen.answer.length], ["NOERROR", 0], question);
    assert.deepEqual(seen.authority, [`${question.split(" ")[0]} 50 SOA ipref.invalid.`]);
  }
  https(world, "plain.example.");
  assert.equal((await ask("plain.example. HTTPS")).answer.length, 1);
  assert.equal(world.gateway.requests.length, 0);
});

test("1.11: svcb strip removes the hints, svcb pass nothing", async () => {
  for (const [mode, expected] of [
    ["strip", HTTPS_STRIPPED],
    ["pass", HTTPS_DATA.toString("hex")],
  ] as const) {
    const { world, ask } = await started(`svcb ${mode}`, NATIVE);
    world.publish("h.example.", 50, AA);
    https(world, "h.example.");
    const { message } = await ask("h.example. HTTPS");
    assert.equal(Buffer.from(message.answer[0]!.data).toString("hex"), expected);
  }
});

test("1.11: svcb strip drops a record whose mandatory list names a hint", async () => {
  const { world, ask } = await started("svcb strip", NATIVE);
  world.publish("h.example.", 50, AA);
  const data = Uint8Array.from(Buffer.from("0001000000000200040004" + "0004c0000250", "hex"));
  world.upstream.set("h.example. HTTPS", {
    answer: [{ ...txt("h.example.", 60, "x"), type: 65, data }],
  });
  assert.equal((await ask("h.example. HTTPS")).answer.length, 0);
});

test("1.11: HTTPS with FAILED goes on like addresses do", async () => {
  const { world, ask } = await started("", NATIVE);
  world.upstream.set("h.example. TXT", { failure: "network" });
  https(world, "h.example.");
  assert.equal((await ask("h.example. HTTPS")).message.answer[0]!.ttlSeconds, 30);
});

test("1.11: native addresses of IPREF names are removed from additional sections", async () => {
  const { world, ask } = await started("", NATIVE, "example");
  const mx = {
    ...txt("example.", 60, "x"),
    type: 15,
    data: Uint8Array.of(0, 10, 1, 109, 7, ...Buffer.from("example"), 0),
  };
  world.upstream.set("example. MX", {
    answer: [mx],
    additional: [address("m.example.", 60, "192.0.2.25"), address("m.other.", 60, "192.0.2.26")],
  });
  const seen = await ask("example. MX");
  assert.equal(seen.answer.length, 1);
  assert.deepEqual(seen.additional, ["m.other. 60 A 192.0.2.26"]);
});

test("1.11: PTR of a known encoded address is the name last asked for", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 60, AA);
  world.publish("alias.example.", 60, AA);
  await ask("h.example. A");
  assert.deepEqual((await ask("1.0.240.10.in-addr.arpa. PTR")).answer, [
    "1.0.240.10.in-addr.arpa. 300 PTR h.example.",
  ]);
  await ask("alias.example. A");
  assert.match((await ask("1.0.240.10.in-addr.arpa. PTR")).answer[0]!, /PTR alias\.example\.$/);
  assert.equal((await ask("2.0.240.10.in-addr.arpa. PTR")).rcode, "SERVFAIL", "unknown: next");
  await world.pass(14_400_000 - 200_000);
  assert.match((await ask("1.0.240.10.in-addr.arpa. PTR")).answer[0]!, / 200 PTR /);
  await world.pass(14_400_001);
  assert.equal((await ask("1.0.240.10.in-addr.arpa. PTR")).rcode, "SERVFAIL");
});

test("1.11: PTR of IPv6 encoded addresses", async () => {
  const { world, ask } = await started("ea-ipver 6\n encode-net fd00::/8");
  world.publish("h.example.", 60, AA);
  await ask("h.example. AAAA");
  const name = `1.${"0.".repeat(29)}d.f.ip6.arpa.`;
  assert.match((await ask(`${name} PTR`)).answer[0]!, /PTR h\.example\.$/);
  assert.equal((await ask(`2${name.slice(1)} PTR`)).rcode, "NXDOMAIN");
});

test("1.11: encode-net is answered here and never forwarded", async () => {
  const { world, ask } = await started("encode-net 10.240.0.0/12", NATIVE, "example");
  world.publish("h.example.", 60, AA);
  await ask("h.example. A");
  const unknown = await ask("9.0.240.10.in-addr.arpa. PTR");
  assert.equal(unknown.rcode, "NXDOMAIN");
  assert.equal(unknown.authority.length, 1);
  assert.equal((await ask("1.0.240.10.in-addr.arpa. TXT")).rcode, "NOERROR");
  assert.equal((await ask("240.10.in-addr.arpa. SOA")).rcode, "NOERROR");
  assert.equal(world.upstream.asked.filter((text) => text.includes("arpa")).length, 0);
  await ask("1.0.0.11.in-addr.arpa. PTR");
  assert.equal(world.upstream.countOf("1.0.0.11.in-addr.arpa. PTR"), 1);
  assert.equal(world.outcome("ptr"), 3);
});

test("1.11: special names are answered here whatever FROM says", async () => {
  const { world, ask } = await started("except x.localhost", NATIVE, "example");
  const cases: [string, string, number][] = [
    ["_dns.resolver.arpa. SVCB", "NOERROR", 0],
    ["resolver.arpa. A", "NOERROR", 0],
    ["use-application-dns.net. A", "NXDOMAIN", 0],
    ["a.use-application-dns.net. HTTPS", "NXDOMAIN", 0],
    ["localhost. A", "NOERROR", 1],
    ["www.LOCALHOST. AAAA", "NOERROR", 1],
    ["localhost. MX", "NOERROR", 0],
    ["invalid. A", "NXDOMAIN", 0],
    ["x.onion. A", "NXDOMAIN", 0],
    ["x.onion. TXT", "NXDOMAIN", 0],
  ];
  for (const [question, rcode, answers] of cases) {
    const seen = await ask(question);
    assert.deepEqual([seen.rcode, seen.answer.length], [rcode, answers], question);
    if (answers === 0) assert.equal(seen.authority.length, 1, question);
  }
  assert.deepEqual((await ask("localhost. A")).answer, ["localhost. 3600 A 127.0.0.1"]);
  assert.equal(world.upstream.asked.length, 0);
  await ask("x.localhost. A");
  assert.equal(world.upstream.asked.length, 1);
});

test("1.12: names with dots and zero octets in labels are their own names", async () => {
  const { world, ask } = await started();
  world.publish("a\\.b.example.", 60, AA);
  world.publish("a\\000b.example.", 60, "AA 203.0.113.5 + 2");
  assert.deepEqual((await ask("a\\.b.example. A")).answer, ["a\\.b.example. 60 A 10.240.0.1"]);
  assert.deepEqual((await ask("a\\000b.example. A")).answer, ["a\\000b.example. 60 A 10.240.0.2"]);
  assert.equal((await ask("a.b.example. A")).rcode, "SERVFAIL");
});

test("1.15: a loop probe that comes back is recognised and not passed on", async () => {
  const { world, ask } = await started("", NATIVE, "example");
  let probe: { name: Name; found: () => void } | undefined;
  let isFound = false;
  Object.assign(world.upstream, {
    probeLoops: (zone: Name, register: (name: Name, found: () => void) => void) => {
      const name = nameOf(`x123.${zone}`);
      probe = { name, found: () => {} };
      register(name, () => {
        isFound = true;
      });
    },
  });
  await world.pass(2000);
  assert.equal(probe!.name.toString(), "x123.example.");
  assert.equal((await ask("x123.example. HINFO")).rcode, "SERVFAIL");
  assert.equal(isFound, true);
  assert.equal(world.upstream.asked.length, 0);
});
