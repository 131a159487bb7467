/** The side queue of an egress worker is read within a budget, and the main queue goes first. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { SideQueue } from "../../src/forward/side-queue.js";
import { forwardingLoad } from "../../src/forward/slow-path-budget.js";
import { buildUdp, FastWorld } from "./fast-world.js";
import { makeGateway } from "./memory-ports.js";

/** 140 kB of large packets in each millisecond. */
const BUSY_PER_MS = forwardingLoad(100, 140_000);

/** Packets read in `totalMs` of a flood, 64 in 0.2 ms. */
function readIn(totalMs: number, mainPerMs: number, sidePerPacket: number): number {
  let nowMs = 0;
  let packets = 0;
  const side = new SideQueue({
    nowMs: () => nowMs,
    load: () => nowMs * mainPerMs + packets * sidePerPacket,
    ownLoad: () => packets * sidePerPacket,
  });
  while (nowMs < totalMs) {
    if (side.restMs() === 0) {
      side.begin();
      nowMs += 0.2;
      packets += 64;
      side.end(64, 6_400);
    } else nowMs += 0.1;
  }
  return packets;
}

test("A thousand packets a second of a flood pass while the gateway is busy", () => {
  const packets = readIn(10_000, BUSY_PER_MS, 0);
  assert.ok(packets > 9_000 && packets < 11_000, `${packets}`);
});

test("All packets of a flood pass while nothing else is forwarded", () => {
  assert.ok(readIn(5_000, 0, 0) > 24_990 * 64);
});

test("What the side queue itself makes the worker forward does not count as busy", () => {
  assert.ok(readIn(5_000, 0, BUSY_PER_MS) > 24_990 * 64);
});

/** A side queue of a busy gateway. */
function busySide(nowMs: () => number): SideQueue {
  return new SideQueue({ nowMs, load: () => nowMs() * BUSY_PER_MS, ownLoad: () => 0 });
}

test("A burst is read at once, also while the gateway is busy", () => {
  const side = busySide(() => 10);
  for (let packets = 0; packets < 448; packets += 64) {
    assert.equal(side.restMs(), 0);
    side.begin();
    side.end(64, 6_400);
  }
});

test("Long packets count for more", () => {
  let nowMs = 0;
  const side = busySide(() => nowMs);
  side.begin();
  side.end(10, 10 * 64_000);
  assert.equal(side.restMs(), 0, "437 of 500");
  nowMs++;
  side.begin();
  side.end(2, 2 * 64_000);
  assert.ok(side.restMs() >= 20, `${side.restMs()}`);
});

test("900 pings a second never wait, however long the worker waits for a processor", () => {
  let nowMs = 0;
  const side = busySide(() => nowMs);
  for (let second = 0; second < 20; second++) {
    for (let count = 0; count < 900; count++) {
      assert.equal(side.restMs(), 0, `ping ${count} of second ${second}`);
      side.begin();
      nowMs += 1000 / 900;
      side.end(1, 84);
    }
  }
});

test("The egress loop moves packets of both queues, the main one first", () => {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const { tun, tunnel, egress, counters } = makeGateway(world);
  const from = world.hosts[0]!.ip;
  const to = world.remotes[0]!.encoded;
  for (let count = 0; count < 100; count++) {
    tun.waiting.push(buildUdp(from, to, 50));
    tun.waitingAside.push(buildUdp(from, to, 60));
  }
  egress.runBatch();
  assert.equal(tun.waiting.length, 36, "one batch of the main queue");
  assert.equal(tun.waitingAside.length, 36, "one batch of the side queue");
  assert.equal(tunnel.sent.length, 128);
  assert.ok(tunnel.sent[0]!.packet.length < tunnel.sent[127]!.packet.length);
  egress.run();
  assert.equal(counters.total("egress-packets"), 200);
});
