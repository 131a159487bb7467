/**
 * The tunnel port over loopback sockets: grouping, joined messages, refusals, errors, and the order
 * to end.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type IpVersion, parseIp } from "../../src/base/ip.js";
import { seededRandom } from "../../src/base/random.js";
import { ALL_OFFLOADS, NO_OFFLOADS, type Offloads } from "../../src/forward/offloads.js";
import {
  MESSAGE_BAD_CONTROL,
  MESSAGE_BAD_SEGMENT_SIZE,
  PacketBatch,
  SEND_DONE,
  SEND_FAILED,
  SEND_TOO_BIG,
} from "../../src/forward/ports.js";
import { closeEventFd, createEventFd, signalEventFd } from "../../src/platform/eventfd.js";
import { readSegmentSize, TunnelSocketPort } from "../../src/platform/tunnel-port.js";
import { openUdpSocket } from "../../src/platform/udp-socket.js";
import { WorkerMemory } from "../../src/platform/worker-memory.js";
import {
  BATCH_PACKETS_MAX,
  headerSlotOffset,
  SEND_PACKETS_MAX,
  slabLayout,
  slotPacketOffset,
} from "../../src/tables/arena.js";
import { CounterBlock, counterIndex, countersBytes } from "../../src/tables/counters.js";

/** A socket on loopback with its port object in memory of its own. */
function openEnd(version: IpVersion, offloads: Offloads = ALL_OFFLOADS) {
  const address = parseIp(version === 4 ? "127.0.0.1" : "::1")!;
  const socket = openUdpSocket({ address, port: 0, joinsDatagrams: offloads.gro });
  const slabOffset = 64 * 64;
  const slab = slabLayout(slabOffset);
  assert.ok(countersBytes(1) <= slabOffset);
  const memory = new SharedArrayBuffer(slab.endOffset + 64);
  const stopFd = createEventFd();
  const counters = new CounterBlock(memory, 0, 0);
  const worker = new WorkerMemory(memory, slabOffset, stopFd);
  const port = new TunnelSocketPort(socket.fd, version, worker, counters, offloads);
  const bytes = new Uint8Array(memory);
  bytes.set(address.bytes, slab.endOffset);
  const batch = new PacketBatch(BATCH_PACKETS_MAX);
  const add = (length: number, toPort: number, fill: number): void => {
    const offset = slotPacketOffset(slab, batch.count);
    bytes.fill(fill, offset, offset + length);
    batch.addTunnel(offset, length, slab.endOffset, toPort);
  };
  const close = (): void => {
    socket.close();
    closeEventFd(stopFd);
  };
  return { socket, port, bytes, batch, add, stopFd, counters, slab, close };
}

/** Length, content and source port of each datagram of a received message. */
function datagramsOf({ batch, bytes }: ReturnType<typeof openEnd>, index: number): string[] {
  const start = batch.offsets[index]!;
  const length = batch.lengths[index]!;
  const size = batch.segmentSizes[index]!;
  if (length === 0) return [`0:-:${batch.ports[index]}`];
  const seen: string[] = [];
  for (let at = 0; at < length; at += size) {
    const content = bytes.subarray(start + at, start + Math.min(length, at + size));
    const isPure = content.every((byte) => byte === content[0]);
    assert.ok(isPure, "contents are not mixed");
    seen.push(`${content.length}:${content[0]}:${batch.ports[index]}`);
  }
  return seen;
}

/** Lengths, contents and source ports of what waits at an end. */
function receiveAll(end: ReturnType<typeof openEnd>): string[] {
  const seen: string[] = [];
  for (;;) {
    end.port.receiveBatch(end.batch);
    if (end.batch.count === 0) return seen;
    for (let index = 0; index < end.batch.count; index++) seen.push(...datagramsOf(end, index));
  }
}

