/** The slow path rests in a flood, and only while the fast path is busy. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { forwardingLoad, SlowPathBudget } from "../../src/forward/slow-path-budget.js";

/** Milliseconds of work within `totalMs` of a flood, in pieces of one millisecond. */
function workOf(totalMs: number, loadPerMs: number): number {
  let nowMs = 1_000;
  const budget = new SlowPathBudget(nowMs, 0);
  let workedMs = 0;
  while (nowMs < 1_000 + totalMs) {
    nowMs++;
    workedMs++;
    nowMs += budget.spend(nowMs, 1, () => (nowMs - 1_000) * loadPerMs);
  }
  return workedMs;
}

test("a lasting flood gets a small share of a processor while the fast path is busy", () => {
  const share = workOf(10_000, forwardingLoad(100, 140_000)) / 10_000;
  assert.ok(share > 0.012 && share < 0.025, `${share}`);
});

test("the slow path works without rest while nothing much is forwarded", () => {
  assert.equal(workOf(5_000, 0), 5_000);
  assert.equal(workOf(5_000, forwardingLoad(10, 14_000)), 5_000);
});

test("a burst goes through at once, also while the fast path is busy", () => {
  const budget = new SlowPathBudget(0, 0);
  for (let nowMs = 0; nowMs < 29; nowMs++) {
    const asked = () => assert.fail("the counters are not needed yet");
    assert.equal(budget.spend(nowMs + 1, 1, asked), 0);
  }
});

test("the bucket fills again while the slow path has nothing to do", () => {
  const budget = new SlowPathBudget(0, 0);
  assert.ok(budget.spend(60, 60, () => 10_000_000) > 0);
  // 30 ms of debt and 10 ms of credit: 40 ms at 1.5 per cent of the time.
  assert.equal(
    budget.spend(2_735, 9, () => assert.fail("the counters are not needed")),
    0,
  );
});

test("a connection that is silent after losses still counts as busy", () => {
  const budget = new SlowPathBudget(0, 0);
  assert.ok(budget.spend(100, 100, () => 10_000_000) > 0);
  // Nothing was forwarded since.
  assert.ok(budget.spend(1_500, 1_390, () => 10_000_000) > 0);
  assert.equal(
    budget.spend(2_500, 990, () => 10_000_000),
    0,
  );
});
