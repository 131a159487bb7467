import assert from "node:assert/strict";
import { test } from "node:test";
import { address, askIn, IprefWorld, soa, startIpref, txt } from "./ipref-world.js";

const AA = "AA 203.0.113.5 + 1";
const NATIVE = "forward . 192.0.2.9";

async function started(properties = "", rest = "") {
  const { world, server } = await startIpref(properties, rest);
  const ask = (question: string, ms = 0) => askIn(world, server, question, ms);
  return { world, server, ask };
}

test("6.2: A, AAAA and HTTPS of one name at once take one TXT question and one request", async () => {
  const { world, server } = await started("", NATIVE);
  world.upstream.set("h.example. TXT", { answer: [txt("h.example.", 60, AA)], delayMs: 20 });
  const replies = ["A", "AAAA", "HTTPS", "A"].map((type) => server.ask(`h.example. ${type}`));
  await world.run(20);
  const seen = await Promise.all(replies);
  assert.deepEqual(
    seen.map(({ answer }) => answer.length),
    [1, 0, 0, 1],
  );
  assert.equal(world.upstream.countOf("h.example. TXT"), 1);
  assert.equal(world.gateway.requests.length, 1);
});

test("6.2: 1,000 names at once with a mapper of 5 ms are answered together", async () => {
  const { world, server } = await started();
  world.gateway.delayMs = 5;
  for (let index = 0; index < 1000; index++) {
    world.publish(`n${index}.example.`, 60, `AA 203.0.113.5 + ${index + 1}`);
  }
  const startMs = world.nowMs;
  const replies = Array.from({ length: 1000 }, (_, index) => server.ask(`n${index}.example. A`));
  await world.run(5);
  const seen = await Promise.all(replies);
  assert.ok(seen.every(({ answer }) => answer.length === 1));
  assert.ok(world.nowMs - startMs < 1000);
});

test("6.2: a silent mapper costs each query its own 500 ms", async () => {
  const { world, server } = await started();
  world.gateway.mode = "silence";
  const endedMs: number[] = [];
  for (let index = 0; index < 5; index++) {
    world.publish(
      `n${index}.example.`,
      60,
      `AA 203.0.113.5 + ${index + 1}`,
      `AA 203.0.113.6 + ${index + 1}`,
    );
    const startMs = world.nowMs;
    server.ask(`n${index}.example. A`).then(({ rcode }) => {
      assert.equal(rcode, "SERVFAIL");
      endedMs.push(world.nowMs - startMs);
    });
    await world.run(100);
  }
  await world.run(600);
  assert.deepEqual(endedMs, [500, 500, 500, 500, 500]);
});

test("6.2: after a restart of the mapper nothing of before is served", async () => {
  const { world, ask } = await started("encode-net 10.240.0.0/12");
  world.publish("h.example.", 600, AA);
  await ask("h.example. A");
  assert.equal((await ask("1.0.240.10.in-addr.arpa. PTR")).answer.length, 1);
  await world.run(300);
  world.gateway.restart();
  const seen = await ask("h.example. A");
  assert.deepEqual(
    seen.answer.map((line) => line.split(" ")[3]),
    ["10.240.0.101"],
  );
  assert.equal((await ask("1.0.240.10.in-addr.arpa. PTR")).rcode, "NXDOMAIN");
});

test("6.2: a restart while a request is in flight is answered from the new mapper", async () => {
  const { world, server } = await started();
  world.publish("h.example.", 600, AA, "AA 203.0.113.5 + 2");
  world.mapper.start();
  await world.run(1000);
  world.gateway.delayMs = 50;
  const reply = server.ask("h.example. A");
  await world.run(20);
  world.gateway.restart();
  await world.run(100);
  const { answer, rcode } = await reply;
  assert.ok(rcode === "SERVFAIL" || answer.every((line) => line.includes("10.240.0.10")));
});

test("1.13: HAS is kept for its TTL and counts down", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 20, AA);
  for (const [waitMs, ttl] of [
    [0, 20],
    [3000, 17],
    [7000, 10],
    [9000, 1],
  ] as const) {
    await world.pass(waitMs);
    const seen = await ask("h.example. A");
    assert.equal(seen.message.answer[0]!.ttlSeconds, ttl);
  }
  assert.equal(world.upstream.countOf("h.example. TXT"), 2, "prefetched once at the end");
});

