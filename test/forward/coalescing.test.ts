/** Pauses in place of wake-ups: only under load, and only where they bring several reads. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Coalescing } from "../../src/forward/coalescing.js";
import { forwardingLoad } from "../../src/forward/slow-path-budget.js";

const PAUSE_US = 200;

/**
 * Reads `reads` packets of `octets` octets at a time, `gapMs` apart, for `totalMs`; returns the
 * share of the looks that came after a pause.
 */
function shareOfPauses(
  shape: { reads: number; octets: number; gapMs: number; pauseUs?: number },
  totalMs: number,
): number {
  const { reads, octets, gapMs, pauseUs = PAUSE_US } = shape;
  let nowMs = 100;
  let load = 0;
  const coalescing = new Coalescing(
    pauseUs,
    () => nowMs,
    () => load,
  );
  let looks = 0;
  let pauses = 0;
  while (nowMs < 100 + totalMs) {
    nowMs += gapMs;
    load += forwardingLoad(reads, reads * octets);
    looks++;
    const answer = coalescing.pauseUs(reads);
    assert.ok(answer === 0 || answer === pauseUs);
    if (answer > 0) pauses++;
  }
  return pauses / looks;
}

test("A stream of small packets is gathered", () => {
  assert.ok(shareOfPauses({ reads: 1, octets: 92, gapMs: 0.0125 }, 1_000) > 0.99);
});

test("Super-packets of a TCP connection are gathered, and its acknowledgements beside them", () => {
  assert.ok(shareOfPauses({ reads: 1, octets: 64_000, gapMs: 0.1 }, 1_000) > 0.9);
});

test("One connection that asks and waits for its answer is not delayed", () => {
  assert.equal(shareOfPauses({ reads: 1, octets: 100, gapMs: 0.25 }, 1_000), 0);
  assert.equal(shareOfPauses({ reads: 1, octets: 16_000, gapMs: 0.25 }, 1_000), 0, "large answers");
});

test("Many short packets that are no load are not delayed", () => {
  assert.equal(shareOfPauses({ reads: 1, octets: 60, gapMs: 0.1 }, 1_000), 0);
});

test("Without a pause length nothing is gathered", () => {
  assert.equal(shareOfPauses({ reads: 8, octets: 60_000, gapMs: 0.1, pauseUs: 0 }, 1_000), 0);
});

test("After a silence the worker waits to be woken, and so it does when a look brings nothing", () => {
  let nowMs = 0;
  let load = 0;
  const coalescing = new Coalescing(
    PAUSE_US,
    () => nowMs,
    () => load,
  );
  const read = (reads: number, gapMs: number): number => {
    nowMs += gapMs;
    load += forwardingLoad(reads, 60_000 * reads);
    return coalescing.pauseUs(reads);
  };
  for (let count = 0; count < 100; count++) read(2, 0.1);
  assert.equal(read(2, 0.1), PAUSE_US);
  assert.equal(read(0, 0.1), 0, "nothing there");
  assert.equal(read(2, 0.1), PAUSE_US);
  assert.equal(read(1, 60_000), 0, "the first packet after a minute");
});
