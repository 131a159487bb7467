/** The address table against a plain map, and while another thread reads it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { randomBelow, seededRandom } from "../../src/base/random.js";
import {
  AddressTableReader,
  type AddressTableShape,
  addressTableBytes,
  FLAG_DETACHED,
  FLAG_INACTIVE,
  FLAG_MULTIPLE,
  FLAG_PROVISIONAL,
  FLAG_SECONDARY,
  KIND_LOCAL,
  KIND_PAIR,
  KIND_REMOTE,
  RECORD_REFERENCE,
} from "../../src/tables/address-table.js";
import { AddressTableWriter } from "../../src/tables/address-table-writer.js";

const SMALL: AddressTableShape = {
  recordsMax: 60,
  localVersion: 4,
  tunnelVersion: 4,
  hashSeed: 0x1234_5678_9abc,
};

interface Key {
  readonly local: number;
  readonly context: number;
  readonly reference: number;
}

/** A 48-byte key as it lies in a record. */
function keyView(key: Key): DataView {
  const view = new DataView(new ArrayBuffer(48));
  view.setUint32(0, key.local);
  view.setUint32(16, key.context);
  view.setUint32(44, key.reference);
  return view;
}

function insert(table: AddressTableWriter, kind: 1 | 2 | 3, flags: number, key: Key): number {
  return table.insert({ kind, flags, lastUsedSeconds: 7, hint: 0 }, keyView(key), 0);
}

function newTable(shape: AddressTableShape): AddressTableWriter {
  return new AddressTableWriter(new ArrayBuffer(addressTableBytes(shape) + 64), 64, shape);
}

test("AddressTableReader finds a remote host by its encoded address and by its IPREF address", () => {
  const table = newTable(SMALL);
  const key = { local: 0x0af01122, context: 0xc0000207, reference: 1025 };
  const number = insert(table, KIND_REMOTE, 0, key);
  const view = keyView(key);
  assert.equal(table.numberOf(table.findByLocal(view, 0)), number);
  assert.equal(table.numberOf(table.findRemote(view, 16, 32)), number);
  assert.equal(table.findLocalByReference(view, 32), 0);
  assert.equal(table.lastUsed(table.offsetOf(number)), 7);
});

test("AddressTableReader finds a local host by address, by reference and by pair", () => {
  const table = newTable(SMALL);
  const host = insert(table, KIND_LOCAL, FLAG_MULTIPLE, { local: 1, context: 0, reference: 9 });
  const second = insert(table, KIND_LOCAL, FLAG_MULTIPLE | FLAG_SECONDARY, {
    local: 1,
    context: 0,
    reference: 10,
  });
  const pair = insert(table, KIND_PAIR, 0, { local: 1, context: 77, reference: 10 });
  const view = keyView({ local: 1, context: 77, reference: 10 });
  assert.equal(table.numberOf(table.findByLocal(view, 0)), host);
  assert.equal(table.numberOf(table.findLocalByReference(view, 32)), second);
  assert.equal(table.numberOf(table.findPair(view, 0, 16)), pair);
  assert.equal(table.findRemote(view, 16, 32), 0);
});

test("AddressTableReader misses inactive records, and provisional ones by encoded address", () => {
  const table = newTable(SMALL);
  const key = { local: 5, context: 6, reference: 7 };
  const number = insert(table, KIND_REMOTE, FLAG_PROVISIONAL, key);
  const view = keyView(key);
  assert.equal(table.findByLocal(view, 0), 0);
  assert.equal(table.numberOf(table.findRemote(view, 16, 32)), number);
  table.setFlags(number, FLAG_INACTIVE);
  assert.equal(table.findRemote(view, 16, 32), 0);
  assert.equal(table.numberOf(table.findAnyRemote(view, 16, 32)), number);
  table.setFlags(number, 0);
  assert.equal(table.numberOf(table.findByLocal(view, 0)), number);
});

test("AddressTableWriter.setFlags() moves a record in and out of the indexes", () => {
  const table = newTable(SMALL);
  const key = { local: 5, context: 0, reference: 7 };
  const number = insert(table, KIND_LOCAL, 0, key);
  const view = keyView(key);
  table.setFlags(number, FLAG_SECONDARY);
  assert.equal(table.findAnyByLocal(view, 0), 0);
  assert.equal(table.numberOf(table.findLocalByReference(view, 32)), number);
  table.setFlags(number, FLAG_DETACHED);
  assert.equal(table.numberOf(table.findByLocal(view, 0)), number);
  assert.equal(table.findAnyLocalByReference(view, 32), 0);
});

test("AddressTableReader.sequence() is the one of the find, so reuse of a record shows", () => {
  const table = newTable({ ...SMALL, recordsMax: 1 });
  const key = { local: 5, context: 6, reference: 7 };
  const number = insert(table, KIND_REMOTE, 0, key);
  const record = table.findByLocal(keyView(key), 0);
  table.remove(number);
  assert.equal(insert(table, KIND_REMOTE, 0, { local: 8, context: 6, reference: 9 }), number);
  assert.equal(table.isUnchanged(record, table.sequence(record)), false);
});

