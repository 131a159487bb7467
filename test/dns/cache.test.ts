import assert from "node:assert/strict";
import { test } from "node:test";
import { NameTable } from "../../src/dns/plugins/cache/name-table.js";
import type { CacheSettings } from "../../src/dns/plugins/cache/settings.js";
import { nameOf } from "../../src/wire/dns/name.js";
import { address, cname, IprefWorld, type Script, soa, txt } from "./ipref-world.js";
import { complaintsOf, configure, requestOf, see, TestServer } from "./world.js";

async function started(cache = "cache", keys = ".") {
  const world = new IprefWorld();
  const server = await TestServer.start(
    `${keys} {\n ${cache}\n forward . 192.0.2.9\n}\n`,
    {},
    world,
  );
  const ask = async (question: string, options = {}) => {
    const reply = server.ask(question, options);
    await world.run();
    return reply;
  };
  return { world, server, ask };
}

const A: Script = { answer: [address("h.example.", 100, "192.0.2.80")] };
const NODATA: Script = { authority: [soa("example.", 900, 60)] };

test("a positive answer is kept for its TTL and counts down", async () => {
  const { world, ask } = await started();
  world.upstream.set("h.example. A", A);
  for (const [waitMs, ttl] of [
    [0, 100],
    [1500, 99],
    [97_000, 2],
    [1400, 1],
  ] as const) {
    await world.pass(waitMs);
    assert.deepEqual((await ask("h.example. A")).answer, [`h.example. ${ttl} A 192.0.2.80`]);
  }
  assert.equal(world.upstream.asked.length, 1);
  await world.pass(101);
  await ask("h.example. A");
  assert.equal(world.upstream.asked.length, 2);
});

test("spelling is the client's in every answer", async () => {
  const { world, ask } = await started();
  world.upstream.set("h.example. A", A);
  for (const name of ["h.example.", "H.example.", "h.EXAMPLE."]) {
    const seen = await ask(`${name} A`);
    assert.deepEqual(seen.answer, [`${name} 100 A 192.0.2.80`]);
    assert.equal(seen.message.questions[0]!.name.toString(), name);
  }
  assert.equal(world.upstream.asked.length, 1);
});

test("NODATA and NXDOMAIN are kept by the SOA", async () => {
  for (const script of [NODATA, { ...NODATA, rcode: 3 }]) {
    const { world, ask } = await started();
    world.upstream.set("h.example. A", script);
    const first = await ask("h.example. A");
    await world.pass(30_000);
    const again = await ask("h.example. A");
    assert.deepEqual([again.rcode, again.authority.length], [first.rcode, 1]);
    assert.equal(again.message.authority[0]!.ttlSeconds, 30);
    assert.equal(world.upstream.asked.length, 1);
    await world.pass(30_001);
    await ask("h.example. A");
    assert.equal(world.upstream.asked.length, 2);
  }
});

test("a CNAME without the type at its end is kept as a denial", async () => {
  const { world, ask } = await started("cache {\n disable success\n }");
  const script = { answer: [cname("h.example.", 50, "i.example.")], ...NODATA };
  world.upstream.set("h.example. A", script);
  await ask("h.example. A");
  assert.equal((await ask("h.example. A")).answer.length, 1);
  assert.equal(world.upstream.asked.length, 1);
});

test("SERVFAIL is kept for 5 s, or as long as `servfail` says", async () => {
  for (const [cache, keptMs] of [
    ["cache", 5000],
    ["cache {\n servfail 1m\n }", 60_000],
  ] as const) {
    const { world, ask } = await started(cache);
    world.upstream.set("h.example. A", { rcode: 2 });
    await ask("h.example. A");
    await world.pass(keptMs - 1);
    assert.equal((await ask("h.example. A")).rcode, "SERVFAIL");
    assert.equal(world.upstream.asked.length, 1);
    await world.pass(2);
    await ask("h.example. A");
    assert.equal(world.upstream.asked.length, 2);
  }
});

