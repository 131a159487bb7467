import assert from "node:assert/strict";
import { test } from "node:test";
import { address, askIn, cname, type IprefWorld, soa, startIpref, txt } from "./ipref-world.js";
import { requestOf, see, type TestServer } from "./world.js";

const AA = "AA 203.0.113.5 + 1";
const NATIVE = "forward . 192.0.2.9";

async function started(properties = "", rest = "", from = "") {
  const { world, server } = await startIpref(properties, rest, ".", from);
  const ask = (question: string, ms = 0) => askIn(world, server, question, ms);
  return { world, server, ask };
}

/** Native addresses behind `forward`, which shares the scripted upstream. */
function native(world: IprefWorld, owner: string): void {
  world.upstream.set(`${owner} A`, { answer: [address(owner, 900, "192.0.2.80")] });
  world.upstream.set(`${owner} AAAA`, { answer: [address(owner, 900, "2001:db8::80")] });
}

test("1.4: HAS and the wanted type give the encoded address", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 120, AA);
  const seen = await ask("h.example. A");
  assert.equal(seen.rcode, "NOERROR");
  assert.deepEqual(seen.answer, ["h.example. 120 A 10.240.0.1"]);
  assert.equal(seen.flags, "rd ra");
  assert.equal(world.outcome("mapped"), 1);
});

test("1.4: with ea-ipver 6 the answer is AAAA and A is NODATA", async () => {
  const { world, ask } = await started("ea-ipver 6");
  world.publish("h.example.", 120, AA);
  const seen = await ask("h.example. AAAA");
  assert.deepEqual(seen.answer, [`h.example. 120 AAAA [fd00${"0".repeat(27)}1]`]);
  const other = await ask("h.example. A");
  assert.deepEqual([other.rcode, other.answer.length, other.authority.length], ["NOERROR", 0, 1]);
});

test("1.4: the other address type is NODATA with an SOA, without mapper and next", async () => {
  const { world, ask } = await started("", NATIVE);
  world.publish("h.example.", 120, AA);
  native(world, "h.example.");
  const seen = await ask("h.example. AAAA");
  assert.equal(seen.rcode, "NOERROR");
  assert.deepEqual(seen.answer, []);
  assert.deepEqual(seen.authority, ["h.example. 60 SOA ipref.invalid."]);
  assert.equal(world.gateway.requests.length, 0);
  assert.equal(world.outcome("nodata"), 1);
});

test("1.9: the SOA of NODATA has the smallest TTL, at most 60", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 17, AA);
  const { message } = await ask("h.example. AAAA");
  const { ttlSeconds, data } = message.authority[0]!;
  assert.equal(ttlSeconds, 17);
  assert.equal(new DataView(data.buffer, data.byteOffset + data.length - 4).getUint32(0), 17);
});

test("1.4: HAS without encoded address goes on by default, cut to 30 s and unstored", async () => {
  const { world, ask } = await started("", `${NATIVE}\n cache`);
  world.publish("h.example.", 120, AA);
  native(world, "h.example.");
  world.gateway.mode = "refuse";
  for (let round = 0; round < 2; round++) {
    const seen = await ask("h.example. A");
    assert.deepEqual(seen.answer, ["h.example. 30 A 192.0.2.80"]);
  }
  assert.equal(world.outcome("map_failed"), 2);
  assert.equal(world.texts("WARNING").length, 1, "once a minute");
  world.gateway.mode = "answer";
  const seen = await ask("h.example. A");
  assert.deepEqual(seen.answer, ["h.example. 120 A 10.240.0.1"], "back to IPREF at once");
});

test("1.4: without next HAS without encoded address is SERVFAIL", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 120, AA);
  world.gateway.mode = "refuse";
  assert.equal((await ask("h.example. A")).rcode, "SERVFAIL");
});