test("AddressTableWriter.insert() refuses when the table is full and reuses what is removed", () => {
  const table = newTable(SMALL);
  for (let local = 1; local <= SMALL.recordsMax; local++) {
    assert.notEqual(insert(table, KIND_REMOTE, 0, { local, context: 1, reference: local }), 0);
  }
  const extra = { local: 1000, context: 1, reference: 1000 };
  assert.equal(insert(table, KIND_REMOTE, 0, extra), 0);
  table.remove(17);
  table.remove(4);
  assert.equal(insert(table, KIND_REMOTE, 0, extra), 17);
  assert.equal(table.used, SMALL.recordsMax - 1);
});

test("AddressTableWriter.insertAt() keeps numbers and frees the skipped ones", () => {
  const table = newTable(SMALL);
  const fields = { kind: KIND_REMOTE, flags: 0, lastUsedSeconds: 0, hint: 0 } as const;
  const view = keyView({ local: 1, context: 1, reference: 1 });
  assert.equal(table.insertAt(3, fields, view, 0), true);
  assert.equal(table.insertAt(3, fields, view, 0), false);
  assert.equal(table.insertAt(SMALL.recordsMax + 1, fields, view, 0), false);
  assert.equal(insert(table, KIND_REMOTE, 0, { local: 2, context: 1, reference: 2 }), 1);
});

test("address table with colliding keys equals a map after any sequence of changes", () => {
  const seed = Number(process.env.SEED ?? Date.now() % 0x1_0000_0000);
  console.log(`seed ${seed}`);
  const random = seededRandom(seed);
  for (let round = 0; round < 40; round++) {
    const shape = { ...SMALL, recordsMax: 1 + randomBelow(random, 60), hashSeed: random.word() };
    checkAgainstMap(newTable(shape), shape.recordsMax, random);
  }
});

/** Inserts and removes 400 random keys out of 90, comparing all finds with a map. */
function checkAgainstMap(
  table: AddressTableWriter,
  recordsMax: number,
  random: ReturnType<typeof seededRandom>,
): void {
  const model = new Map<number, number>();
  const keyOf = (id: number): Key => ({ local: id + 1, context: id % 7, reference: id * 3 });
  for (let step = 0; step < 400; step++) {
    const id = randomBelow(random, 90);
    const known = model.get(id);
    if (known === undefined) {
      const number = insert(table, KIND_REMOTE, 0, keyOf(id));
      assert.equal(number === 0, model.size === recordsMax);
      if (number !== 0) model.set(id, number);
    } else {
      table.remove(known);
      model.delete(id);
    }
    if (step % 20 === 0) {
      for (let other = 0; other < 90; other++) {
        const view = keyView(keyOf(other));
        const expected = model.get(other);
        const offset = expected === undefined ? 0 : table.offsetOf(expected);
        assert.equal(table.findByLocal(view, 0), offset);
        assert.equal(table.findRemote(view, 16, 32), offset);
      }
    }
  }
  assert.equal(table.used, model.size);
}

test("a reader in another thread never gets a wrong hit while records come and go", async () => {
  const shape = { ...SMALL, recordsMax: 12 };
  const memory = new SharedArrayBuffer(addressTableBytes(shape));
  const stop = new SharedArrayBuffer(4);
  const table = new AddressTableWriter(memory, 0, shape);
  const worker = new Worker(new URL("./address-table-reader-worker.js", import.meta.url), {
    workerData: { memory, stop, shape },
  });
  const result = new Promise<{ hits: number; misses: number; wrong: number }>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  await new Promise((resolve) => worker.once("online", resolve));
  const random = seededRandom(4711);
  const numbers = new Map<number, number>();
  const endMs = Date.now() + 700;
  while (Date.now() < endMs) {
    for (let step = 0; step < 200; step++) churn(table, numbers, randomBelow(random, 24));
  }
  Atomics.store(new Int32Array(stop), 0, 1);
  const { hits, misses, wrong } = await result;
  assert.equal(wrong, 0);
  assert.ok(hits > 1000, `${hits} hits`);
  assert.ok(misses > 1000, `${misses} misses`);
});

/** Removes the record of `id` or makes one; its reference tells its address. */
function churn(table: AddressTableWriter, numbers: Map<number, number>, id: number): void {
  const known = numbers.get(id);
  if (known !== undefined) {
    table.remove(known);
    numbers.delete(id);
    return;
  }
  const number = insert(table, KIND_REMOTE, 0, { local: id, context: 1, reference: id * 1000 });
  if (number !== 0) numbers.set(id, number);
}

test("a reader object agrees with the writer on the same memory", () => {
  const memory = new ArrayBuffer(addressTableBytes({ ...SMALL, localVersion: 6 }));
  const shape: AddressTableShape = { ...SMALL, localVersion: 6, tunnelVersion: 6 };
  const table = new AddressTableWriter(memory, 0, shape);
  const reader = new AddressTableReader(memory, 0, shape);
  const view = new DataView(new ArrayBuffer(48));
  for (let index = 0; index < 48; index++) view.setUint8(index, 200 - index);
  table.insert({ kind: KIND_REMOTE, flags: 0, lastUsedSeconds: 0, hint: 3 }, view, 0);
  const record = reader.findRemote(view, 16, 32);
  assert.equal(record, reader.findByLocal(view, 0));
  assert.equal(reader.view.getUint8(record + RECORD_REFERENCE), 200 - 32);
  assert.equal(reader.hint(record), 3);
  view.setUint8(15, 0);
  assert.equal(reader.findByLocal(view, 0), 0);
});