test("REFUSED, FORMERR and denials without SOA are not kept", async () => {
  for (const script of [{ rcode: 5 }, { rcode: 1 }, {}, { rcode: 3 }]) {
    const { world, ask } = await started();
    world.upstream.set("h.example. A", script);
    await ask("h.example. A");
    await ask("h.example. A");
    assert.equal(world.upstream.asked.length, 2, JSON.stringify(script));
  }
});

test("name, type, DO and CD make the key", async () => {
  const { world, server, ask } = await started();
  world.upstream.set("h.example. A", A);
  world.upstream.set("h.example. TXT", { answer: [txt("h.example.", 60, "x")] });
  await ask("h.example. A");
  await ask("h.example. TXT");
  assert.equal(world.upstream.asked.length, 2);
  const send = async (edit: (request: Uint8Array) => void) => {
    const request = requestOf("h.example. A", { edns: true });
    edit(request);
    const replies = server.exchange(request);
    await world.run();
    return see((await replies)[0]!);
  };
  for (let round = 0; round < 2; round++) {
    await send((request) => {
      request[request.length - 4] = 0x80; // DO
    });
    await send((request) => {
      request[3] = 0x10; // CD
    });
  }
  assert.equal(world.upstream.asked.length, 4);
});

test("AA is not set in answers from the cache", async () => {
  const zone =
    "$ORIGIN example.\n@ 60 IN SOA ns root 1 60 60 60 60\n@ 60 IN NS ns\nh 60 IN A 192.0.2.1\n";
  const server = await TestServer.start("example {\n cache\n file z\n}\n", { z: zone });
  assert.match((await server.ask("h.example. A")).flags, /aa/);
  assert.doesNotMatch((await server.ask("h.example. A")).flags, /aa/);
});

test("the TTL argument, `success` and `denial` bound what is announced", async () => {
  const short = await started("cache 30");
  short.world.upstream.set("h.example. A", A);
  assert.equal((await short.ask("h.example. A")).message.answer[0]!.ttlSeconds, 30);
  await short.world.pass(10_000);
  assert.equal((await short.ask("h.example. A")).message.answer[0]!.ttlSeconds, 20);
  const long = await started("cache {\n success 100 200 150\n denial 100 20\n }");
  long.world.upstream.set("h.example. A", A);
  long.world.upstream.set("n.example. A", NODATA);
  await long.ask("h.example. A");
  await long.ask("n.example. A");
  await long.world.pass(140_000);
  assert.equal((await long.ask("h.example. A")).message.answer[0]!.ttlSeconds, 0);
  await long.ask("n.example. A");
  assert.deepEqual(long.world.upstream.asked, ["h.example. A", "n.example. A", "n.example. A"]);
});

test("keepttl announces the TTL as it was", async () => {
  const { world, ask } = await started("cache {\n keepttl\n }");
  world.upstream.set("h.example. A", A);
  await ask("h.example. A");
  await world.pass(50_000);
  assert.equal((await ask("h.example. A")).message.answer[0]!.ttlSeconds, 100);
});

test("only names of the zones are kept", async () => {
  const { world, ask } = await started("cache example");
  world.upstream.set("h.example. A", A);
  world.upstream.set("h.other. A", { answer: [address("h.other.", 100, "192.0.2.81")] });
  for (let round = 0; round < 2; round++) {
    await ask("h.example. A");
    await ask("h.other. A");
  }
  assert.deepEqual(world.upstream.asked, ["h.example. A", "h.other. A", "h.other. A"]);
});

test("disable keeps nothing of that kind in those zones", async () => {
  const { world, ask } = await started("cache {\n disable denial example\n }");
  world.upstream.set("h.example. A", NODATA);
  await ask("h.example. A");
  await ask("h.example. A");
  assert.equal(world.upstream.asked.length, 2);
});

test("equal questions in flight are one, whatever their spelling", async () => {
  const { world, server } = await started();
  world.upstream.set("h.example. A", { ...A, delayMs: 10 });
  const names = ["h.example.", "H.example.", "h.examplE."];
  const replies = names.map((name) => server.ask(`${name} A`));
  await world.run(10);
  const seen = await Promise.all(replies);
  assert.deepEqual(
    seen.map(({ answer }) => answer[0]!.split(" ")[0]),
    names,
  );
  assert.equal(world.upstream.asked.length, 1);
});