test("1.13: HAS is kept for at least 5 s and at most 3,600 s", async () => {
  const short = await started();
  short.world.publish("h.example.", 0, AA);
  assert.equal((await short.ask("h.example. A")).message.answer[0]!.ttlSeconds, 0);
  await short.world.pass(4000);
  await short.ask("h.example. A");
  assert.equal(short.world.upstream.countOf("h.example. TXT"), 1);
  await short.world.pass(1001);
  await short.ask("h.example. A");
  assert.equal(short.world.upstream.countOf("h.example. TXT"), 2);
  const long = await started();
  long.world.publish("h.example.", 86_400, AA);
  await long.ask("h.example. A");
  await long.world.pass(3_600_001);
  await long.ask("h.example. A");
  assert.equal(long.world.upstream.countOf("h.example. TXT"), 2);
});

test("1.13: NONE is kept for the smaller of SOA TTL and minimum, within 5 and 300 s", async () => {
  for (const [ttl, minimum, kept] of [
    [60, 20, 20],
    [10, 900, 10],
    [1, 1, 5],
    [9000, 9000, 300],
  ]) {
    const { world, ask } = await started();
    world.upstream.set("h.example. TXT", { authority: [soa("example.", ttl!, minimum!)] });
    await ask("h.example. A");
    await world.pass(1000 * kept! - 1);
    await ask("h.example. A");
    assert.equal(world.upstream.countOf("h.example. TXT"), 1);
    await world.pass(2);
    await ask("h.example. A");
    assert.equal(world.upstream.countOf("h.example. TXT"), 2);
  }
});

test("1.13: FAILED is kept for 2 s", async () => {
  const { world, ask } = await started();
  world.upstream.set("h.example. TXT", { failure: "timeout" });
  await ask("h.example. A");
  await world.pass(1999);
  await ask("h.example. A");
  assert.equal(world.upstream.countOf("h.example. TXT"), 1);
  await world.pass(2);
  await ask("h.example. A");
  assert.equal(world.upstream.countOf("h.example. TXT"), 2);
});

test("1.13: gateway addresses are kept for their TTL and prefetched", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 3600, "AA gw.example.com + 1");
  world.upstream.set("gw.example.com. A", {
    answer: [address("gw.example.com.", 100, "203.0.113.5")],
  });
  for (let second = 0; second < 89; second += 10) {
    await ask("h.example. A");
    await world.pass(10_000);
  }
  assert.equal(world.upstream.countOf("gw.example.com. A"), 1);
  await world.pass(2000);
  assert.equal((await ask("h.example. A")).message.answer[0]!.ttlSeconds, 8);
  assert.equal(world.upstream.countOf("gw.example.com. A"), 2, "refreshed with 8 of 100 s left");
  assert.equal((await ask("h.example. A")).message.answer[0]!.ttlSeconds, 8, "for this second");
  await world.pass(1000);
  assert.equal((await ask("h.example. A")).message.answer[0]!.ttlSeconds, 99);
});

test("1.13: an encoded address is kept for 5 s, then the mapper is asked again", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 600, AA);
  await ask("h.example. A");
  await world.pass(4900);
  await ask("h.example. A");
  assert.equal(world.gateway.requests.length, 1);
  await world.pass(101);
  await ask("h.example. A");
  assert.equal(world.gateway.requests.length, 2);
});

test("1.13: popular AA strings are refreshed ahead of time, encoded addresses never", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 100, AA);
  for (let round = 0; round < 3; round++) await ask("h.example. A");
  await world.pass(91_000);
  const requests = world.gateway.requests.length;
  await ask("h.example. AAAA");
  await world.run();
  assert.equal(world.upstream.countOf("h.example. TXT"), 2);
  await world.pass(60_000);
  assert.equal(world.gateway.requests.length, requests);
});

test("1.13: a failing refresh keeps what is known until its end", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 100, AA);
  for (let round = 0; round < 3; round++) await ask("h.example. A");
  await world.pass(95_000);
  world.upstream.set("h.example. TXT", { failure: "timeout" });
  assert.equal((await ask("h.example. A")).answer.length, 1);
  await world.pass(3000);
  assert.equal((await ask("h.example. A")).answer.length, 1);
  await world.pass(3000);
  assert.equal((await ask("h.example. A")).rcode, "SERVFAIL");
});

test("1.13: `cache` keeps nothing that `ipref` made", async () => {
  const { world, ask } = await started("", "cache 3600");
  world.publish("h.example.", 600, AA);
  await ask("h.example. A");
  await ask("h.example. AAAA");
  await world.pass(6000);
  await ask("h.example. A");
  assert.equal(world.gateway.requests.length, 2);
  for (const [key] of world.counted) assert.ok(!key.startsWith("coredns_cache_hits_total"), key);
});

