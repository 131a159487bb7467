import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import {
  PacketRingConsumer,
  PacketRingProducer,
  packetRingBytes,
  RING_FROM_LOCAL,
  RING_FROM_TUNNEL,
  RING_SOCKET_ERROR,
  type RingPacket,
} from "../../src/tables/packet-ring.js";
import { Dice } from "../forward/fast-world.js";

const CAPACITY = 4096;
const PACKETS_OFFSET = 8192;

function makeRing(version: 4 | 6 = 4) {
  const memory = new SharedArrayBuffer(1 << 16);
  assert.ok(packetRingBytes(CAPACITY) <= PACKETS_OFFSET);
  const bytes = new Uint8Array(memory);
  const producer = new PacketRingProducer(memory, 64, CAPACITY);
  const consumer = new PacketRingConsumer(memory, 64, CAPACITY, version);
  return { memory, bytes, producer, consumer };
}

function drain(consumer: PacketRingConsumer): RingPacket[] {
  const packets: RingPacket[] = [];
  for (let packet = consumer.take(); packet !== undefined; packet = consumer.take()) {
    packets.push(packet);
  }
  return packets;
}

test("A ring hands over kind, address, port and payload", () => {
  const { bytes, producer, consumer } = makeRing(6);
  const address = Uint8Array.from({ length: 16 }, (_, index) => index + 1);
  bytes.set(address, PACKETS_OFFSET);
  bytes.set([9, 8, 7, 6, 5], PACKETS_OFFSET + 32);
  const addressWord = PACKETS_OFFSET / 4;
  assert.ok(producer.push(RING_FROM_TUNNEL, PACKETS_OFFSET + 32, 5, addressWord, 4, 65_535));
  assert.deepEqual(drain(consumer), [
    {
      kind: RING_FROM_TUNNEL,
      address: { version: 6, bytes: address },
      port: 65_535,
      typeOfService: 0,
      packet: Uint8Array.of(9, 8, 7, 6, 5),
    },
  ]);
});

test("A full ring refuses and takes again after the consumer has made room", () => {
  const { producer, consumer } = makeRing();
  let pushed = 0;
  while (producer.push(RING_FROM_LOCAL, PACKETS_OFFSET, 1000, 0, 0, 0)) pushed++;
  assert.equal(pushed, 3); // 3 entries of 1056 of 4096 octets; the fourth would wrap
  assert.equal(drain(consumer).length, 3);
  assert.ok(producer.push(RING_FROM_LOCAL, PACKETS_OFFSET, 1000, 0, 0, 0));
  assert.equal(drain(consumer).length, 1);
});

test("An empty payload passes a ring", () => {
  const { producer, consumer } = makeRing();
  assert.ok(producer.push(RING_FROM_TUNNEL, PACKETS_OFFSET, 0, 0, 0, 7));
  assert.equal(consumer.take()?.packet.length, 0);
});

test("Packets leave a ring in order and unharmed, whatever their sizes", (context) => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  context.diagnostic(`seed ${seed}`);
  const dice = new Dice(seed);
  const { bytes, producer, consumer } = makeRing();
  const waiting: Uint8Array[] = [];
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    if (dice.percent(55)) {
      const packet = dice.bytes(dice.below(dice.percent(10) ? 1500 : 100));
      bytes.set(packet, PACKETS_OFFSET);
      if (producer.push(RING_FROM_LOCAL, PACKETS_OFFSET, packet.length, 0, 0, 0)) {
        waiting.push(packet);
      } else refused++;
    } else {
      assert.deepEqual(consumer.take()?.packet, waiting.shift(), `seed ${seed}, round ${round}`);
    }
  }
  assert.deepEqual(
    drain(consumer).map(({ packet }) => packet),
    waiting,
  );
  assert.ok(refused > 0, "the ring was never full");
});

test("A producer wakes a sleeping consumer once, and a running one never", () => {
  const { producer, consumer } = makeRing();
  assert.equal(producer.mustWake(), false);
  producer.push(RING_FROM_LOCAL, PACKETS_OFFSET, 10, 0, 0, 0);
  assert.equal(producer.mustWake(), false, "the consumer does not sleep yet");
  assert.equal(consumer.sleep(), false, "there is a packet");
  drain(consumer);
  assert.equal(consumer.sleep(), true);
  producer.push(RING_FROM_LOCAL, PACKETS_OFFSET, 10, 0, 0, 0);
  producer.push(RING_FROM_LOCAL, PACKETS_OFFSET, 10, 0, 0, 0);
  assert.equal(producer.mustWake(), true);
  producer.push(RING_FROM_LOCAL, PACKETS_OFFSET, 10, 0, 0, 0);
  assert.equal(producer.mustWake(), false, "already woken");
});

test("Another thread's packets arrive complete and in order", { timeout: 20_000 }, async () => {
  const { memory, consumer } = makeRing();
  const packets = 20_000;
  const script = new URL("./packet-ring-worker.js", import.meta.url);
  const worker = new Worker(script, { workerData: { memory, capacity: CAPACITY, packets } });
  const ended = new Promise((resolve) => worker.on("exit", resolve));
  for (let expected = 0; expected < packets; ) {
    const taken = consumer.take();
    if (taken === undefined) {
      await new Promise((resolve) => setImmediate(resolve));
      continue;
    }
    const view = new DataView(taken.packet.buffer);
    assert.equal(view.getUint32(0), expected);
    assert.equal(taken.packet.length, 4 + (expected % 200));
    assert.ok(taken.packet.subarray(4).every((byte) => byte === (expected & 0xff)));
    expected++;
  }
  await ended;
});

test("Skipping passes over packets, around the end of the ring, and stops at messages", () => {
  const { bytes, producer, consumer } = makeRing();
  assert.equal(consumer.skipPackets(), 0);
  for (let round = 0; round < 50; round++) {
    bytes[PACKETS_OFFSET] = round;
    const length = 100 + 17 * round;
    assert.ok(producer.push(RING_FROM_LOCAL, PACKETS_OFFSET, length, 0, 0, 0));
    assert.ok(producer.push(RING_FROM_TUNNEL, PACKETS_OFFSET, 10, 0, 0, 0));
    assert.ok(producer.push(RING_SOCKET_ERROR, 0, 0, 0, 0, 0));
    assert.ok(producer.push(RING_FROM_LOCAL, PACKETS_OFFSET, 30, 0, 0, 0));
    assert.equal(consumer.skipPackets(), 2);
    assert.equal(consumer.skipPackets(), 0);
    assert.equal(consumer.take()?.kind, RING_SOCKET_ERROR);
    assert.equal(consumer.take()?.packet[0], round);
    assert.equal(consumer.take(), undefined);
    assert.ok(consumer.sleep());
  }
});
