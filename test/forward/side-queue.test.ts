/** The side queue of an egress worker is read within a budget, and the main queue goes first. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { SideQueue } from "../../src/forward/side-queue.js";
import { forwardingLoad } from "../../src/forward/slow-path-budget.js";
import { buildUdp, FastWorld } from "./fast-world.js";
import { makeGateway } from "./memory-ports.js";

/** 140 kB of large packets in each millisecond. */
const BUSY_PER_MS = forwardingLoad(100, 140_000);

/** Milliseconds for which the queue was read in `totalMs` of a flood, in pieces of 0.2 ms. */
function readingOf(totalMs: number, mainPerMs: number, sidePerMs: number): number {
  let nowMs = 0;
  let sideMs = 0;
  const side = new SideQueue({
    nowMs: () => nowMs,
    workedMs: () => nowMs,
    load: () => nowMs * mainPerMs + sideMs * sidePerMs,
    ownLoad: () => sideMs * sidePerMs,
  });
  while (nowMs < totalMs) {
    if (side.restMs() === 0) {
      side.begin();
      nowMs += 0.2;
      sideMs += 0.2;
      side.end();
    } else nowMs += 0.1;
  }
  return sideMs;
}

test("A flood gets a small share of the worker while the gateway is busy", () => {
  const share = readingOf(10_000, BUSY_PER_MS, 0) / 10_000;
  assert.ok(share > 0.0015 && share < 0.004, `${share}`);
});

test("A flood gets all of the worker while nothing else is forwarded", () => {
  assert.ok(readingOf(5_000, 0, 0) > 4_999);
});

test("What the side queue itself makes the worker forward does not count as busy", () => {
  assert.ok(readingOf(5_000, 0, BUSY_PER_MS) > 4_999);
});

test("A burst is read at once, also while the gateway is busy", () => {
  let nowMs = 0;
  const side = new SideQueue({
    nowMs: () => nowMs,
    workedMs: () => nowMs,
    load: () => nowMs * BUSY_PER_MS,
    ownLoad: () => 0,
  });
  for (let count = 0; count < 9; count++) {
    assert.equal(side.restMs(), 0);
    side.begin();
    nowMs += 0.2;
    side.end();
  }
});

test("A worker that waits for a processor does not make a few pings wait", () => {
  let nowMs = 0;
  let pings = 0;
  const side = new SideQueue({
    nowMs: () => nowMs,
    workedMs: () => 0.005 * pings,
    load: () => nowMs * BUSY_PER_MS,
    ownLoad: () => 0,
  });
  while (pings < 1000) {
    assert.equal(side.restMs(), 0, `ping ${pings}`);
    side.begin();
    nowMs += 10;
    pings++;
    side.end();
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
