/**
 * Sending when the kernel does what it rarely does: partial sends, full queues, refused groups. The
 * system call is a double that reads the message headers as the kernel would.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { PacketBatch, SEND_DONE, SEND_FAILED, SEND_TOO_BIG } from "../../src/forward/ports.js";
import { closeEventFd, createEventFd } from "../../src/platform/eventfd.js";
import { EAGAIN, ERRNO } from "../../src/platform/libc.js";
import {
  IOVEC_LENGTH,
  MMSGHDR_LENGTH,
  MSGHDR_CONTROL_LENGTH,
  MSGHDR_IOV,
  MSGHDR_IOV_COUNT,
} from "../../src/platform/memory.js";
import { TunnelSender } from "../../src/platform/tunnel-sender.js";
import { WorkerMemory } from "../../src/platform/worker-memory.js";
import { SEND_PACKETS_MAX, slabLayout, slotPacketOffset } from "../../src/tables/arena.js";
import { CounterBlock, type CounterName, counterIndex } from "../../src/tables/counters.js";

const ENOBUFS = ERRNO["ENOBUFS"]!;
const EIO = ERRNO["EIO"]!;
const EINVAL = ERRNO["EINVAL"]!;
const EMSGSIZE = ERRNO["EMSGSIZE"]!;
const PORT = 1045;

/** A message as the kernel sees it: octets of each packet, and whether it is a group. */
interface Message {
  readonly octets: number;
  readonly isGroup: boolean;
}

/** Decides about one call: how many of the messages leave, or an error number below 0. */
type Kernel = (messages: readonly Message[], call: number) => number;

function makeSender(kernel: Kernel) {
  const slabOffset = 4096;
  const memory = new SharedArrayBuffer(slabLayout(slabOffset).endOffset + 64);
  const stopFd = createEventFd();
  const worker = new WorkerMemory(memory, slabOffset, stopFd);
  const counters = new CounterBlock(memory, 0, 0);
  const sent: Message[] = [];
  let calls = 0;
  let error = 0;
  const { view, address } = worker.memory;
  const at = (place: number): number => Number(view.getBigUint64(place, true));
  const read = (header: number): Message => {
    let octets = 0;
    const scatter = at(header + MSGHDR_IOV) - address;
    for (let entry = 0; entry < at(header + MSGHDR_IOV_COUNT); entry++) {
      octets += at(scatter + entry * IOVEC_LENGTH + 8);
    }
    return { octets, isGroup: at(header + MSGHDR_CONTROL_LENGTH) > 0 };
  };
  const sendmmsg = (_fd: number, messages: number, count: number, _flags: number): number => {
    const start = messages - address;
    const offered = Array.from({ length: count }, (_, index) =>
      read(start + index * MMSGHDR_LENGTH),
    );
    const verdict = kernel(offered, calls++);
    if (verdict > 0) sent.push(...offered.slice(0, verdict));
    error = -verdict;
    return verdict > 0 ? verdict : -1;
  };
  // The descriptor is only waited for: an event descriptor can always be written.
  const double = { sendmmsg, errno: () => error };
  const sender = new TunnelSender(stopFd, 4, worker, counters, true, double);
  const batch = new PacketBatch(SEND_PACKETS_MAX);
  const add = (length: number): void => {
    const remote = slabLayout(slabOffset).endOffset;
    batch.addTunnel(slotPacketOffset(worker.slab, 0), length, remote, PORT);
  };
  const count = (name: CounterName): number => counters.values[counterIndex(name)]!;
  const close = (): void => closeEventFd(stopFd);
  return { sender, batch, add, sent, count, calls: () => calls, close };
}

/** Outcomes of the packets of a batch. */
function outcomes(batch: PacketBatch): number[] {
  return [...batch.outcomes.subarray(0, batch.count)];
}

test("A kernel that takes one message per call gets all of them, once and in order", () => {
  const { sender, batch, add, sent, calls, close } = makeSender(() => 1);
  for (const length of [100, 200, 300, 400]) add(length);
  assert.equal(sender.sendBatch(batch), 0);
  assert.deepEqual(
    sent.map(({ octets }) => octets),
    [100, 200, 300, 400],
  );
  assert.equal(calls(), 4);
  assert.deepEqual(outcomes(batch), [SEND_DONE, SEND_DONE, SEND_DONE, SEND_DONE]);
  close();
});

test("A full queue (ENOBUFS) that is free again a moment later loses nothing", () => {
  const kernel: Kernel = (messages, call) => (call === 0 ? -ENOBUFS : messages.length);
  const { sender, batch, add, sent, count, close } = makeSender(kernel);
  for (let index = 0; index < 5; index++) add(500);
  assert.equal(sender.sendBatch(batch), 0);
  assert.deepEqual(sent, [{ octets: 2_500, isGroup: true }]);
  assert.equal(count("send-errors"), 1);
  close();
});

