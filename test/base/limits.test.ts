import assert from "node:assert/strict";
import { test } from "node:test";
import { LruMap, TokenBucket } from "../../src/base/limits.js";
import { randomBelow, randomBits, seededRandom } from "../../src/base/random.js";

test("TokenBucket gives its burst at once and then its rate", () => {
  const bucket = new TokenBucket({ ratePerSecond: 10, burst: 3 }, 0);
  const taken = [0, 0, 0, 0, 50, 100, 150, 1000].map((nowMs) => bucket.take(nowMs));
  assert.deepEqual(taken, [true, true, true, false, false, true, false, true]);
});

test("TokenBucket never holds more than its burst", () => {
  const bucket = new TokenBucket({ ratePerSecond: 1000, burst: 2 }, 0);
  const taken = [1e6, 1e6, 1e6].map((nowMs) => bucket.take(nowMs));
  assert.deepEqual(taken, [true, true, false]);
});

test("LruMap drops the least recently used entry", () => {
  const map = new LruMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  assert.equal(map.get("a"), 1);
  assert.deepEqual(map.set("c", 3), ["b", 2]);
  assert.equal(map.peek("a"), 1);
  assert.equal(map.set("a", 4), undefined);
  assert.deepEqual(
    [...map.entries()],
    [
      ["c", 3],
      ["a", 4],
    ],
  );
});

test("seededRandom() repeats itself and randomBelow() stays below its bound", () => {
  const [a, b] = [seededRandom(42), seededRandom(42)];
  for (let round = 0; round < 100; round++) assert.equal(a.word(), b.word());
  const seen = new Set(Array.from({ length: 200 }, () => randomBelow(a, 7)));
  assert.deepEqual([...seen].sort(), [0, 1, 2, 3, 4, 5, 6]);
  assert.ok(randomBits(a, 56) < 1n << 56n);
});
