/** Policies, health checks, loops and deadlines: spec/resolver.md 1.15, 4.1, 4.2. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Deadline, DeadlineWheel } from "../../src/dns/upstream/deadlines.js";
import { FlightTable, flightKeyOf } from "../../src/dns/upstream/flight-table.js";
import { Upstreams } from "../../src/dns/upstream/upstreams.js";
import { type Name, nameOf } from "../../src/wire/dns/name.js";
import {
  answerTo,
  Network,
  OPTIONS,
  questionFor,
  type Received,
  replyOf,
  upstreamServer,
} from "./upstream-world.js";

/** Asks `count` questions one after the other; gives which server got each. */
async function spread(network: Network, group: ReturnType<Network["group"]>, count: number) {
  const order: number[] = [];
  for (const [address, server] of network.servers) {
    server.behaviour = (question) => {
      if (question.name !== ".") order.push(Number(address.split(".")[3]));
      question.reply(answerTo(question));
    };
  }
  for (let index = 0; index < count; index++) {
    assert((await network.run(group.ask(questionFor(`h${index}.`)))).result.ok);
  }
  return order;
}

function threeServers(seed?: number): Network {
  const network = new Network(seed);
  for (const last of [1, 2, 3]) network.server(last);
  return network;
}

test("policy sequential asks the first server always", async () => {
  const network = threeServers();
  assert.deepEqual(await spread(network, network.group([1, 2, 3]), 5), [1, 1, 1, 1, 1]);
});

test("policy round_robin takes turns", async () => {
  const network = threeServers();
  const group = network.group([1, 2, 3], { policy: "round_robin" });
  assert.deepEqual(await spread(network, group, 7), [1, 2, 3, 1, 2, 3, 1]);
});

test("policy random uses all servers about equally", async () => {
  const network = threeServers(5);
  const group = network.group([1, 2, 3], { policy: "random" });
  const order = await spread(network, group, 300);
  for (const last of [1, 2, 3]) {
    const share = order.filter((one) => one === last).length;
    assert(share > 70 && share < 130, `server ${last}: ${share} of 300`);
  }
});

const silent = (): void => {};

test("a failed exchange starts checks every 0.5 s; more than max_fails of them take it out", async () => {
  const network = new Network();
  const dead = network.server(1);
  dead.behaviour = silent;
  network.server(2);
  const group = network.group([1, 2]);
  await network.run(group.ask(questionFor("a.")));
  const checks = () => dead.received.filter(({ name }) => name === ".");
  assert.equal(checks().length, 1, "the first check comes at once");
  assert.equal(checks()[0]!.message.questions[0]!.type, 2);
  assert.equal(checks()[0]!.message.flags, 0x0100);
  await network.pass(3200);
  assert.equal(group.servers[0]!.failCount, 3);
  assert(group.isDown(group.servers[0]!));
  const { tookMs } = await network.run(group.ask(questionFor("b.")));
  assert(tookMs < 20, "passed over");
  assert.equal(dead.asked.length, 1);
  const warnings = network.world.texts("WARNING");
  assert.deepEqual(warnings, ["upstream 192.0.2.1:53 does not answer"]);
});

test("any reply to a check brings a server back", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = silent;
  network.server(2);
  const group = network.group([1, 2]);
  await network.run(group.ask(questionFor("a.")));
  await network.pass(4000);
  assert(group.isDown(group.servers[0]!));
  server.behaviour = (question) => question.reply(answerTo(question, { rcode: 5, answer: [] }));
  await network.pass(2000);
  assert.equal(group.isDown(group.servers[0]!), false);
  assert.equal(group.servers[0]!.failCount, 0);
  const count = server.received.length;
  await network.pass(5000);
  assert.equal(server.received.length, count, "no checks while it works");
  assert.deepEqual(network.world.texts("INFO"), ["upstream 192.0.2.1:53 answers again"]);
});

test("checks to a refusing server come at the interval, not in a rush", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => question.refuse();
  const group = network.group([1], { healthCheckMs: 200 });
  await network.run(group.ask(questionFor("a.")));
  const before = server.received.length;
  await network.pass(2000);
  const count = server.received.length - before;
  assert(count >= 8 && count <= 11, `${count} checks in 2 s`);
  group.stop();
});

test("health_check no_rec and domain shape the check", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = silent;
  const healthCheckName = nameOf("check.example.");
  const group = network.group([1], { healthCheckName, isHealthCheckRecursive: false });
  await network.run(group.ask(questionFor("a.")));
  const check = server.received.find(({ name }) => name === "check.example.");
  assert.equal(check?.message.flags, 0);
  group.stop();
});

test("checks of force_tcp servers go over TCP", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = (question) => {
    if (question.name === ".") question.reply(answerTo(question));
  };
  const group = network.group([1], { isTcpForced: true });
  await network.run(group.ask(questionFor("a.", { budgetMs: 1600 })));
  await network.pass(100);
  const checks = server.received.filter(({ name }) => name === ".");
  assert.deepEqual([checks.length, checks[0]?.isStream], [1, true]);
  assert.equal(group.servers[0]!.isChecking, false);
  group.stop();
});

test("max_fails 0 never checks and never takes a server out", async () => {
  const network = new Network();
  const server = network.server(1);
  server.behaviour = silent;
  const group = network.group([1], { maxFails: 0 });
  await network.run(group.ask(questionFor("a.")));
  await network.pass(5000);
  assert.equal(server.received.length, 3);
  assert.equal(group.isDown(group.servers[0]!), false);
});