test("prefetch refreshes popular entries in the background", async () => {
  const { world, ask } = await started("cache {\n prefetch 2 1m 20%\n }");
  world.upstream.set("h.example. A", A);
  for (let round = 0; round < 2; round++) await ask("h.example. A");
  await world.pass(59_000);
  await ask("h.example. A");
  await world.pass(22_000);
  assert.equal((await ask("h.example. A")).message.answer[0]!.ttlSeconds, 19);
  await world.run();
  assert.equal(world.upstream.asked.length, 2);
  assert.equal((await ask("h.example. A")).message.answer[0]!.ttlSeconds, 100);
});

test("prefetch leaves entries alone that are asked for too seldom", async () => {
  const { world, ask } = await started("cache {\n prefetch 2 5s 20%\n }");
  world.upstream.set("h.example. A", A);
  await ask("h.example. A");
  await world.pass(40_000);
  await ask("h.example. A");
  await world.pass(50_000);
  await ask("h.example. A");
  assert.equal(world.upstream.asked.length, 1);
});

test("serve_stale answers at once with TTL 0 and asks in the background", async () => {
  const { world, ask } = await started("cache {\n serve_stale 1h\n }");
  world.upstream.set("h.example. A", A);
  await ask("h.example. A");
  await world.pass(101_000);
  world.upstream.set("h.example. A", { failure: "timeout" });
  assert.deepEqual((await ask("h.example. A")).answer, ["h.example. 0 A 192.0.2.80"]);
  world.upstream.set("h.example. A", A);
  assert.deepEqual((await ask("h.example. A")).answer, ["h.example. 0 A 192.0.2.80"]);
  assert.deepEqual((await ask("h.example. A")).answer, ["h.example. 100 A 192.0.2.80"]);
  await world.pass(100_000 + 3_600_001);
  world.upstream.set("h.example. A", { failure: "timeout" });
  assert.equal((await ask("h.example. A")).rcode, "SERVFAIL");
});

test("serve_stale verify asks first", async () => {
  const { world, ask } = await started("cache {\n serve_stale 1h verify\n }");
  world.upstream.set("h.example. A", A);
  await ask("h.example. A");
  await world.pass(101_000);
  world.upstream.set("h.example. A", { failure: "timeout" });
  assert.deepEqual((await ask("h.example. A")).answer, ["h.example. 0 A 192.0.2.80"]);
  world.upstream.set("h.example. A", { answer: [address("h.example.", 9, "192.0.2.81")] });
  assert.deepEqual((await ask("h.example. A")).answer, ["h.example. 9 A 192.0.2.81"]);
});

test("the number of entries is bounded; what was used last stays", async () => {
  const { world, ask } = await started("cache {\n success 3\n }");
  for (const name of ["a.", "b.", "c.", "a.", "d.", "a.", "b."]) {
    world.upstream.set(`${name} A`, { answer: [address(name, 100, "192.0.2.1")] });
    await ask(`${name} A`);
  }
  assert.deepEqual(
    world.upstream.asked.map((text) => text[0]),
    ["a", "b", "c", "d", "b"],
  );
});

test("a large answer is cut for the client, not in the cache", async () => {
  const { world, ask } = await started();
  const answer = Array.from({ length: 100 }, (_, host) =>
    address("h.example.", 100, `192.0.2.${host}`),
  );
  world.upstream.set("h.example. A", { answer });
  for (let round = 0; round < 2; round++) {
    const seen = await ask("h.example. A");
    assert.match(seen.flags, /tc/);
    assert.equal(seen.answer.length, 0);
  }
  assert.equal((await ask("h.example. A", { transport: "tcp" })).answer.length, 100);
  assert.equal(world.upstream.asked.length, 1);
});

test("a hit makes no garbage but one answer a second", async () => {
  const { world, server, ask } = await started();
  world.upstream.set("h.example. A", A);
  await ask("h.example. A");
  const handler = server.site.chains[0]!.handlers.find(({ name }) => name === "cache")!;
  const { Query } = await import("../../src/dns/query.js");
  const query = new Query();
  const request = requestOf("h.example. A");
  query.read(request, request.length);
  query.receivedAtMs = world.nowMs;
  const next = () => assert.fail("must be a hit");
  const first = handler.handle(query, next);
  for (let round = 0; round < 100; round++) assert.equal(handler.handle(query, next), first);
});

