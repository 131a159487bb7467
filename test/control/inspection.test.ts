/** Status, mappings and remote gateways of a gateway, as its control socket answers. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHex } from "../../src/base/hex.js";
import { parseIp } from "../../src/base/ip.js";
import { startGateway } from "../../src/control/gateway.js";
import { parseGatewayFlags } from "../../src/control/gateway-flags.js";
import type { ControlReply } from "../../src/control/inspection/api.js";
import { countAllMappings } from "../../src/control/inspection/mapping-steps.js";
import { type MappingEntry, mapsHandler } from "../../src/control/inspection/maps.js";
import type { PeerEntry } from "../../src/control/inspection/peers.js";
import type { GatewayStatus } from "../../src/control/inspection/status.js";
import { Log } from "../../src/control/log.js";
import type { Mapper } from "../../src/mapper/mapper.js";
import type { MappingCounts } from "../../src/mapper/mapping-query.js";
import { counterWriter } from "../../src/tables/arena.js";
import { CounterBlock, counterIndex, dropCounterIndex } from "../../src/tables/counters.js";
import { RING_FROM_LOCAL, RING_FROM_TUNNEL } from "../../src/tables/packet-ring.js";
import { World } from "../mapper/world.js";
import { FakeMachine, settle } from "./fake-machine.js";

const HOSTS = [
  "10.240.0.22 web #= ext 203.0.113.1 + 1025",
  "10.240.0.23 mail #= ext 203.0.113.2 + 1026",
  "10.1.0.9 files #= pub + 1027",
].join("\n");
/** An echo request from 10.1.0.5 to 10.240.0.22, checksums right. */
const ECHO = "4500001c000100004001651f0a0100050af000160800f7fd00010001";
/** Mappings of one step at most: below a millisecond. */
const STEP_MAPPINGS_MAX = 256;
const STEP_COUNTED_MAX = 8192;
const QUESTION = {
  method: "GET",
  path: "/maps",
  body: new Uint8Array(),
  caller: { pid: 1, uid: 0, gid: 0 },
};
const NOWHERE = { address: parseIp("0.0.0.0")!, port: 0, typeOfService: 0 };

async function makeGateway(hosts = HOSTS) {
  const machine = new FakeMachine();
  machine.file = { kind: "text", text: `${hosts}\n` };
  const flags = ["-gateway", "198.51.100.1", "-hosts", "/h", "-mapper-socket", "/s"];
  const parsed = parseGatewayFlags([...flags, "-control", "/c"]);
  assert.ok(parsed.kind === "settings");
  const log = new Log({ ...parsed.settings, write: () => undefined, nowMs: () => 0 });
  const gateway = await startGateway(parsed.settings, machine, log);
  await settle();
  const ask = async (question: string): Promise<ControlReply> => {
    const url = new URL(question, "http://ipref");
    return await machine.controlRoutes!.get(`GET ${url.pathname}`)!({
      method: "GET",
      path: url.pathname,
      query: url.searchParams,
      body: new Uint8Array(),
      caller: { pid: 1, uid: 0, gid: 0 },
      signal: new AbortController().signal,
    });
  };
  const status = async () => JSON.parse((await ask("/status")).body as string) as GatewayStatus;
  const lines = async <Entry>(question: string): Promise<Entry[]> => {
    const { body, contentType } = await ask(question);
    assert.equal(contentType, "application/x-ndjson");
    let text = "";
    for await (const piece of body as AsyncIterable<string>) text += piece;
    return text === ""
      ? []
      : text
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line) as Entry);
  };
  return { machine, gateway, ask, status, lines };
}

/** Counts how often the event loop turns: so often have packets their turn meanwhile. */
function countTurns(): { stop(): number } {
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  return {
    stop() {
      isOver = true;
      return turns;
    },
  };
}

type Running = Awaited<ReturnType<typeof makeGateway>>;

async function sendEcho({ machine }: Running): Promise<void> {
  machine.forwarding!.onPacket({ ...NOWHERE, kind: RING_FROM_LOCAL, packet: fromHex(ECHO)! });
  await settle();
}