test("all servers down: one is asked all the same, or none with failfast", async () => {
  for (const isFailfast of [false, true]) {
    const network = new Network();
    for (const last of [1, 2]) network.server(last).behaviour = silent;
    const group = network.group([1, 2], { isFailfast });
    await network.run(group.ask(questionFor("a.")));
    await network.pass(8000);
    assert(group.servers.every((server) => group.isDown(server)));
    const sum = () => [...network.servers.values()].flatMap(({ asked }) => asked).length;
    const before = sum();
    const { result, tookMs } = await network.run(group.ask(questionFor("b.")));
    assert.equal(result.ok, false);
    assert.equal(sum() > before, !isFailfast);
    assert.equal(tookMs < 20, isFailfast);
    group.stop();
  }
});

test("a loop probe that comes back takes its server out with failure `loop`", async () => {
  const network = new Network();
  const looping = network.server(1);
  const honest = network.server(2);
  const group = network.group([1, 2]);
  const probes = new Map<string, () => void>();
  group.probeLoops(nameOf("corp."), (name: Name, found) => probes.set(name.key, found));
  assert.equal(probes.size, 2);
  looping.behaviour = (question: Received) => {
    probes.get(question.message.questions[0]!.name.key)?.();
    question.reply(answerTo(question, { rcode: 2, answer: [] }));
  };
  await network.pass(100);
  assert.match(looping.asked[0]!.name, /^[0-9a-f]{32}\.corp\.$/i);
  assert.equal(looping.asked[0]!.message.questions[0]!.type, 13);
  assert(replyOf((await network.run(group.ask(questionFor("a.")))).result).ok);
  assert.equal(looping.asked.length, 1);
  assert.equal(honest.asked.length, 2);
  assert.match(network.world.texts("ERROR")[0]!, /192\.0\.2\.1:53 leads back/);
  const alone = network.group([1]);
  alone.probeLoops(nameOf("."), (name: Name, found) => probes.set(name.key, found));
  await network.pass(100);
  const { result } = await network.run(alone.ask(questionFor("b.")));
  assert.equal(result.ok ? "" : result.failure, "loop");
});

test("equal servers and options share a group", () => {
  const network = new Network();
  const upstreams = new Upstreams(network.upstreamWorld);
  const one = upstreams.group([upstreamServer(1)], OPTIONS);
  assert.equal(upstreams.group([upstreamServer(1)], { ...OPTIONS }), one);
  assert.notEqual(upstreams.group([upstreamServer(2)], OPTIONS), one);
  assert.notEqual(upstreams.group([upstreamServer(1, "tls")], OPTIONS), one);
  assert.notEqual(upstreams.group([upstreamServer(1)], { ...OPTIONS, maxFails: 1 }), one);
  upstreams.stop();
});

class Alarm extends Deadline {
  readonly #ring: (nowMs: number) => void;

  constructor(ring: (nowMs: number) => void) {
    super();
    this.#ring = ring;
  }

  expire(nowMs: number): void {
    this.#ring(nowMs);
  }
}

test("DeadlineWheel calls each entry once, not early, at most 20 ms late, also beyond a turn", async () => {
  const network = new Network();
  const { clock, timers } = network.upstreamWorld;
  const wheel = new DeadlineWheel(clock, timers);
  const rung = new Map<number, number>();
  const startMs = clock.monotonicMs();
  const delays = [0, 1, 9, 10, 11, 399, 400, 5119, 5120, 5121, 12_345, 20_000];
  for (const delayMs of delays) {
    const alarm = new Alarm((nowMs) => rung.set(delayMs, nowMs - startMs));
    wheel.set(alarm, startMs + delayMs, startMs);
  }
  const cancelled = new Alarm(() => assert.fail("cancelled"));
  wheel.set(cancelled, startMs + 50, startMs);
  wheel.cancel(cancelled);
  await network.pass(21_000);
  assert.equal(rung.size, delays.length);
  for (const [delayMs, tookMs] of rung) {
    assert(tookMs >= delayMs && tookMs <= delayMs + 20, `${delayMs}: ${tookMs}`);
  }
  assert.equal(wheel.size, 0);
});

test("FlightTable finds what was added and not deleted, chains included", () => {
  const table = new FlightTable<{
    readonly key: ReturnType<typeof flightKeyOf>;
    nextInBucket: undefined;
  }>();
  const entries = Array.from({ length: 20_000 }, (_, index) => ({
    key: flightKeyOf(questionFor(`h${index}.example.`)),
    nextInBucket: undefined,
  }));
  for (const entry of entries) table.add(entry);
  assert.equal(table.size, 20_000);
  for (const entry of entries.filter((_, index) => index % 3 === 0)) table.delete(entry);
  for (const [index, entry] of entries.entries()) {
    assert.equal(table.get({ ...entry.key }), index % 3 === 0 ? undefined : entry);
  }
  assert.equal(table.values().length, table.size);
  assert.equal(table.get(flightKeyOf(questionFor("h1.example.", { type: 28 }))), undefined);
  assert.equal(table.get(flightKeyOf(questionFor("h1.example.", { isDnssecOk: true }))), undefined);
  assert.equal(table.get(flightKeyOf(questionFor("H1.Example."))), entries[1]);
});
