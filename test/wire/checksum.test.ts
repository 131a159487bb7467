/** One's complement arithmetic, RFC 1071 and spec/tunnel.md 4.1. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  addSums,
  fold,
  invertSum,
  pseudoHeaderSum,
  subtractSums,
  sumBytes,
} from "../../src/wire/checksum.js";

const SEED = Number(process.env.SEED ?? Date.now() % 0x7fff_ffff);
const sum16 = fc.integer({ min: 0, max: 0xffff });

test("sumBytes() is the sum of the example of RFC 1071 3", () => {
  const bytes = Uint8Array.from([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
  assert.equal(sumBytes(bytes, 0, bytes.length), 0xddf2);
});

test("sumBytes() pads an odd last octet on the right and reads nothing behind it", () => {
  const bytes = Uint8Array.from([0x12, 0x34, 0x56, 0xff]);
  assert.equal(sumBytes(bytes, 0, 3), 0x1234 + 0x5600);
  assert.equal(sumBytes(bytes, 1, 2), 0x3400);
});

test("sumBytes() can be split at even places", (t) => {
  t.diagnostic(`seed ${SEED}`);
  const property = fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(150), (bytes, half) => {
    const cut = Math.min(2 * half, bytes.length - (bytes.length % 2));
    const parts = sumBytes(bytes, cut, bytes.length, sumBytes(bytes, 0, cut));
    assert.equal(parts % 0xffff, sumBytes(bytes, 0, bytes.length) % 0xffff);
  });
  fc.assert(property, { seed: SEED });
});

test("subtractSums() undoes addSums(), up to the form of zero", (t) => {
  t.diagnostic(`seed ${SEED}`);
  const property = fc.property(sum16, sum16, (a, b) => {
    assert.equal(subtractSums(addSums(a, b), b) % 0xffff, a % 0xffff);
  });
  fc.assert(property, { seed: SEED });
});

test("subtractSums() of equal sums is 0000, so that the stored checksum becomes ffff", () => {
  assert.equal(subtractSums(0x1234, 0x1234), 0);
  assert.equal(invertSum(subtractSums(0x1234, 0x1234)), 0xffff);
  assert.equal(subtractSums(1, 2), 0xfffe);
});

test("fold() brings every carry back", () => {
  assert.equal(fold(0x1_ffff), 1);
  assert.equal(fold(0xffff_ffff), 0xffff);
  assert.equal(fold(2 ** 40), 0x100);
});

test("pseudoHeaderSum() adds both halves of a long length", () => {
  assert.equal(pseudoHeaderSum(0, 0x1_0002, 58), 1 + 2 + 58);
});