for (const version of [4, 6] as const) {
  test(`A batch of any lengths to two IPv${version} gateways arrives as it was`, () => {
    const [from, to, other] = [openEnd(version), openEnd(version), openEnd(version)];
    try {
      const lengths = [1400, 1400, 1400, 900, 1400, 20, 20, 0, 1, 65_000, 65_000, 300, 300];
      const expected: [string[], string[]] = [[], []];
      for (let index = 0; index < BATCH_PACKETS_MAX; index++) {
        const length = lengths[index % lengths.length]!;
        const side = index % 11 === 10 ? 1 : 0;
        from.add(length, (side === 0 ? to : other).socket.port, index);
        expected[side].push(`${length}:${length === 0 ? "-" : index}:${from.socket.port}`);
      }
      assert.equal(from.port.sendBatch(from.batch), 0);
      assert.ok(from.batch.outcomes.every((outcome) => outcome === SEND_DONE));
      assert.deepEqual(receiveAll(to), expected[0]);
      assert.deepEqual(receiveAll(other), expected[1]);
    } finally {
      for (const end of [from, to, other]) end.close();
    }
  });

  test(`A packet too big for IPv${version} is reported, its neighbours are sent`, () => {
    const [from, to] = [openEnd(version), openEnd(version)];
    try {
      for (const length of [100, 65_530, 65_530, 100]) from.add(length, to.socket.port, 7);
      assert.equal(from.port.sendBatch(from.batch), 2);
      const outcomes = [...from.batch.outcomes.subarray(0, 4)];
      assert.deepEqual(outcomes, [SEND_DONE, SEND_TOO_BIG, SEND_TOO_BIG, SEND_DONE]);
      assert.equal(receiveAll(to).length, 2);
    } finally {
      for (const end of [from, to]) end.close();
    }
  });
}

test("A port of 0 is refused for that packet only", () => {
  const [from, to] = [openEnd(4), openEnd(4)];
  try {
    from.add(100, 0, 1);
    from.add(100, to.socket.port, 2);
    assert.equal(from.port.sendBatch(from.batch), 1);
    assert.deepEqual([...from.batch.outcomes.subarray(0, 2)], [SEND_FAILED, SEND_DONE]);
    assert.equal(receiveAll(to).length, 1);
  } finally {
    for (const end of [from, to]) end.close();
  }
});

test("A closed port of a peer is noticed and disturbs no later packet", () => {
  const [from, gone, to] = [openEnd(4), openEnd(4), openEnd(4)];
  try {
    gone.socket.close();
    from.add(100, gone.socket.port, 1);
    assert.equal(from.port.sendBatch(from.batch), 0);
    assert.ok(from.port.waitReadable());
    assert.ok(from.port.takeErrorNotice());
    assert.equal(from.port.takeErrorNotice(), false);
    from.batch.count = 0;
    for (let index = 0; index < 10; index++) from.add(100, to.socket.port, 2);
    assert.equal(from.port.sendBatch(from.batch), 0);
    assert.equal(receiveAll(to).length, 10);
  } finally {
    closeEventFd(gone.stopFd);
    for (const end of [from, to]) end.close();
  }
});

test("A signalled stop descriptor ends the wait, also when datagrams wait", () => {
  const [from, to] = [openEnd(4), openEnd(4)];
  try {
    from.add(100, to.socket.port, 1);
    from.port.sendBatch(from.batch);
    assert.ok(to.port.waitReadable());
    signalEventFd(to.stopFd);
    assert.equal(to.port.waitReadable(), false);
  } finally {
    for (const end of [from, to]) end.close();
  }
});

