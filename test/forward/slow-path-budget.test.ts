/** The slow path rests in a flood, and only while the fast path is busy. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  forwardingLoad,
  type PieceOfWork,
  SlowPathBudget,
} from "../../src/forward/slow-path-budget.js";

/** Work without a pause. */
function work(startMs: number, nowMs: number): PieceOfWork {
  return { startMs, nowMs, workMaxMs: nowMs - startMs };
}

/** Milliseconds of work within `totalMs` of a flood, in pieces of one millisecond. */
function workOf(totalMs: number, loadPerMs: number): number {
  let nowMs = 1_000;
  const budget = new SlowPathBudget(nowMs, 0);
  let workedMs = 0;
  while (nowMs < 1_000 + totalMs) {
    const startMs = nowMs;
    nowMs++;
    workedMs++;
    nowMs += budget.spend(work(startMs, nowMs), () => (nowMs - 1_000) * loadPerMs);
  }
  return workedMs;
}

test("a lasting flood gets a small share of a processor while the fast path is busy", () => {
  const share = workOf(10_000, forwardingLoad(100, 140_000)) / 10_000;
  assert.ok(share > 0.025 && share < 0.05, `${share}`);
});

test("the slow path works without rest while nothing much is forwarded", () => {
  assert.equal(workOf(5_000, 0), 5_000);
  assert.equal(workOf(5_000, forwardingLoad(10, 14_000)), 5_000);
});

test("a burst goes through at once, also while the fast path is busy", () => {
  const budget = new SlowPathBudget(0, 0);
  for (let nowMs = 0; nowMs < 29; nowMs++) {
    const asked = () => assert.fail("the counters are not needed yet");
    assert.equal(budget.spend(work(nowMs, nowMs + 1), asked), 0);
  }
});

test("the bucket fills again while the slow path has nothing to do", () => {
  const budget = new SlowPathBudget(0, 0);
  assert.ok(budget.spend(work(0, 60), () => 10_000_000) > 0);
  // 30 ms of debt and 10 ms of credit: 40 ms at 3 per cent of the time.
  assert.equal(
    budget.spend(work(1_400, 1_409), () => 0),
    0,
  );
});

test("a connection that is silent after losses still counts as busy", () => {
  const budget = new SlowPathBudget(0, 0);
  assert.ok(budget.spend(work(0, 100), () => 10_000_000) > 0);
  // Nothing was forwarded since.
  assert.ok(budget.spend(work(110, 1_500), () => 10_000_000) > 0);
  assert.equal(
    budget.spend(work(1_510, 2_500), () => 10_000_000),
    0,
  );
});

test("time in which the thread waited for a processor is not charged", () => {
  const budget = new SlowPathBudget(0, 0);
  for (let nowMs = 0; nowMs < 1_000; nowMs += 100) {
    const piece = { startMs: nowMs, nowMs: nowMs + 100, workMaxMs: 2 };
    assert.equal(
      budget.spend(piece, () => nowMs * 1_000_000),
      0,
    );
  }
});
