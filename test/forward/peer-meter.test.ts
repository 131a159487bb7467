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
import { PeerTrafficBlock, PeerTrafficReader } from "../../src/tables/peer-traffic.js";
import { FastWorld } from "./fast-world.js";

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
    const out = new PeerMeter(memory, makeBlock("egress"));
    const back = new PeerMeter(memory, makeBlock("ingress"));
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