test("A queue that stays full (ENOBUFS) loses its message alone, and groups go on", () => {
  // Messages of 400 octets meet a full queue.
  const isFull = ({ octets }: Message): boolean => octets === 800;
  const kernel: Kernel = (messages) => {
    const free = messages.findIndex(isFull);
    if (free === 0) return -ENOBUFS;
    return free < 0 ? messages.length : free;
  };
  const { sender, batch, add, sent, count, calls, close } = makeSender(kernel);
  for (const length of [300, 300, 400, 400, 500, 500]) add(length);
  assert.equal(sender.sendBatch(batch), 2);
  const [done, failed] = [SEND_DONE, SEND_FAILED];
  assert.deepEqual(outcomes(batch), [done, done, failed, failed, done, done]);
  assert.deepEqual(sent, [
    { octets: 600, isGroup: true },
    { octets: 1_000, isGroup: true },
  ]);
  assert.equal(count("send-groups-off"), 0);
  assert.equal(calls(), 6, "one call for what is in front, four attempts, one for the rest");
  close();
});

test("A device without checksums (EIO) ends groups at once and for good", () => {
  const kernel: Kernel = (messages) => {
    const group = messages.findIndex(({ isGroup }) => isGroup);
    if (group === 0) return -EIO;
    return group < 0 ? messages.length : group;
  };
  const { sender, batch, add, sent, count, close } = makeSender(kernel);
  for (const length of [700, 500, 500, 500, 400]) add(length);
  assert.equal(sender.sendBatch(batch), 0);
  assert.deepEqual(
    sent.map(({ octets }) => octets),
    [700, 500, 500, 500, 400],
  );
  assert.equal(count("send-groups-off"), 1);
  const errors = count("send-errors");
  batch.count = 0;
  for (let index = 0; index < 10; index++) add(500);
  assert.equal(sender.sendBatch(batch), 0);
  assert.equal(sent.length, 15);
  assert.ok(sent.every(({ isGroup }) => !isGroup));
  assert.equal(count("send-errors"), errors, "no group was tried again");
  assert.equal(count("send-groups-off"), 1);
  close();
});

test("Refused groups (EINVAL) go packet by packet, and after several batches groups end", () => {
  const kernel: Kernel = (messages) => (messages[0]!.isGroup ? -EINVAL : 1);
  const { sender, batch, add, sent, count, close } = makeSender(kernel);
  for (let round = 1; round <= 20; round++) {
    batch.count = 0;
    for (let index = 0; index < 3; index++) add(600);
    assert.equal(sender.sendBatch(batch), 0);
    assert.equal(sent.length, 3 * round);
    assert.equal(count("send-groups-off"), round < 16 ? 0 : 1);
  }
  close();
});

test("A packet too big for the path is told apart from the others of its batch", () => {
  // The path carries 1,000 octets; the kernel also refuses the groups of larger packets.
  const kernel: Kernel = (messages) => {
    const [first] = messages;
    if (first!.isGroup && first!.octets > 3_000) return -EMSGSIZE;
    return first!.octets > 1_000 && !first!.isGroup ? -EMSGSIZE : 1;
  };
  const { sender, batch, add, count, close } = makeSender(kernel);
  for (const length of [1_200, 1_200, 1_200, 900, 800]) add(length);
  assert.equal(sender.sendBatch(batch), 3);
  const [done, big] = [SEND_DONE, SEND_TOO_BIG];
  assert.deepEqual(outcomes(batch), [big, big, big, done, done]);
  assert.equal(count("send-groups-off"), 0);
  close();
});

test("A full buffer (EAGAIN) is waited for, as often as it takes", () => {
  const kernel: Kernel = (messages, call) => (call < 10 ? -EAGAIN : messages.length);
  const { sender, batch, add, sent, count, close } = makeSender(kernel);
  add(100);
  assert.equal(sender.sendBatch(batch), 0);
  assert.equal(sent.length, 1);
  assert.equal(count("send-waits"), 10);
  assert.equal(count("send-errors"), 0);
  close();
});

test("Random verdicts: every packet leaves once, or is told as failed", () => {
  for (let seed = 1; seed <= 200; seed++) {
    let state = seed;
    const next = (): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return state >>> 16;
    };
    const kernel: Kernel = (messages) => {
      const dice = next() % 8;
      if (dice < 2) return -ENOBUFS;
      if (dice === 2) return messages[0]!.isGroup ? -EINVAL : -EMSGSIZE;
      return 1 + (next() % messages.length);
    };
    const { sender, batch, add, sent, close } = makeSender(kernel);
    let octets = 0;
    for (let index = 0; index < 100; index++) add(100 + 50 * (next() % 3));
    for (let index = 0; index < 100; index++) octets += batch.totalLength(index);
    const failed = sender.sendBatch(batch);
    const lost = outcomes(batch).reduce((sum, outcome, index) => {
      return outcome === SEND_DONE ? sum : sum + batch.totalLength(index);
    }, 0);
    assert.equal(outcomes(batch).filter((outcome) => outcome !== SEND_DONE).length, failed);
    const left = sent.reduce((sum, message) => sum + message.octets, 0);
    assert.equal(left + lost, octets, `seed ${seed}`);
    close();
  }
});
