/** Capture rings: entries of any size come out as they went in; a full ring loses and counts. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { CAPTURE_FILTER_BYTES_MAX, CaptureArea } from "../../src/tables/capture-area.js";
import {
  CAPTURE_RING_BYTES,
  CaptureRingConsumer,
  CaptureRingProducer,
  captureRingBytes,
  ENTRY_ADDRESS,
  ENTRY_HEAD_BYTES,
  ENTRY_KINDS,
  ENTRY_NATIVE_KEPT,
  ENTRY_NATIVE_LENGTH,
  ENTRY_PORT,
  ENTRY_REASON,
  ENTRY_TIME,
  ENTRY_TUNNEL_KEPT,
  ENTRY_TUNNEL_LENGTH,
  paddedLength,
} from "../../src/tables/capture-ring.js";
import { Dice } from "../forward/fast-world.js";

const SEED = Number(process.env.IPREF_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
const BASE = 128;

function makeRing(version: 4 | 6 = 4) {
  const memory = new SharedArrayBuffer(BASE + captureRingBytes(4));
  const words = new Int32Array(memory);
  const bytes = new Uint8Array(memory);
  const times = new Float64Array(memory);
  const producer = new CaptureRingProducer(memory, BASE);
  const consumer = new CaptureRingConsumer(memory, BASE, version);
  /** Writes an entry with these packets; false when it was lost. */
  const put = (native: Uint8Array, tunnel: Uint8Array, generation = 1, timeMs = 0.5): boolean => {
    const start = producer.reserve(paddedLength(native.length) + tunnel.length, generation);
    if (start < 0) return false;
    const word = start >>> 2;
    times[(word + ENTRY_TIME) >>> 1] = timeMs;
    words[word + ENTRY_KINDS] = 2 | (1 << 8) | (2 << 16) | (3 << 24);
    words[word + ENTRY_REASON] = 9;
    words[word + ENTRY_NATIVE_LENGTH] = native.length + 1;
    words[word + ENTRY_NATIVE_KEPT] = native.length;
    words[word + ENTRY_TUNNEL_LENGTH] = tunnel.length + 2;
    words[word + ENTRY_TUNNEL_KEPT] = tunnel.length;
    words[word + ENTRY_PORT] = 65_535;
    for (let index = 0; index < 4; index++) words[word + ENTRY_ADDRESS + index] = 0x01020304;
    bytes.set(native, start + ENTRY_HEAD_BYTES);
    bytes.set(tunnel, start + ENTRY_HEAD_BYTES + paddedLength(native.length));
    producer.publish(start);
    return true;
  };
  return { producer, consumer, put, bytes };
}

test("An entry comes out as it went in", () => {
  const { consumer, put } = makeRing(6);
  const [native, tunnel] = [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5, 6, 7, 8)];
  assert.ok(put(native, tunnel, 5, 123.25));
  assert.deepEqual(consumer.take(5), {
    ...{ timeMs: 123.25, direction: 2, path: 1, verdict: 2, reason: 9, sides: 3 },
    ...{ native, nativeLength: 4, tunnel, tunnelLength: 7, remotePort: 65_535 },
    remote: {
      version: 6,
      bytes: Uint8Array.of(4, 3, 2, 1, 4, 3, 2, 1, 4, 3, 2, 1, 4, 3, 2, 1),
    },
  });
  assert.equal(consumer.take(5), undefined);
});

test("Entries of earlier captures are passed over", () => {
  const { consumer, put } = makeRing();
  for (const generation of [1, 1, 2, 1, 2]) {
    assert.ok(put(Uint8Array.of(generation), new Uint8Array(0), generation));
  }
  assert.deepEqual([...consumer.take(2)!.native], [2]);
  assert.deepEqual([...consumer.take(2)!.native], [2]);
  assert.equal(consumer.take(2), undefined);
});

test("Entries of all sizes go through, round and round; what does not fit is counted", () => {
  console.log(`seed ${SEED}`);
  const dice = new Dice(SEED);
  const { producer, consumer, put, bytes } = makeRing();
  bytes.fill(0xee, producer.keptOffset);
  const waiting: string[] = [];
  let lost = 0;
  let octets = 0;
  const take = (count: number) => {
    for (let index = 0; index < count; index++) {
      const record = consumer.take(1);
      if (record === undefined) return assert.equal(waiting.length, 0);
      const summary = `${record.native.join()}/${record.tunnel.length}/${record.tunnel.at(-1)}`;
      assert.equal(summary, waiting.shift());
    }
  };
  for (let round = 0; round < 3000; round++) {
    const native = dice.bytes(dice.below(20));
    const tunnel = new Uint8Array(dice.percent(10) ? dice.below(65_536) : dice.below(1500));
    tunnel.fill(round & 0xff);
    octets += tunnel.length;
    if (put(native, tunnel)) {
      waiting.push(`${native.join()}/${tunnel.length}/${tunnel.at(-1)}`);
    } else lost++;
    if (dice.percent(20)) take(dice.below(7));
  }
  take(waiting.length + 1);
  assert.ok(octets > 3 * CAPTURE_RING_BYTES, "the ring went round");
  assert.ok(lost > 0, "it was full at times");
  assert.equal(consumer.takeLost(), lost);
  assert.ok(bytes.subarray(producer.keptOffset).every((octet) => octet === 0xee));
});

test("A reader that begins anew counts only what is lost from then on", () => {
  const { consumer, put } = makeRing();
  const big = new Uint8Array(65_535);
  while (put(big, big));
  assert.equal(consumer.takeLost(), 1);
  assert.equal(put(big, big), false);
  assert.equal(put(big, big), false);
  assert.equal(consumer.takeLost(), 2);
  assert.equal(consumer.takeLost(), 0);
});

test("An order is read as it was written, whatever stands in the memory", () => {
  const memory = new SharedArrayBuffer(4096);
  const area = new CaptureArea(memory, 64);
  const order = { snaplen: 96, filter: "x".repeat(CAPTURE_FILTER_BYTES_MAX) };
  area.write(order);
  assert.deepEqual(area.read(), order);
  area.write({ snaplen: 65_535, filter: "port 53" });
  assert.deepEqual(area.read(), { snaplen: 65_535, filter: "port 53" });
  for (const length of [-1, 2 ** 31 - 1]) {
    new Int32Array(memory, 64)[1] = length;
    assert.ok(area.read().filter.length <= CAPTURE_FILTER_BYTES_MAX);
  }
});
