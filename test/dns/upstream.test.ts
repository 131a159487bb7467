/** Attempts, retries, validation and transports of the upstream client: spec/resolver.md 1.14, 4. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { UpstreamReply } from "../../src/dns/ports.js";
import { nameOf } from "../../src/wire/dns/name.js";
import { recordOf } from "../../src/wire/dns/record.js";
import {
  answerTo,
  changed,
  Network,
  OPTIONS,
  questionFor,
  type Received,
  replyOf,
} from "./upstream-world.js";
import { settle } from "./world.js";

const A = Uint8Array.of(192, 0, 2, 9);

function addresses(reply: UpstreamReply): string[] {
  return reply.message.answer.map(({ data }) => data.join("."));
}

test("ask() sends one question with OPT, size 1232, and the client's RD, CD, AD and DO", async () => {
  const network = new Network();
  const server = network.server(1);
  const group = network.group([1]);
  const flags = { isCheckingDisabled: true, isDnssecOk: true, isAuthenticDataWanted: true };
  const { result, tookMs } = await network.run(group.ask(questionFor("a.example.", flags)));
  assert.deepEqual(addresses(replyOf(result)), ["192.0.2.1"]);
  assert(tookMs < 20);
  assert.equal(server.received.length, 1);
  const { message } = server.received[0]!;
  assert.equal(message.flags, 0x0130);
  assert.deepEqual(message.edns?.udpSizeBytes, 1232);
  assert.equal(message.edns?.isDnssecOk, true);
  assert.equal(message.edns?.options.length, 0);
  assert.equal(group.size, 0);
  assert.equal(network.openSockets, 0);
});

test("ask() mixes the case of the question and gives the spelling of the client back", async () => {
  const network = new Network();
  const server = network.server(1);
  const group = network.group([1]);
  const spellings = new Set<string>();
  for (let round = 0; round < 20; round++) {
    const { result } = await network.run(group.ask(questionFor("Some.Name.Example.")));
    const reply = replyOf(result);
    assert.equal(reply.message.questions[0]!.name.toString(), "Some.Name.Example.");
    assert.equal(String.fromCharCode(...reply.bytes.subarray(13, 17)), "Some");
    spellings.add(server.received[round]!.name);
  }
  assert(spellings.size > 15, "random spellings");
});

test("ask() uses another socket, id and case for each attempt and waits 0.4, 0.8, 1.6 s", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = () => {};
  const group = network.group([1], { maxFails: 0 });
  const { result, tookMs } = await network.run(group.ask(questionFor("x.example.")));
  assert.deepEqual(result.ok ? "" : result.failure, "timeout");
  const asked = server.asked;
  assert.equal(asked.length, 3);
  assert.equal(new Set(asked.map(({ source }) => source)).size, 3);
  assert.equal(new Set(asked.map(({ message }) => message.id)).size, 3);
  const gaps = [asked[1]!.atMs - asked[0]!.atMs, asked[2]!.atMs - asked[1]!.atMs];
  assert(gaps[0]! >= 400 && gaps[0]! <= 430, `${gaps}`);
  assert(gaps[1]! >= 800 && gaps[1]! <= 830, `${gaps}`);
  assert(tookMs >= 2800 && tookMs <= 2900, `${tookMs}`);
  assert.equal(network.openSockets, 0);
});

test("ask() ends with the budget of the client", async () => {
  const network = new Network();
  network.server(1).behaviour = () => {};
  const question = questionFor("x.example.", { budgetMs: 600 });
  const { result, tookMs } = await network.run(network.group([1]).ask(question));
  assert.equal(result.ok ? "" : result.failure, "timeout");
  assert(tookMs >= 600 && tookMs <= 630, `${tookMs}`);
});

test("ask() asks the next server after a time-out, and at once after a refusal", async () => {
  const network = new Network();
  network.server(1).behaviour = () => {};
  const second = network.server(2);
  const silent = await network.run(network.group([1, 2]).ask(questionFor("x.example.")));
  assert(silent.result.ok);
  assert(silent.tookMs >= 400 && silent.tookMs < 440, `${silent.tookMs}`);
  network.server(3).behaviour = (question) => question.refuse();
  const refusing = await network.run(network.group([3, 2]).ask(questionFor("x.example.")));
  assert(refusing.result.ok);
  assert(refusing.tookMs < 30, `${refusing.tookMs}`);
  assert.equal(second.asked.length, 2);
});

test("ask() gives up after three rounds of refusals", async () => {
  const network = new Network();
  const servers = [network.server(1), network.server(2)];
  for (const server of servers) server.behaviour = (question) => question.refuse();
  const { result, tookMs } = await network.run(
    network.group([1, 2], { maxFails: 0 }).ask(questionFor("x.example.")),
  );
  assert.deepEqual(result.ok ? "" : result.failure, "network");
  assert.match(result.ok ? "" : result.detail, /ECONNREFUSED/);
  assert(tookMs >= 200 && tookMs < 300, `${tookMs}`);
  assert.deepEqual(
    servers.map(({ asked }) => asked.length),
    [3, 3],
  );
});

test("ask() reports a lack of sockets as a failure", async () => {
  const network = new Network();
  network.server(1);
  network.socketsMax = 0;
  const { result } = await network.run(network.group([1]).ask(questionFor("x.example.")));
  assert.match(result.ok ? "" : result.detail, /EMFILE/);
});

const LIES: readonly (readonly [string, (question: Received) => Uint8Array])[] = [
  ["a short datagram", () => Uint8Array.of(1, 2, 3)],
  ["an empty datagram", () => new Uint8Array(0)],
  ["the wrong id", (question) => changed(answerTo(question), (bytes) => (bytes[0]! ^= 1))],
  ["a question instead of a reply", (question) => question.bytes],
  ["another opcode", (question) => changed(answerTo(question), (bytes) => (bytes[2]! |= 0x28))],
  ["another name", (question) => changed(answerTo(question), (bytes) => (bytes[13] = 0x7a))],
  ["another type", (question) => changed(answerTo(question), (bytes) => (bytes[12 + 11 + 1] = 28))],
  [
    "the name in another case",
    (question) => changed(answerTo(question), (bytes) => (bytes[13]! ^= 0x20)),
  ],
  ["no question", (question) => changed(answerTo(question), (bytes) => (bytes[5] = 0))],
  ["two questions", (question) => changed(answerTo(question), (bytes) => (bytes[5] = 2))],
];

for (const [lie, make] of LIES) {
  test(`ask() ignores ${lie} and uses the right reply behind it`, async () => {
    const network = new Network();
    const server = network.server(1);
    server.behaviour = (question) => {
      question.reply(make(question));
      question.reply(answerTo(question), 10);
    };
    const { result } = await network.run(network.group([1]).ask(questionFor("a.example.")));
    assert.deepEqual(addresses(replyOf(result)), ["192.0.2.1"]);
    assert.equal(server.asked.length, 1);
    const ignored = [...network.world.counted.keys()].filter((key) => key.includes("ignored"));
    assert.equal(ignored.length, 1, "counted once");
  });
}

test("ask() goes over TCP after ten strangers", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => {
    if (question.isStream) question.reply(answerTo(question));
    else for (let count = 0; count < 12; count++) question.reply(Uint8Array.of(count), count);
  };
  const { result, tookMs } = await network.run(network.group([1]).ask(questionFor("a.example.")));
  assert(result.ok);
  assert(tookMs < 50);
  assert.deepEqual(
    server.asked.map(({ isStream }) => isStream),
    [false, true],
  );
});

test("ask() repeats a truncated reply over TCP at once", async () => {
  const network = new Network();
  const server = network.server(1);
  const answer = Array.from({ length: 200 }, () => recordOf(nameOf("a.example."), 1, 60, A));
  server.behaviour = (question) => {
    const parts = question.isStream ? { answer } : { flags: 0x0200, answer: [] };
    question.reply(answerTo(question, parts));
  };
  const { result, tookMs } = await network.run(network.group([1]).ask(questionFor("a.example.")));
  assert.equal(replyOf(result).message.answer.length, 200);
  assert(tookMs < 30);
});

test("ask() waits 1.5 s for a reply over TCP, then asks the next server", async () => {
  const network = new Network();
  network.server(1).behaviour = (question) => {
    if (!question.isStream) question.reply(answerTo(question, { flags: 0x0200, answer: [] }));
  };
  network.server(2);
  const { result, tookMs } = await network.run(
    network.group([1, 2]).ask(questionFor("a.example.")),
  );
  assert(result.ok);
  assert(tookMs >= 1500 && tookMs < 1550, `${tookMs}`);
});

test("ask() repeats FORMERR without OPT once without EDNS and remembers it for an hour", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => {
    const isOld = question.message.edns !== undefined;
    const parts = isOld ? { rcode: 1, answer: [], hasOpt: false } : {};
    question.reply(answerTo(question, parts));
  };
  const group = network.group([1]);
  assert((await network.run(group.ask(questionFor("a.example.")))).result.ok);
  assert((await network.run(group.ask(questionFor("b.example.")))).result.ok);
  const withEdns = () => server.asked.map(({ message }) => message.edns !== undefined);
  assert.deepEqual(withEdns(), [true, false, false]);
  network.world.nowMs += 3_600_001;
  assert((await network.run(group.ask(questionFor("c.example.")))).result.ok);
  assert.deepEqual(withEdns(), [true, false, false, true, false]);
});

test("ask() understands FORMERR of twelve octets as a lack of EDNS", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => {
    const bytes = answerTo(question, { rcode: 1, answer: [], hasOpt: false });
    const isOld = question.message.edns !== undefined;
    question.reply(isOld ? changed(bytes.slice(0, 12), (b) => (b[5] = 0)) : answerTo(question));
  };
  const { result } = await network.run(network.group([1]).ask(questionFor("a.example.")));
  assert(result.ok);
  assert.equal(server.asked.length, 2);
});

test("ask() keeps EDNS after a time-out", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => {
    if (server.asked.length > 1) question.reply(answerTo(question));
  };
  await network.run(network.group([1]).ask(questionFor("a.example.")));
  assert.deepEqual(
    server.asked.map(({ message }) => message.edns !== undefined),
    [true, true],
  );
});

test("ask() relays FORMERR with OPT, and FORMERR to a question without EDNS", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => question.reply(answerTo(question, { rcode: 1, answer: [] }));
  const { result } = await network.run(network.group([1]).ask(questionFor("a.example.")));
  assert.equal(replyOf(result).rcode, 1);
  server.behaviour = (question) => {
    question.reply(answerTo(question, { rcode: 1, answer: [], hasOpt: false }));
  };
  const second = await network.run(network.group([1]).ask(questionFor("a.example.")));
  assert.equal(replyOf(second.result).rcode, 1);
  assert.equal(server.asked.length, 3);
});

test("a server that changes case twice is asked over TCP, spelled as the client did", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => {
    const lower = changed(answerTo(question), (bytes) => {
      for (let at = 13; at < 22; at++) if (bytes[at]! >= 65 && bytes[at]! <= 90) bytes[at]! += 32;
    });
    question.reply(lower);
  };
  const group = network.group([1]);
  const { result } = await network.run(group.ask(questionFor("abcdefghi.")));
  assert(result.ok);
  assert.deepEqual(
    server.asked.map(({ isStream }) => isStream),
    [false, false, true],
  );
  assert.equal(server.asked[2]!.name, "abcdefghi.");
  await network.run(group.ask(questionFor("other.")));
  assert.equal(server.asked[3]!.isStream, true, "suspect from then on");
  server.isStreamClosed = true;
  await network.pass(11_000);
  const later = await network.run(group.ask(questionFor("third.")));
  assert(later.result.ok, "UDP without random case when there is no TCP");
  assert.equal(server.asked.at(-1)!.isStream, false);
  assert.equal(server.asked.at(-1)!.name, "third.");
});

test("a reply that does not decode leads to the next server, and to a failure at the end", async () => {
  const network = new Network();
  const bad = (question: Received) =>
    question.reply(Uint8Array.of(...answerTo(question, { hasOpt: false }), 0));
  network.server(1).behaviour = bad;
  network.server(2);
  const { result, tookMs } = await network.run(
    network.group([1, 2]).ask(questionFor("a.example.")),
  );
  assert(result.ok && tookMs < 30);
  const alone = await network.run(network.group([1]).ask(questionFor("a.example.")));
  assert.equal(alone.result.ok ? "" : alone.result.failure, "malformed");
});

test("an A record of five octets does not decode", async () => {
  const network = new Network();
  network.server(1).behaviour = (question) => {
    const owner = question.message.questions[0]!.name;
    question.reply(answerTo(question, { answer: [recordOf(owner, 1, 60, new Uint8Array(5))] }));
  };
  const { result } = await network.run(network.group([1]).ask(questionFor("a.example.")));
  assert.equal(result.ok ? "" : result.failure, "malformed");
});

test("SERVFAIL goes to the client, or to the next server where that is wanted", async () => {
  const network = new Network();
  network.server(1).behaviour = (question) => {
    question.reply(answerTo(question, { rcode: 2, answer: [] }));
  };
  network.server(2);
  const plain = await network.run(network.group([1, 2]).ask(questionFor("a.example.")));
  assert.equal(replyOf(plain.result).rcode, 2);
  const retried = { isRefusalRetried: true };
  const next = await network.run(network.group([1, 2], retried).ask(questionFor("a.example.")));
  assert.equal(replyOf(next.result).rcode, 0);
  const alone = await network.run(network.group([1], retried).ask(questionFor("a.example.")));
  assert.equal(replyOf(alone.result).rcode, 2, "the last word when nobody does better");
});

test("equal questions in flight are one question, each answer spelled as asked", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => question.reply(answerTo(question), 50);
  const group = network.group([1]);
  const first = group.ask(questionFor("a.example."));
  const second = group.ask(questionFor("A.EXAMPLE."));
  const other = group.ask(questionFor("a.example.", { type: 28 }));
  const third = await network.run(group.ask(questionFor("a.example.", { isDnssecOk: true })));
  assert(third.result.ok);
  assert.equal(replyOf(await first).message.questions[0]!.name.toString(), "a.example.");
  assert.equal(replyOf(await second).message.questions[0]!.name.toString(), "A.EXAMPLE.");
  assert.deepEqual(replyOf(await second).sections, replyOf(await first).sections);
  assert((await other).ok);
  assert.equal(server.asked.length, 3);
});

test("a joiner with less budget ends before the flight it joined", async () => {
  const network = new Network();
  network.server(1).behaviour = (question) => question.reply(answerTo(question), 300);
  const group = network.group([1]);
  const first = group.ask(questionFor("a.example."));
  const hurried = await network.run(group.ask(questionFor("a.example.", { budgetMs: 100 })));
  assert.equal(hurried.result.ok, false);
  assert(hurried.tookMs >= 100 && hurried.tookMs < 130);
  const { result } = await network.run(first);
  assert(result.ok);
});

test("records that the question does not lead to are left out", async () => {
  const network = new Network();
  const www = nameOf("www.example.");
  const target = nameOf("host.example.");
  const stranger = nameOf("bank.example.");
  const answer = [
    recordOf(target, 1, 60, A),
    recordOf(www, 5, 60, target.wire),
    recordOf(stranger, 1, 60, A),
  ];
  network.server(1).behaviour = (question) => question.reply(answerTo(question, { answer }));
  const { result } = await network.run(network.group([1]).ask(questionFor("www.example.")));
  const reply = replyOf(result);
  const owners = reply.message.answer.map(({ owner }) => owner.toString());
  assert.deepEqual(owners, ["host.example.", "www.example."]);
  assert.equal(reply.sections, undefined, "written from its records");
});

test("a CNAME chain, a DNAME and a CNAME loop are relayed as they are", async () => {
  const network = new Network();
  const [a, b, c] = [nameOf("a.x.example."), nameOf("a.y.example."), nameOf("z.example.")];
  const answer = [
    recordOf(nameOf("x.example."), 39, 60, nameOf("y.example.").wire),
    recordOf(a!, 5, 60, b!.wire),
    recordOf(b!, 5, 60, c!.wire),
    recordOf(c!, 5, 60, a!.wire),
  ];
  network.server(1).behaviour = (question) => question.reply(answerTo(question, { answer }));
  const { result } = await network.run(network.group([1]).ask(questionFor("a.x.example.")));
  const reply = replyOf(result);
  assert.equal(reply.message.answer.length, 4);
  assert.equal(reply.sections?.answerCount, 4);
});

test("more than the limit of questions in flight are refused at once, memory stays bounded", async () => {
  const network = new Network();
  network.server(1).behaviour = (question) => question.reply(answerTo(question), 100);
  const group = network.group([1]);
  const asked = Array.from({ length: 10_000 }, (_, index) =>
    group.ask(questionFor(`h${index}.example.`)),
  );
  assert.equal(group.size, 1024);
  assert.equal(network.openSockets, 1024);
  await network.pass(200);
  const results = await Promise.all(asked);
  assert.equal(results.filter(({ ok }) => ok).length, 1024);
  const rest = results.filter((result) => !result.ok && result.failure === "overload");
  assert.equal(rest.length, 10_000 - 1024);
  assert.equal(group.size, 0);
  assert.equal(network.openSockets, 0);
});

test("10,000 questions in flight are all answered when the limit allows it", async () => {
  const network = new Network();
  network.server(1).behaviour = (question) => question.reply(answerTo(question), 100);
  const group = network.group([1], { concurrentMax: 10_000 });
  const asked = Array.from({ length: 10_000 }, (_, index) =>
    group.ask(questionFor(`h${index}.example.`)),
  );
  assert.equal(group.size, 10_000);
  await network.pass(200);
  const results = await Promise.all(asked);
  assert(results.every(({ ok }) => ok));
  assert.equal(network.openSockets, 0);
});

test("stop() ends what is in flight", async () => {
  const network = new Network();
  network.server(1).behaviour = () => {};
  const group = network.group([1]);
  const asked = group.ask(questionFor("a.example."));
  group.stop();
  assert.equal((await asked).ok, false);
  assert.equal(network.openSockets, 0);
  assert.equal((await group.ask(questionFor("b.example."))).ok, false);
  await settle();
});

test("the options of spec/resolver.md 4.1 are the defaults of these tests", () => {
  assert.equal(OPTIONS.expireMs, 10_000);
  assert.equal(OPTIONS.maxFails, 2);
});