test("1.14: the ordinary question goes out together with the TXT question", async () => {
  const { world, server, ask } = await started("", NATIVE);
  world.upstream.set("h.example. TXT", { authority: [soa("example.", 60, 60)], delayMs: 30 });
  world.upstream.set("h.example. A", {
    answer: [address("h.example.", 60, "192.0.2.80")],
    delayMs: 30,
  });
  const startMs = world.nowMs;
  let endMs = 0;
  server.ask("h.example. A").then(() => {
    endMs = world.nowMs;
  });
  await world.run(100);
  assert.equal(endMs - startMs, 30);
  await ask("h.example. A", 30);
  assert.equal(world.upstream.countOf("h.example. TXT"), 1, "NONE is known: only next is asked");
  world.publish("i.example.", 60, AA);
  await ask("i.example. A");
  await ask("i.example. A");
  assert.equal(world.upstream.countOf("i.example. A"), 1, "HAS is known: next is not asked");
});

test("1.14: parallel off asks one after the other", async () => {
  const { world, ask } = await started("parallel off", NATIVE);
  world.publish("h.example.", 60, AA);
  await ask("h.example. A");
  assert.deepEqual(world.upstream.asked, ["h.example. TXT"]);
});

test("1.14: the budget of a query is 4 s for all upstream questions together", async () => {
  const { world, server } = await started();
  world.upstream.set("h.example. TXT", {
    answer: [txt("h.example.", 60, "AA gw.example + 1")],
    delayMs: 3000,
  });
  const reply = server.ask("h.example. A");
  await world.run(3000);
  await reply;
  const budgets = world.upstream.questions.map(({ budgetMs }) => budgetMs);
  assert.deepEqual(budgets, [4000, 1000]);
});

test("5.3: a client gets 200 new addresses at once, then 60 a minute; known ones always", async () => {
  const { world, server } = await started();
  const client = "192.168.7.7";
  const askAs = async (index: number) => {
    world.publish(
      `n${index}.example.`,
      600,
      `AA 203.0.${index >> 7}.${1 + (index & 127)} + ${index + 1}`,
    );
    const reply = server.ask(`n${index}.example. A`, { client });
    await world.run();
    return (await reply).rcode;
  };
  for (let index = 0; index < 200; index++) assert.equal(await askAs(index), "NOERROR");
  assert.equal(await askAs(200), "SERVFAIL");
  assert.equal(world.outcome("limited"), 1);
  assert.ok(world.texts("WARNING").some((text) => text.includes(client)));
  await world.pass(6000);
  assert.equal(await askAs(0), "NOERROR");
  for (let index = 201; index < 207; index++) assert.equal(await askAs(index), "NOERROR");
  assert.equal(await askAs(207), "SERVFAIL");
});

test("5.3: one gateway has at most 4,096 addresses alive", async () => {
  const { world, server } = await started();
  const rcodes: string[] = [];
  for (let index = 0; index < 4097; index++) {
    world.publish(`n${index}.example.`, 600, `AA 203.0.113.5 + ${index + 1}`);
    server.ask(`n${index}.example. A`).then(({ rcode }) => rcodes.push(rcode));
    if (index % 256 === 0) await world.run();
  }
  await world.run();
  assert.equal(rcodes.filter((rcode) => rcode === "NOERROR").length, 4096);
  assert.equal(world.outcome("limited"), 1);
});

test("5.3: new-addresses off lifts the limits", async () => {
  const { world, server } = await started("new-addresses off");
  const rcodes: string[] = [];
  for (let index = 0; index < 300; index++) {
    world.publish(`n${index}.example.`, 600, `AA 203.0.113.5 + ${index + 1}`);
    server
      .ask(`n${index}.example. A`, { client: "192.168.7.7" })
      .then(({ rcode }) => rcodes.push(rcode));
  }
  await world.run();
  assert.equal(rcodes.filter((rcode) => rcode === "NOERROR").length, 300);
});

test("a mapper whose socket is missing at start is found when it comes", async () => {
  const world = new IprefWorld();
  world.gateway.isListening = false;
  const { TestServer } = await import("./world.js");
  const corefile = ". {\n ipref {\n upstream 192.0.2.1\n }\n}\n";
  const server = await TestServer.start(corefile, {}, world);
  world.publish("h.example.", 600, AA);
  assert.equal((await askIn(world, server, "h.example. A")).rcode, "SERVFAIL");
  world.gateway.isListening = true;
  await world.run(300);
  assert.equal((await askIn(world, server, "h.example. A")).answer.length, 1);
});
