import assert from "node:assert/strict";
import { test } from "node:test";
import {
  checksumWith,
  checksumWithout,
  foldSum,
  networkWord,
  sumWords,
} from "../../src/kernel/checksum-update.js";
import { TypescriptKernel } from "../../src/kernel/typescript-kernel.js";
import { AddressTableReader, addressTableBytes } from "../../src/tables/address-table.js";
import { Dice } from "../forward/fast-world.js";

/** The plain twin: big-endian words one by one, odd octet padded on the right (RFC 1071). */
function plainSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

function makeKernel() {
  const shape = { recordsMax: 16, localVersion: 4, tunnelVersion: 4, hashSeed: 1 } as const;
  const tableBytes = addressTableBytes(shape);
  const memory = new SharedArrayBuffer(tableBytes + 128 * 1024);
  const kernel = new TypescriptKernel(new AddressTableReader(memory, 0, shape));
  return { kernel, bytes: new Uint8Array(memory), at: tableBytes };
}

test("sum() agrees with the plain sum for every length from 0 to 3000", () => {
  const { kernel, bytes, at } = makeKernel();
  const random = new Dice(1).bytes(3003);
  bytes.set(random, at);
  for (let length = 0; length <= 3000; length++) {
    const start = length % 4;
    const expected = plainSum(random.subarray(start, start + length));
    assert.equal(networkWord(kernel.sum(at + start, length)), expected, `length ${length}`);
  }
});

test("sum() does not overflow on 65,535 octets of ff", () => {
  const { kernel, bytes, at } = makeKernel();
  bytes.fill(0xff, at, at + 65_535);
  assert.equal(networkWord(kernel.sum(at, 65_534)), 0xffff);
  assert.equal(networkWord(kernel.sum(at, 65_535)), 0xff00);
});

test("copy() moves overlapping areas", () => {
  const { kernel, bytes, at } = makeKernel();
  bytes.set([1, 2, 3, 4, 5], at);
  kernel.copy(at + 2, at, 5);
  assert.deepEqual([...bytes.subarray(at, at + 7)], [1, 2, 1, 2, 3, 4, 5]);
});

/** spec/tunnel.md 4.1, word by word in network order. */
function stepwise(stored: number, words: readonly number[], isAddition: boolean): number {
  let sum = ~stored & 0xffff;
  for (const word of words) {
    if (isAddition) sum = sum + word > 0xffff ? sum + word - 0xffff : sum + word;
    else sum = sum - word < 0 ? sum - word + 0xffff : sum - word;
  }
  return ~sum & 0xffff;
}

test("The incremental forms give the octets of the stepwise form, zeros included", (context) => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  context.diagnostic(`seed ${seed}`);
  const dice = new Dice(seed);
  for (let round = 0; round < 50_000; round++) {
    const words = Array.from({ length: 2 * (2 + dice.below(7)) }, () => dice.below(0x10000));
    words[0] ||= 1;
    const total = foldSum(words.reduce((sum, word) => sum + word, 0));
    const stored = dice.pick([0, 0xffff, total, ~total & 0xffff, dice.below(0x10000)]);
    const bytes = Uint8Array.from(words.flatMap((word) => [word >> 8, word & 0xff]));
    const sum = sumWords(new Int32Array(bytes.buffer), 0, words.length / 2);
    const about = `seed ${seed}, round ${round}`;
    const without = networkWord(checksumWithout(networkWord(stored), sum));
    assert.equal(without, stepwise(stored, words, false), about);
    const with_ = networkWord(checksumWith(networkWord(stored), sum));
    assert.equal(with_, stepwise(stored, words, true), about);
  }
});
