/** Counting by remote gateway: whole batches against a count packet by packet. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { IpAddress } from "../../src/base/ip.js";
import { randomBelow, seededRandom } from "../../src/base/random.js";
import { PeerMeter } from "../../src/forward/peer-meter.js";
import {
  MESSAGE_BAD_CONTROL,
  PacketBatch,
  SEND_DONE,
  SEND_FAILED,
  SEND_TOO_BIG,
} from "../../src/forward/ports.js";
import { counterWriter } from "../../src/tables/arena.js";
import { FlowSampleBlock, SAMPLES_MAX } from "../../src/tables/flow-samples.js";
import { PeerTrafficBlock, PeerTrafficReader } from "../../src/tables/peer-traffic.js";
import { FastWorld } from "./fast-world.js";

function samplesOf({ buffer, plan }: FastWorld, role: "egress" | "ingress"): FlowSampleBlock {
  return new FlowSampleBlock(buffer, plan.flowSamplesOffset, counterWriter(0, role));
}

const ROUNDS = 200;
const BATCH_MAX = 40;

for (const tunnelVersion of [4, 6] as const) {
  test(`the meter counts each packet of a batch for its gateway, IPv${tunnelVersion}`, () => {
    const seed = 0x5eed_0000 + tunnelVersion;
    const random = seededRandom(seed);
    const world = new FastWorld({ localVersion: 4, tunnelVersion });
    const { peersMax } = world.plan.options;
    const { peerTrafficOffset, counterWriters } = world.plan;
    const makeBlock = (role: "egress" | "ingress") =>
      new PeerTrafficBlock(world.buffer, peerTrafficOffset, peersMax, counterWriter(0, role));
    const { memory, offset } = world.worker("egress");
    const out = new PeerMeter(memory, makeBlock("egress"), samplesOf(world, "egress"));
    const back = new PeerMeter(memory, makeBlock("ingress"), samplesOf(world, "ingress"));
    const unknown = world.contextIp(77);
    const senders = [...world.peers.map(({ address }) => address), unknown];
    const place = new Map<IpAddress, number>();
    for (const [index, address] of senders.entries()) {
      place.set(address, offset + 64 * index);
      world.bytes.set(address.bytes, offset + 64 * index);
    }
    const expected = new Map(senders.map((address) => [address, [0, 0, 0, 0]]));
    for (let round = 0; round < ROUNDS; round++) {
      const batch = new PacketBatch(BATCH_MAX);
      const count = 1 + randomBelow(random, BATCH_MAX);
      let address = senders[0]!;
      const hasFailures = randomBelow(random, 2) === 1;
      const outcomes = [SEND_DONE, SEND_DONE, SEND_FAILED, SEND_TOO_BIG];
      for (let index = 0; index < count; index++) {
        if (randomBelow(random, 3) === 0) address = senders[randomBelow(random, senders.length)]!;
        const length = 1 + randomBelow(random, 3000);
        const sizes = [1 + randomBelow(random, 1500), length, MESSAGE_BAD_CONTROL];
        const size = sizes[randomBelow(random, sizes.length)]!;
        batch.addMessage(0, length, size, place.get(address)!, 1045);
        batch.outcomes[index] = outcomes[randomBelow(random, outcomes.length)]!;
        const sums = expected.get(address)!;
        if (!hasFailures || batch.outcomes[index] === SEND_DONE) {
          sums[0]! += 1;
          sums[1]! += length;
        }
        sums[2]! += size > 0 ? Math.ceil(length / size) : 1;
        sums[3]! += length;
      }
      out.sent(batch, hasFailures);
      back.received(batch);
    }
    const reader = new PeerTrafficReader(world.buffer, peerTrafficOffset, peersMax, counterWriters);
    for (const [address, sums] of expected) {
      const entry = memory.peers.findAt(place.get(address)! >>> 2, memory.contextWords);
      assert.equal(entry === 0, address === unknown);
      const found = Object.values(reader.read(entry));
      assert.deepEqual(found, sums, `seed ${seed}, entry ${entry}`);
    }
  });
}

/** A meter with packets of two gateways in its memory, each packet with octets of its own. */
function makeSampling(role: "egress" | "ingress") {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const { plan, buffer, bytes, control, peers } = world;
  const { memory, offset } = world.worker(role);
  const { peersMax } = plan.options;
  const writer = counterWriter(0, role);
  const traffic = new PeerTrafficBlock(buffer, plan.peerTrafficOffset, peersMax, writer);
  const samples = samplesOf(world, role);
  const meter = new PeerMeter(memory, traffic, samples);
  for (const [index, { address }] of peers.slice(0, 2).entries()) {
    bytes.set(address.bytes, offset + 16 * index);
  }
  const packets = offset + 64;
  for (let index = 0; index < 60_000; index++) bytes[packets + index] = index >> 6;
  return { control, samples, meter, packets, addresses: [offset, offset + 16], peers };
}

