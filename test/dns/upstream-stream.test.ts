/** Connections to servers: pipelining, reuse, loss. RFC 7766, spec/resolver.md 4.2. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { answerTo, changed, Network, questionFor, replyOf } from "./upstream-world.js";

test("force_tcp and tls:// pipeline questions on few connections and match replies by id", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => question.reply(answerTo(question), 60 - server.asked.length);
  const group = network.group([1], { isTcpForced: true });
  const asked = Array.from({ length: 50 }, (_, index) => group.ask(questionFor(`h${index}.`)));
  await network.pass(100);
  const names = (await Promise.all(asked)).map((result) =>
    replyOf(result).message.questions[0]!.name.toString(),
  );
  assert.deepEqual(
    names,
    Array.from({ length: 50 }, (_, index) => `h${index}.`),
  );
  assert.equal(network.connectionCount, 1);
  assert.equal(new Set(server.asked.map(({ message }) => message.id)).size, 50);
  await network.pass(11_000);
  assert.equal(network.openConnections, 0, "closed after `expire`");
});

test("at most four connections carry any number of questions", async () => {
  const network = new Network();
  network.server(1).behaviour = (question) => question.reply(answerTo(question), 10);
  const group = network.group([1], { isTcpForced: true });
  const asked = Array.from({ length: 1000 }, (_, index) => group.ask(questionFor(`h${index}.`)));
  assert.equal(network.openConnections, 4);
  await network.pass(100);
  assert((await Promise.all(asked)).every(({ ok }) => ok));
});

test("a question lost with a reused connection is sent once more on a new one", async () => {
  const network = new Network();
  const server = network.server(1);
  const group = network.group([1], { isTcpForced: true });
  assert((await network.run(group.ask(questionFor("a.")))).result.ok);
  server.behaviour = (question) => {
    if (question.source === 0) question.refuse();
    else question.reply(answerTo(question));
  };
  const { result } = await network.run(group.ask(questionFor("b.")));
  assert(result.ok);
  assert.equal(network.connectionCount, 2);
});

test("a connection on which a reply timed out gets no new questions", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => {
    if (question.source > 0) question.reply(answerTo(question));
  };
  const group = network.group([1], { isTcpForced: true });
  const { result } = await network.run(group.ask(questionFor("a.")));
  assert(result.ok);
  assert.deepEqual(
    server.asked.map(({ source }) => source),
    [0, 1],
  );
});

test("a reply over TCP to another question is a failure, a short message closes", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => {
    question.reply(changed(answerTo(question), (bytes) => (bytes[13] = 0x7a)));
  };
  const options = { isTcpForced: true };
  const wrong = await network.run(network.group([1], options).ask(questionFor("a.example.")));
  assert.equal(wrong.result.ok ? "" : wrong.result.failure, "malformed");
  server.behaviour = (question) => question.reply(Uint8Array.of(1, 2));
  const short = await network.run(network.group([1], options).ask(questionFor("b.example.")));
  assert.equal(short.result.ok ? "" : short.result.failure, "network");
});
