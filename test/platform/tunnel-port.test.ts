/** The tunnel port over loopback sockets: grouping, refusals, errors, and the order to end. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type IpVersion, parseIp } from "../../src/base/ip.js";
import { ALL_OFFLOADS } from "../../src/forward/offloads.js";
import { PacketBatch, SEND_DONE, SEND_FAILED, SEND_TOO_BIG } from "../../src/forward/ports.js";
import { closeEventFd, createEventFd, signalEventFd } from "../../src/platform/eventfd.js";
import { TunnelSocketPort } from "../../src/platform/tunnel-port.js";
import { openUdpSocket } from "../../src/platform/udp-socket.js";
import { WorkerMemory } from "../../src/platform/worker-memory.js";
import { BATCH_PACKETS_MAX, slabLayout, slotPacketOffset } from "../../src/tables/arena.js";
import { CounterBlock, countersBytes } from "../../src/tables/counters.js";

/** A socket on loopback with its port object in memory of its own. */
function openEnd(version: IpVersion) {
  const address = parseIp(version === 4 ? "127.0.0.1" : "::1")!;
  const socket = openUdpSocket({ address, port: 0 });
  const slabOffset = 64 * 64;
  const slab = slabLayout(slabOffset);
  assert.ok(countersBytes(1) <= slabOffset);
  const memory = new SharedArrayBuffer(slab.endOffset + 64);
  const stopFd = createEventFd();
  const counters = new CounterBlock(memory, 0, 0);
  const worker = new WorkerMemory(memory, slabOffset, stopFd);
  const port = new TunnelSocketPort(socket.fd, version, worker, counters, ALL_OFFLOADS);
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
  return { socket, port, bytes, batch, add, stopFd, close };
}

/** Lengths, contents and source ports of what waits at an end. */
function receiveAll(end: ReturnType<typeof openEnd>): string[] {
  const seen: string[] = [];
  for (;;) {
    end.port.receiveBatch(end.batch);
    if (end.batch.count === 0) return seen;
    for (let index = 0; index < end.batch.count; index++) {
      const start = end.batch.offsets[index]!;
      const length = end.batch.lengths[index]!;
      const content = end.bytes.subarray(start, start + length);
      assert.ok(
        content.every((byte) => byte === content[0]),
        "contents are not mixed",
      );
      seen.push(`${length}:${content[0] ?? "-"}:${end.batch.ports[index]}`);
    }
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
