/** The buckets of known addresses follow the address table. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { randomBelow, seededRandom } from "../../src/base/random.js";
import {
  type AddressTableShape,
  addressTableBytes,
  FLAG_SECONDARY,
  KIND_LOCAL,
  KIND_PAIR,
  KIND_REMOTE,
} from "../../src/tables/address-table.js";
import { AddressTableWriter } from "../../src/tables/address-table-writer.js";
import { KNOWN_BUCKETS, KnownAddresses } from "../../src/tables/known-addresses.js";

const RECORDS = 60;

function newTable(localVersion: 4 | 6): AddressTableWriter {
  const shape: AddressTableShape = {
    recordsMax: RECORDS,
    localVersion,
    tunnelVersion: 4,
    hashSeed: 0x1234_5678_9abc,
  };
  return new AddressTableWriter(new ArrayBuffer(addressTableBytes(shape)), 0, shape);
}

/** A key of which the local address is number `local`. */
function keyView(local: number): DataView {
  const view = new DataView(new ArrayBuffer(48));
  view.setUint32(0, 0x0af00000 + local);
  view.setUint32(12, local);
  view.setUint32(16, 0xc0000201);
  view.setUint32(44, local);
  return view;
}

function insert(table: AddressTableWriter, kind: 1 | 2 | 3, flags: number, local: number): number {
  return table.insert({ kind, flags, lastUsedSeconds: 0, hint: 0 }, keyView(local), 0);
}

function has(known: KnownAddresses, local: number, words: 1 | 4): boolean {
  return known.mayHave(new Int32Array(keyView(local).buffer), 0, words);
}

for (const version of [4, 6] as const) {
  const words = version === 4 ? 1 : 4;
  const seed = Number(process.env["IPREF_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));

  test(`IPv${version}: what the table finds by address is known, and no more, seed ${seed}`, () => {
    const random = seededRandom(seed);
    const table = newTable(version);
    const counts = new Uint8Array(KNOWN_BUCKETS);
    const numbers = new Map<number, number>();
    for (let local = 0; local < 10; local++) {
      numbers.set(local, insert(table, local % 2 === 0 ? KIND_REMOTE : KIND_LOCAL, 0, local));
    }
    const known = new KnownAddresses(counts, random.word());
    table.publishKnown(known);
    for (let step = 0; step < 2_000; step++) {
      const local = randomBelow(random, 40);
      const number = numbers.get(local);
      if (number === undefined) numbers.set(local, insert(table, KIND_REMOTE, 0, local));
      else {
        table.remove(number);
        numbers.delete(local);
      }
      assert.equal(has(known, local, words), numbers.has(local));
    }
    for (const number of numbers.values()) table.remove(number);
    assert.ok(counts.every((count) => count === 0));
  });
}

test("Further references of a host and pairs make no address known", () => {
  const table = newTable(4);
  const known = new KnownAddresses(new Uint8Array(KNOWN_BUCKETS), 1);
  table.publishKnown(known);
  insert(table, KIND_PAIR, 0, 7);
  const second = insert(table, KIND_LOCAL, FLAG_SECONDARY, 8);
  assert.equal(has(known, 7, 1), false);
  assert.equal(has(known, 8, 1), false);
  table.setFlags(second, 0);
  assert.equal(has(known, 8, 1), true);
  table.setFlags(second, FLAG_SECONDARY);
  assert.equal(has(known, 8, 1), false);
});

test("A bucket that has reached its maximum stays there", () => {
  const counts = new Uint8Array(KNOWN_BUCKETS);
  const known = new KnownAddresses(counts, 1);
  const address = new Int32Array([0x01020304]);
  for (let count = 0; count < 300; count++) known.add(address, 0, 1);
  for (let count = 0; count < 300; count++) known.remove(address, 0, 1);
  assert.equal(known.mayHave(address, 0, 1), true);
  assert.deepEqual([...new Set(counts)].sort(), [0, 255]);
});

test("An address that was never added can be removed without harm", () => {
  const known = new KnownAddresses(new Uint8Array(KNOWN_BUCKETS), 1);
  const address = new Int32Array([5]);
  known.remove(address, 0, 1);
  known.add(address, 0, 1);
  assert.equal(known.mayHave(address, 0, 1), true);
});