test("1.10: on-failure servfail says why in an extended error", async () => {
  const errorOf = async (server: TestServer, world: IprefWorld) => {
    const replies = server.exchange(requestOf("h.example. A", { edns: true }));
    await world.run(600);
    const { message, rcode } = see((await replies)[0]!);
    const { options } = message.edns!;
    return `${rcode} ${options[5]} ${Buffer.from(options.subarray(6)).toString()}`;
  };
  const { world, server } = await started("on-failure servfail", NATIVE);
  native(world, "h.example.");
  world.publish("h.example.", 120, AA);
  world.gateway.mode = "refuse";
  assert.equal(await errorOf(server, world), "SERVFAIL 0 mapping refused");
  world.gateway.mode = "silence";
  assert.equal(await errorOf(server, world), "SERVFAIL 0 mapper unavailable");
  const other = await started("on-failure servfail", NATIVE);
  other.world.upstream.set("h.example. TXT", { failure: "timeout" });
  assert.equal(await errorOf(other.server, other.world), "SERVFAIL 23 ");
});

test("1.4: NONE goes to next, else SERVFAIL", async () => {
  for (const script of [
    { rcode: 3, authority: [soa("example.", 60, 60)] },
    { authority: [soa("example.", 60, 60)] },
    { answer: [txt("h.example.", 60, "v=spf1 -all", "aa 203.0.113.5 + 2")] },
    { answer: [txt("h.example.", 60, "AA 2001:db8::1 + 7")] },
  ]) {
    const { world, ask } = await started("", NATIVE);
    world.upstream.set("h.example. TXT", script);
    native(world, "h.example.");
    const seen = await ask("h.example. A");
    assert.deepEqual(seen.answer, ["h.example. 900 A 192.0.2.80"]);
    assert.equal(world.outcome("none"), 1);
    const alone = await started();
    alone.world.upstream.set("h.example. TXT", script);
    assert.equal((await alone.ask("h.example. A")).rcode, "SERVFAIL");
  }
});

test("1.4: FAILED goes on cut to 30 s", async () => {
  for (const script of [{ failure: "timeout" }, { rcode: 2 }, { rcode: 5 }] as const) {
    const { world, ask } = await started("", NATIVE);
    world.upstream.set("h.example. TXT", script);
    native(world, "h.example.");
    for (const type of ["A", "AAAA"]) {
      const seen = await ask(`h.example. ${type}`);
      assert.match(seen.answer[0]!, /^h\.example\. 30 /);
    }
    assert.equal(world.outcome("upstream_failed"), 2);
  }
});

test("1.3: names outside FROM and below `except` go to next unchanged", async () => {
  const { world, ask } = await started(
    "except www.example.com\n except other.example.com",
    NATIVE,
    "example.com",
  );
  for (const owner of [
    "badexample.com.",
    "www.example.com.",
    "x.www.example.com.",
    "other.example.com.",
  ]) {
    world.publish(owner, 120, AA);
    native(world, owner);
    assert.deepEqual((await ask(`${owner} A`)).answer, [`${owner} 900 A 192.0.2.80`]);
    assert.equal(world.upstream.countOf(`${owner} TXT`), 0);
  }
  for (const owner of ["example.com.", "a.example.com."]) {
    world.publish(owner, 120, AA);
    const seen = await ask(`${owner.toUpperCase()} A`);
    assert.equal(seen.answer[0], `${owner.toUpperCase()} 120 A 10.240.0.1`);
  }
});

test("1.5: the question is lower case TXT with RD", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 120, AA);
  await ask("H.ExAmPle. A");
  const question = world.upstream.questions[0]!;
  assert.equal(question.name.spelling, "\x01h\x07example\x00");
  assert.deepEqual(
    [question.type, question.isRecursionDesired, question.isDnssecOk, question.budgetMs],
    [16, true, false, 4000],
  );
  const request = world.gateway.requests[0]!.bytes;
  assert.equal(Buffer.from(request.subarray(38, 48)).toString(), "h.example.");
});

test("1.5: strings are looked at one by one and never joined; others' records are ignored", async () => {
  const { world, ask } = await started();
  world.upstream.set("h.example. TXT", {
    answer: [
      txt("other.example.", 5, "AA 203.0.113.9 + 9"),
      txt("h.example.", 120, "v=spf1 -all", "AA 203.0.", "113.5 + 9", AA),
      { ...txt("h.example.", 7, "AA 203.0.113.7 + 7"), class: 3 },
    ],
  });
  const seen = await ask("h.example. A");
  assert.deepEqual(seen.answer, ["h.example. 120 A 10.240.0.1"]);
  assert.equal(world.gateway.requests.length, 1);
  assert.equal(world.counted.get("coredns_ipref_aa_invalid_total plus"), 1);
});