test("Headers and payloads that lie apart arrive as one datagram each, in groups", () => {
  const [from, to] = [openEnd(4), openEnd(4, { ...ALL_OFFLOADS, gro: false })];
  try {
    const { batch, bytes, slab } = from;
    const payload = slab.slotsOffset;
    for (let index = 0; index < 300; index++) {
      const header = headerSlotOffset(slab, index);
      bytes.fill(index & 255, header, header + 40);
      bytes.fill(index & 255, payload + index * 100, payload + (index + 1) * 100);
      batchOf(from).addTunnel(header, 40, slab.endOffset, to.socket.port);
      batchOf(from).payloadOffsets[index] = payload + index * 100;
      batchOf(from).payloadLengths[index] = index === 299 ? 7 : 100;
    }
    assert.equal(batch.count, 0);
    assert.equal(from.port.sendBatch(batchOf(from)), 0);
    const expected = Array.from({ length: 300 }, (_, index) => {
      const length = index === 299 ? 47 : 140;
      return `${length}:${index & 255}:${from.socket.port}`;
    });
    assert.deepEqual(receiveAll(to), expected);
    assert.equal(from.counters.values[counterIndex("send-groups")], 5);
  } finally {
    for (const end of [from, to]) end.close();
  }
});

const batches = new WeakMap<object, PacketBatch>();

/** A batch of an end that is as large as an egress worker's. */
function batchOf(end: object): PacketBatch {
  const batch = batches.get(end) ?? new PacketBatch(SEND_PACKETS_MAX);
  batches.set(end, batch);
  return batch;
}

for (const version of [4, 6] as const) {
  test(`Datagrams of a group arrive as one message over IPv${version} and are cut again`, () => {
    const [from, to] = [openEnd(version), openEnd(version)];
    try {
      for (let index = 0; index < 40; index++)
        from.add(index === 39 ? 33 : 1000, to.socket.port, 9);
      assert.equal(from.port.sendBatch(from.batch), 0);
      to.port.receiveBatch(to.batch);
      assert.equal(to.batch.count, 1, "one message");
      assert.equal(to.batch.lengths[0], 39_033);
      assert.equal(to.batch.segmentSizes[0], 1000);
      assert.equal(datagramsOf(to, 0).length, 40);
      assert.equal(to.counters.values[counterIndex("receive-groups")], 1);
    } finally {
      for (const end of [from, to]) end.close();
    }
  });
}

test("Without offloads each packet is a message of its own", () => {
  const [from, to] = [openEnd(4, NO_OFFLOADS), openEnd(4, NO_OFFLOADS)];
  try {
    for (let index = 0; index < 30; index++) from.add(500, to.socket.port, index);
    assert.equal(from.port.sendBatch(from.batch), 0);
    to.port.receiveBatch(to.batch);
    assert.equal(to.batch.count, 30);
    assert.equal(from.counters.values[counterIndex("send-groups")], 0);
  } finally {
    for (const end of [from, to]) end.close();
  }
});

test("readSegmentSize() takes the control message of UDP_GRO and nothing else", () => {
  const words = new Int32Array(8);
  const good = [20, 0, 17, 104, 1400];
  const read = (values: readonly number[], length = 5000): number => {
    words.set(values);
    return readSegmentSize(words, 0, length);
  };
  assert.equal(read(good), 1400);
  assert.equal(read(good, 1400), 1400);
  for (const [place, value] of [
    [0, 0],
    [0, 16],
    [0, 19],
    [0, 24],
    [1, 1],
    [2, 0],
    [2, 41],
    [3, 103],
    [3, 0],
  ] as const) {
    assert.equal(read(good.with(place, value)), MESSAGE_BAD_CONTROL, `word ${place} = ${value}`);
  }
  for (const size of [0, -1, 5001, -(2 ** 31), 2 ** 31 - 1]) {
    assert.equal(read(good.with(4, size)), MESSAGE_BAD_SEGMENT_SIZE, `size ${size}`);
  }
  const random = seededRandom(7);
  for (let round = 0; round < 20_000; round++) {
    for (let word = 0; word < 5; word++) words[word] = random.word();
    const size = readSegmentSize(words, 0, 5000);
    assert.ok(size === MESSAGE_BAD_CONTROL || size === MESSAGE_BAD_SEGMENT_SIZE || size > 0);
  }
});