test("a worker samples one batch of each round, and none while nobody looks", () => {
  const { control, samples, meter, packets, addresses } = makeSampling("egress");
  const batch = new PacketBatch(4);
  batch.addTunnel(packets, 40, addresses[0]!, 1045);
  meter.sent(batch, false);
  assert.deepEqual([samples.round(), samples.sampleCount()], [0, 0]);
  control.setSamplingRound(1);
  meter.sent(batch, false);
  assert.deepEqual([samples.round(), samples.sampleCount()], [1, 1]);
  batch.addTunnel(packets, 40, addresses[0]!, 1045);
  meter.sent(batch, false);
  assert.equal(samples.sampleCount(), 1, "the second batch of a round is left alone");
  control.setSamplingRound(2);
  meter.sent(batch, false);
  assert.deepEqual([samples.round(), samples.sampleCount()], [2, 2]);
  assert.deepEqual(samples.totals(), { packets: 1 + 1 + 2 + 2, octets: 40 * 6 });
});

test("samples of what was sent stand for the whole batch and hold each packet's start", () => {
  const { control, samples, meter, packets, addresses, peers } = makeSampling("egress");
  for (const count of [1, SAMPLES_MAX, 2 * SAMPLES_MAX, 512]) {
    const batch = new PacketBatch(512);
    for (let index = 0; index < count; index++) {
      batch.addTunnel(packets + 64 * index, 64, addresses[index % 2]!, 1045);
      batch.payloadLengths[index] = 936;
    }
    control.setSamplingRound(100 + count);
    meter.sent(batch, false);
    assert.equal(samples.round(), 100 + count);
    const taken = Array.from({ length: samples.sampleCount() }, (_, at) => samples.sample(at));
    assert.ok(taken.length <= SAMPLES_MAX);
    assert.equal(
      taken.reduce((sum, sample) => sum + sample.packets, 0),
      count,
    );
    assert.equal(
      taken.reduce((sum, sample) => sum + sample.octets, 0),
      1000 * count,
    );
    for (const { header, address } of taken) {
      assert.equal(header.length, 64);
      const index = header[0]!;
      assert.ok(header.every((octet) => octet === index));
      assert.deepEqual(address, peers[index % 2]!.address.bytes);
    }
  }
});

test("of a received message one datagram stands for all, a short one is not read beyond", () => {
  const { control, samples, meter, packets, addresses } = makeSampling("ingress");
  const batch = new PacketBatch();
  batch.addMessage(packets, 64 * 9 + 7, 64, addresses[0]!, 1045);
  batch.addMessage(packets + 64 * 20, 30, 30, addresses[1]!, 1045);
  const seen = new Set<number>();
  for (let round = 1; round <= 20; round++) {
    control.setSamplingRound(round);
    meter.received(batch);
    const [grouped, single] = [samples.sample(0), samples.sample(1)];
    assert.deepEqual([grouped.packets, grouped.octets], [10, 64 * 9 + 7]);
    seen.add(grouped.header[0]!);
    assert.equal(grouped.header.length, grouped.header[0] === 9 ? 7 : 64);
    assert.deepEqual([single.packets, single.octets, single.header.length], [1, 30, 30]);
  }
  assert.equal(seen.size, 10, "every datagram of the message has its turn");
});