test("1.9: a CNAME chain comes first, with one TTL, and question names as the client spells them", async () => {
  const { world, ask } = await started();
  world.upstream.set("www.example. TXT", {
    answer: [
      cname("www.example.", 200, "a.example."),
      cname("a.example.", 90, "b.example."),
      txt("b.example.", 500, AA),
    ],
  });
  const seen = await ask("WWW.example. A");
  assert.deepEqual(seen.answer, [
    "WWW.example. 90 CNAME a.example.",
    "a.example. 90 CNAME b.example.",
    "b.example. 90 A 10.240.0.1",
  ]);
  const again = await ask("www.EXAMPLE. A");
  assert.equal(again.answer[0], "www.EXAMPLE. 90 CNAME a.EXAMPLE.");
  const request = world.gateway.requests[0]!.bytes;
  assert.equal(Buffer.from(request.subarray(38, 50)).toString(), "www.example.");
});

test("1.5: a chain that ends without TXT is asked for again, at most three times", async () => {
  const { world, ask } = await started();
  for (const [name, target] of [
    ["a", "b"],
    ["b", "c"],
    ["c", "d"],
  ]) {
    world.upstream.set(`${name}.example. TXT`, {
      answer: [cname(`${name}.example.`, 60, `${target}.example.`)],
    });
  }
  world.publish("d.example.", 100, AA);
  const seen = await ask("a.example. A");
  assert.deepEqual(
    seen.answer.map((line) => line.split(" ")[2]),
    ["CNAME", "CNAME", "CNAME", "A"],
  );
  world.upstream.set("d.example. TXT", { answer: [cname("d.example.", 60, "e.example.")] });
  const deeper = await started();
  deeper.world.upstream.scripts.clear();
  for (const [key, script] of world.upstream.scripts) deeper.world.upstream.set(key, script);
  assert.equal((await deeper.ask("a.example. A")).rcode, "SERVFAIL");
  assert.equal(deeper.world.upstream.asked.length, 4);
});

test("1.5: CNAME loops and chains of more than eight are failures", async () => {
  const loop = await started();
  loop.world.upstream.set("a.example. TXT", {
    answer: [cname("a.example.", 60, "b.example."), cname("b.example.", 60, "a.example.")],
  });
  assert.equal((await loop.ask("a.example. A")).rcode, "SERVFAIL");
  assert.equal(loop.world.outcome("upstream_failed"), 1);
  for (const [links, rcode] of [
    [8, "NOERROR"],
    [9, "SERVFAIL"],
  ] as const) {
    const { world, ask } = await started();
    const chain = Array.from({ length: links }, (_, n) =>
      cname(`n${n}.example.`, 60, `n${n + 1}.example.`),
    );
    world.upstream.set("n0.example. TXT", {
      answer: [...chain, txt(`n${links}.example.`, 60, AA)],
    });
    assert.equal((await ask("n0.example. A")).rcode, rcode);
  }
});

test("1.7: every address of a gateway name is mapped, the TTL is the smallest", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 86_400, "AA gw.example.com + 1");
  world.upstream.set("gw.example.com. A", {
    answer: [
      cname("gw.example.com.", 70, "gw2.example.com."),
      address("gw2.example.com.", 30, "203.0.113.5"),
      address("gw2.example.com.", 40, "203.0.113.6"),
    ],
  });
  const seen = await ask("h.example. A");
  assert.deepEqual(seen.answer, ["h.example. 30 A 10.240.0.1", "h.example. 30 A 10.240.0.2"]);
  assert.equal(world.upstream.countOf("gw.example.com. TXT"), 0, "not through the chain");
});

test("1.7: gw-ipver 6 asks for AAAA and skips IPv4 literals", async () => {
  const { world, ask } = await started("gw-ipver 6");
  world.publish("h.example.", 60, AA, "AA gw.example.com + 2");
  world.upstream.set("gw.example.com. AAAA", {
    answer: [address("gw.example.com.", 60, "2001:db8::1")],
  });
  assert.equal((await ask("h.example. A")).answer.length, 1);
  assert.equal(world.gateway.requests[0]!.bytes[4], 0x46);
});