test("the status names addresses, device, mappings by kind and the encode net's use", async () => {
  const running = await makeGateway();
  await sendEcho(running);
  const status = await running.status();
  assert.equal(status.part, "gateway");
  assert.deepEqual(status.problems, []);
  assert.equal(status.isHealthy, true);
  assert.deepEqual(status.addresses, {
    bind: "198.51.100.1",
    port: 1045,
    public: "198.51.100.1",
    reference: "1",
    encodeNet: "10.240.0.0/12",
    ownEncoded: "10.240.0.1",
    mapperSocket: "/s",
    hostsFile: "/h",
  });
  assert.equal(status.forwarding?.tun, "fake0");
  assert.equal(status.forwarding?.kernel, "ts");
  assert.deepEqual(status.forwarding?.offloads, []);
  const { remote, local } = status.mappings.byKind;
  assert.deepEqual(remote, {
    ...{ published: 2, dynamic: 0, provisional: 0, resting: 0, pending: 0 },
  });
  assert.deepEqual(local, {
    ...{ published: 1, dynamic: 1, provisional: 0, resting: 0, pending: 0 },
  });
  assert.deepEqual(status.peers, { count: 1, max: 1024 });
  await running.gateway.stop();
});

test("rates come from the clock's samples and drops by reason with their meaning", async () => {
  const running = await makeGateway();
  const { machine } = running;
  const { memory, plan } = machine.forwarding!;
  const worker = new CounterBlock(memory, plan.countersOffset, counterWriter(0, "egress"));
  assert.equal((await running.status()).traffic.toTunnel.rate, null);
  machine.pass(1);
  for (let second = 0; second < 8; second++) {
    worker.add(counterIndex("egress-packets"), 1000);
    worker.add(counterIndex("egress-bytes"), 125_000);
    worker.add(counterIndex("egress-slow-path"), 10);
    worker.add(dropCounterIndex("ttl-expired"), 3);
    machine.pass(1);
  }
  const { traffic, drops } = await running.status();
  assert.equal(traffic.windowSeconds, 5);
  const { packets, bytes, slowPackets, rate } = traffic.toTunnel;
  assert.deepEqual([packets, bytes, slowPackets], [8000, 1_000_000, 80]);
  assert.deepEqual(rate, { packetsPerSecond: 1010, bitsPerSecond: 1_000_000 });
  assert.deepEqual(traffic.fromTunnel.rate, { packetsPerSecond: 0, bitsPerSecond: 0 });
  assert.equal(drops.length, 1);
  const [drop] = drops;
  assert.deepEqual([drop!.reason, drop!.count, drop!.perSecond], ["ttl-expired", 24, 3]);
  assert.match(drop!.meaning, /time to live/);
  await running.gateway.stop();
});

test("a remote gateway is listed with port, path MTU, age and traffic", async () => {
  const running = await makeGateway();
  const { machine } = running;
  assert.deepEqual(await running.lines("/peers"), []);
  await sendEcho(running);
  machine.pass(1);
  await sendEcho(running);
  machine.pass(2);
  const [peer, ...others] = await running.lines<PeerEntry>("/peers");
  assert.equal(others.length, 0);
  assert.equal(peer!.address, "203.0.113.1");
  assert.equal(peer!.port, 1045);
  assert.equal(peer!.pathMtuBytes, 1500);
  assert.equal(peer!.isVerified, false);
  assert.equal(peer!.lastSentSecondsAgo, 2);
  assert.equal(peer!.lastReceivedSecondsAgo, null);
  const octets = machine.sent.map(({ payload }) => payload.length);
  assert.equal(peer!.sent.packets, 2);
  assert.equal(peer!.sent.bytes, octets[0]! + octets[1]!);
  assert.equal(peer!.sent.rate!.packetsPerSecond, 0.5);
  assert.equal(peer!.received.packets, 0);
  await running.gateway.stop();
});