test("the settings are CoreDNS's", async () => {
  const read = async (text: string) => {
    const configuration = await configure(`example.org {\n ${text}\n forward . 192.0.2.1\n}\n`);
    assert.deepEqual(complaintsOf(configuration), []);
    return configuration.blocks[0]!.settings.get("cache") as CacheSettings;
  };
  const plain = await read("cache");
  assert.deepEqual(plain.zones.map(String), ["example.org."]);
  assert.deepEqual(plain.success, { entriesMax: 9984, ttlMaxSeconds: 3600, ttlMinSeconds: 5 });
  assert.deepEqual(plain.denial, { entriesMax: 9984, ttlMaxSeconds: 1800, ttlMinSeconds: 5 });
  assert.equal(plain.failureSeconds, 5);
  const full = await read(
    `cache 10 a.example.org {
      success 1 2 3
      denial 4 5
      prefetch 10 1m 30%
      serve_stale
      servfail 0
      disable success
    }`,
  );
  assert.deepEqual(full.zones.map(String), ["a.example.org."]);
  assert.deepEqual(full.success, { entriesMax: 1, ttlMaxSeconds: 2, ttlMinSeconds: 2 });
  assert.deepEqual(full.prefetch, { hitsMin: 10, durationMs: 60_000, percent: 30 });
  assert.deepEqual(full.stale, { durationMs: 3_600_000, isVerified: false });
  assert.deepEqual(full.successDisabled.map(String), ["a.example.org."]);
});

test("mistakes in cache are named with their place", async () => {
  const cases: [string, RegExp][] = [
    ["sucess 1", /^Corefile:3:1: .*did you mean 'success'/],
    ["success x", /^Corefile:3:9: /],
    ["prefetch 1 1m 5%", /expected 10% to 90%/],
    ["servfail 10m", /at most 5m/],
    ["disable all", /expected one of success, denial/],
    ["keepttl 1", /^Corefile:3:9: /],
    ["serve_stale 1h never", /expected one of immediate, verify/],
  ];
  for (const [body, expected] of cases) {
    const complaints = complaintsOf(
      await configure(`. {\n cache {\n${body}\n }\n forward . 192.0.2.1\n}\n`),
    );
    assert.equal(complaints.length, 1, complaints.join("\n"));
    assert.match(complaints[0]!, expected);
  }
});

test("NameTable finds by octets without regard to case and keeps its bounds", () => {
  const evicted: number[] = [];
  const limits = { entriesMax: 1000, bytesMax: 1 << 20 };
  const table = new NameTable<number>(limits, 7, (value) => evicted.push(value));
  const wireOf = (index: number) => nameOf(`Host-${index}.example.`).wire;
  for (let index = 0; index < 1500; index++)
    table.set(wireOf(index), 0, wireOf(index).length, 1, index, 10);
  assert.equal(table.size, 1000);
  assert.deepEqual(
    evicted,
    Array.from({ length: 500 }, (_, index) => index),
  );
  const upper = nameOf("HOST-1200.EXAMPLE.").wire;
  const padded = Uint8Array.of(9, 9, ...upper, 9);
  assert.equal(table.find(padded, 2, 2 + upper.length, 1), 1200);
  assert.equal(table.find(padded, 2, 2 + upper.length, 2), undefined);
  assert.equal(table.delete(upper, 0, upper.length, 1), true);
  assert.equal(table.delete(upper, 0, upper.length, 1), false);
  assert.equal(table.size, 999);
  for (let index = 1499; index > 500; index--) {
    const expected = index === 1200 ? undefined : index;
    assert.equal(table.find(wireOf(index), 0, wireOf(index).length, 1), expected);
  }
  table.set(wireOf(1), 0, wireOf(1).length, 1, 1, 2 << 20);
  assert.equal(table.size, 0, "one value alone above the bound is not kept");
  assert.equal(table.bytes, 0);
});