test("1.7: addresses that cannot be gateways are never asked for", async () => {
  const { world, ask } = await started("encode-net 10.240.0.0/12");
  const bad = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.1.1", "10.241.0.1"];
  world.publish("h.example.", 60, ...bad.map((one) => `AA ${one} + 1`), "AA gw.example.com + 2");
  world.upstream.set("gw.example.com. A", {
    answer: [...bad, "10.0.0.1"].map((one) => address("gw.example.com.", 60, one)),
  });
  const seen = await ask("h.example. A");
  assert.equal(seen.answer.length, 1);
  assert.equal(world.gateway.requests.length, 1);
  assert.ok(world.gateway.requests[0]!.key.startsWith("0a000001"));
  assert.equal(world.counted.get("coredns_ipref_aa_invalid_total gateway-address"), bad.length);
});

test("1.7, 5.2: four addresses a gateway, eight requests and eight answers a query", async () => {
  const { world, ask } = await started();
  const strings = Array.from(
    { length: 12 },
    (_, index) => `AA g${index}.example.com + ${index + 1}`,
  );
  world.publish("h.example.", 60, ...strings);
  for (let index = 0; index < 12; index++) {
    const owner = `g${index}.example.com.`;
    const answer = Array.from({ length: 6 }, (_, host) =>
      address(owner, 60, `203.0.113.${index * 6 + host + 1}`),
    );
    world.upstream.set(`${owner} A`, { answer });
  }
  const seen = await ask("h.example. A");
  assert.equal(seen.answer.length, 8);
  assert.equal(world.gateway.requests.length, 8);
  assert.equal(new Set(world.gateway.requests.map(({ key }) => key.slice(0, 8))).size, 8);
  assert.equal(new Set(world.gateway.requests.map(({ key }) => key.slice(8))).size, 2, "four each");
});

test("1.9: 40 AA strings give eight addresses in published order", async () => {
  const { world, ask } = await started();
  world.publish(
    "h.example.",
    60,
    ...Array.from({ length: 40 }, (_, n) => `AA 203.0.113.5 + ${n + 1}`),
  );
  const seen = await ask("h.example. A");
  assert.deepEqual(
    seen.answer.map((line) => line.split(".").at(-1)),
    ["1", "2", "3", "4", "5", "6", "7", "8"],
  );
});

test("1.9: duplicates are asked for and answered once; max-records cuts", async () => {
  const { world, ask } = await started("max-records 2");
  world.publish("h.example.", 60, AA, AA, "AA 203.0.113.5 + 2", "AA 203.0.113.5 + 3");
  assert.equal((await ask("h.example. A")).answer.length, 2);
  assert.equal(world.gateway.requests.length, 3);
});

test("1.9: some refusals leave the other addresses", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 60, "AA nowhere.example + 1", AA);
  assert.deepEqual((await ask("h.example. A")).answer, ["h.example. 60 A 10.240.0.1"]);
});

test("1.9: the TTL is at most `ttl`, 300 by default", async () => {
  for (const [properties, expected] of [
    ["", 300],
    ["ttl 1000", 1000],
  ] as const) {
    const { world, ask } = await started(properties);
    world.publish("h.example.", 86_400, AA);
    assert.equal((await ask("h.example. A")).message.answer[0]!.ttlSeconds, expected);
  }
});

test("1.9: RD and CD are copied, AA and AD stay 0, OPT comes exactly when asked for", async () => {
  const { world, server } = await started();
  world.publish("h.example.", 60, AA);
  const request = requestOf("h.example. A", { edns: true });
  request[2] = 0;
  request[3] = 0x30; // AD and CD
  const replies = server.exchange(request);
  await world.run();
  const { message } = see((await replies)[0]!);
  assert.equal(message.flags, 0x8090, "QR, RA, CD");
  assert.deepEqual([message.edns?.version, message.edns?.udpSizeBytes], [0, 1232]);
});

test("6.2: a gateway whose address records are malformed is passed over", async () => {
  const { world, ask } = await started();
  world.publish("h.example.", 60, "AA gw.example + 1", AA);
  world.upstream.set("gw.example. A", { failure: "malformed" });
  assert.deepEqual((await ask("h.example. A")).answer, ["h.example. 60 A 10.240.0.1"]);
});