test("peers can be filtered, and a filter that cannot be read is refused", async () => {
  const running = await makeGateway();
  await sendEcho(running);
  const fitting = ["address=203.0.113.1", "word=203.0", "verified=no", "limit=1"];
  for (const query of fitting) {
    assert.equal((await running.lines(`/peers?${query}`)).length, 1, query);
  }
  for (const query of ["address=203.0.113.2", "word=nowhere", "verified=yes"]) {
    assert.equal((await running.lines(`/peers?${query}`)).length, 0, query);
  }
  for (const query of ["address=x", "verified=perhaps", "limit=0", "limit=-1", "port=1"]) {
    const reply = await running.ask(`/peers?${query}`);
    assert.equal(reply.status, 400, query);
    assert.match(reply.body as string, /found .*expected/, query);
  }
  await running.gateway.stop();
});

test("mappings can be filtered by each of their properties", async () => {
  const running = await makeGateway();
  await sendEcho(running);
  const addresses = async (query: string) =>
    (await running.lines<MappingEntry>(`/maps?${query}`)).map(({ address }) => address).sort();
  const all = ["10.1.0.5", "10.1.0.9", "10.240.0.22", "10.240.0.23"];
  assert.deepEqual(await addresses(""), all);
  assert.deepEqual(await addresses("kind=remote"), ["10.240.0.22", "10.240.0.23"]);
  assert.deepEqual(await addresses("kind=local"), ["10.1.0.5", "10.1.0.9"]);
  assert.deepEqual(await addresses("state=published&kind=local"), ["10.1.0.9"]);
  assert.deepEqual(await addresses("state=dynamic"), ["10.1.0.5"]);
  assert.deepEqual(await addresses("state=resting"), []);
  assert.deepEqual(await addresses("address=10.240.0.22"), ["10.240.0.22"]);
  assert.deepEqual(await addresses("address=2001:db8::1"), []);
  assert.deepEqual(await addresses("context=203.0.113.2"), ["10.240.0.23"]);
  assert.deepEqual(await addresses("context=198.51.100.1"), ["10.1.0.5", "10.1.0.9"]);
  assert.deepEqual(await addresses("reference=1027"), ["10.1.0.9"]);
  assert.deepEqual(await addresses("owner=mapper"), ["10.1.0.5"]);
  assert.deepEqual(await addresses("owner=/h&kind=local"), ["10.1.0.9"]);
  assert.deepEqual(await addresses("word=203.0.113&word=1026"), ["10.240.0.23"]);
  assert.deepEqual(await addresses("word=PUBLISHED&word=LOCAL"), ["10.1.0.9"]);
  assert.equal((await addresses("limit=3")).length, 3);
  await running.gateway.stop();
});

test("a mapping tells its IPREF address, owner, age and end", async () => {
  const running = await makeGateway();
  await sendEcho(running);
  running.machine.pass(7);
  const [published] = await running.lines<MappingEntry>("/maps?address=10.240.0.22");
  assert.deepEqual(published, {
    kind: "remote",
    state: "published",
    address: "10.240.0.22",
    context: "203.0.113.1",
    reference: "1025",
    owner: "/h",
    isPrimary: true,
    idleSeconds: 7,
    expiresSeconds: null,
  });
  const [own] = await running.lines<MappingEntry>("/maps?address=10.1.0.5");
  assert.equal(own!.context, "198.51.100.1");
  assert.equal(own!.owner, "mapper");
  assert.equal(own!.idleSeconds, 7);
  assert.ok(own!.expiresSeconds! > 3600, `${own!.expiresSeconds}`);
  await running.gateway.stop();
});

test("a query for mappings that cannot be read is refused with what was expected", async () => {
  const running = await makeGateway();
  const bad = ["kind=x", "state=x", "address=1.2.3", "context=x", "reference=-", "limit=x", "x=1"];
  for (const query of bad) {
    const reply = await running.ask(`/maps?${query}`);
    assert.equal(reply.status, 400, query);
    assert.match(reply.body as string, /Cannot read the query: found .*, expected /, query);
  }
  await running.gateway.stop();
});

test("a store that refuses makes the gateway unhealthy until it stores again", async () => {
  const running = await makeGateway();
  running.machine.store.failure = new Error("the disk is full");
  await sendEcho(running);
  const failing = await running.status();
  assert.equal(failing.isHealthy, false);
  assert.match(failing.problems.join(), /store is not in order: .*could not be stored/);
  running.machine.store.failure = undefined;
  running.machine.pass(1);
  await sendEcho(running);
  await settle();
  assert.equal((await running.status()).isHealthy, true);
  await running.gateway.stop();
});

test("a hundred thousand mappings are listed and counted in short steps", async () => {
  const count = 100_000;
  const world = new World({ recordsMax: 2 * count });
  for (let number = 0; number < count; number++) {
    const bytes = Uint8Array.of(203, 0, number >> 10, number >> 2);
    world.mapper.getEncodedAddress({ version: 4, bytes }, BigInt(1000 + (number & 3)));
  }
  world.flush();
  const listing = countTurns();
  const { mapper } = world;
  const signal = new AbortController().signal;
  const query = new URLSearchParams();
  const reply = await mapsHandler({ mapper })({ ...QUESTION, query, signal });
  let lines = 0;
  const seen = new Set<string>();
  for await (const text of reply.body as AsyncIterable<string>) {
    for (const line of text.trimEnd().split("\n")) {
      lines++;
      seen.add((JSON.parse(line) as MappingEntry).address);
    }
  }
  assert.ok(listing.stop() >= count / STEP_MAPPINGS_MAX);
  const counting = countTurns();
  const counts = await countAllMappings(mapper, { monotonicMs: () => 0 }, signal);
  assert.ok(counting.stop() >= count / STEP_COUNTED_MAX);
  assert.equal(lines, count);
  assert.equal(seen.size, count);
  assert.equal(counts.remote.dynamic, count);
});

test("drops of the tunnel side are counted under the same name", async () => {
  const running = await makeGateway();
  running.machine.forwarding!.onPacket({
    kind: RING_FROM_TUNNEL,
    address: parseIp("203.0.113.9")!,
    port: 1045,
    typeOfService: 0,
    packet: new Uint8Array(0),
  });
  const { drops } = await running.status();
  assert.deepEqual(
    drops.map(({ reason, count }) => [reason, count]),
    [["tunnel-empty", 1]],
  );
  await running.gateway.stop();
});

test("lists end when their reader goes, though nothing fits that could be sent", async () => {
  let steps = 0;
  const gone = new AbortController();
  const mapper = {
    findMappings: () => {
      if (++steps === 10) gone.abort();
      return 1;
    },
  } as unknown as Mapper;
  const question = { ...QUESTION, query: new URLSearchParams("word=x"), signal: gone.signal };
  const { body } = await mapsHandler({ mapper })(question);
  for await (const piece of body as AsyncIterable<string>) assert.fail(`found ${piece}`);
  assert.equal(steps, 10);
});

test("more words than a search may have are refused", async () => {
  const { ask } = await makeGateway();
  const words = "word=a&".repeat(17);
  for (const path of ["/maps", "/peers"]) {
    const { status, body } = await ask(`${path}?${words}`);
    assert.equal(status, 400);
    assert.match(String(body), /found 17 words, expected at most 16/);
  }
});

test("a count that was given up is not remembered", async () => {
  const mapper = {
    statistics: () => ({ records: 1_000_000 }),
    countMappings: ({ first }: { first: number }, counts: MappingCounts) => {
      counts.local.dynamic++;
      return first < 3 ? first + 1 : 0;
    },
  } as unknown as Mapper;
  const clock = { monotonicMs: () => 0 };
  await countAllMappings(mapper, clock, AbortSignal.abort());
  const { local } = await countAllMappings(mapper, clock);
  assert.equal(local.dynamic, 3);
});
