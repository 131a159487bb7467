/** The WebAssembly kernel gives what the TypeScript kernel gives, for everything it can be asked. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  FLAG_DETACHED,
  FLAG_INACTIVE,
  FLAG_PROVISIONAL,
  FLAG_SECONDARY,
  KIND_LOCAL,
  KIND_PAIR,
  KIND_REMOTE,
} from "../../src/tables/address-table.js";
import { AddressTableWriter } from "../../src/tables/address-table-writer.js";
import { Dice } from "../forward/fast-world.js";
import { checkJoining, checkSegmentation } from "./kernel-jobs.js";
import { KERNEL_FILE, makeKernels, ROOM_BYTES } from "./kernels.js";

const LENGTH_MAX = 9001;
/** This file runs from dist/test/kernel. */
const BUILD_KERNEL = fileURLToPath(new URL("../../../scripts/build-kernel.sh", import.meta.url));

function newSeed(): number {
  return Number(process.env["IPREF_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
}

test("sum() agrees for every length from 0 to 9001 and every alignment", (context) => {
  const seed = newSeed();
  context.diagnostic(`seed ${seed}`);
  const { ts, wasm, bytes, at } = makeKernels();
  bytes.set(new Dice(seed).bytes(LENGTH_MAX + 64), at);
  for (let length = 0; length <= LENGTH_MAX; length++) {
    const alignment = length % 64;
    for (const start of length <= 200 ? Array(64).keys() : [alignment, alignment ^ 1]) {
      const sum = wasm.sum(at + start, length);
      assert.equal(sum, ts.sum(at + start, length), `seed ${seed}, ${length} octets at ${start}`);
    }
  }
});

test("sum() agrees on the extremes: ff, 00, and 65,535 octets", () => {
  const { ts, wasm, bytes, at } = makeKernels();
  for (const value of [0xff, 0, 0x80]) {
    bytes.fill(value, at, at + ROOM_BYTES);
    for (let length = 65_535 - 70; length <= 65_536; length++) {
      assert.equal(wasm.sum(at + 1, length), ts.sum(at + 1, length), `${length} of ${value}`);
    }
  }
});

test("sum() agrees when the memory ends with the last octet", () => {
  const { ts, wasm, bytes } = makeKernels();
  for (let length = 0; length <= 200; length++) {
    const start = bytes.length - length;
    assert.equal(wasm.sum(start, length), ts.sum(start, length), `length ${length}`);
  }
});

test("copy() agrees, overlapping or not, and copies nothing beside", (context) => {
  const seed = newSeed();
  context.diagnostic(`seed ${seed}`);
  const { wasm, bytes, at } = makeKernels();
  const dice = new Dice(seed);
  for (let length = 0; length <= 2000; length++) {
    const before = dice.bytes(6000);
    const [source, target] = [dice.below(3999), dice.below(3999)];
    bytes.set(before, at);
    wasm.copy(at + target, at + source, length);
    before.copyWithin(target, source, source + length);
    const isSame = Buffer.compare(before, bytes.slice(at, at + 6000)) === 0;
    assert.ok(isSame, `seed ${seed}, ${length} octets from ${source} to ${target}`);
  }
});

test("segmentInto() builds the same headers, and changes nothing else", (context) => {
  const seed = newSeed();
  context.diagnostic(`seed ${seed}`);
  checkSegmentation(new Dice(seed), 3000, `seed ${seed}`);
});

test("joinable() counts the same datagrams, and changes nothing", (context) => {
  const seed = newSeed();
  context.diagnostic(`seed ${seed}`);
  checkJoining(new Dice(seed), 5000, `seed ${seed}`);
});

/** A small world of words, so that keys often differ in one of them only. */
function fillKey(dice: Dice, key: DataView): void {
  for (let word = 0; word < 12; word++) key.setUint32(4 * word, dice.below(3), true);
}

for (const localVersion of [4, 6] as const) {
  for (const tunnelVersion of [4, 6] as const) {
    const versions = `local IPv${localVersion}, tunnel IPv${tunnelVersion}`;
    test(`look-ups find the same records while a table changes: ${versions}`, (context) => {
      const seed = newSeed();
      context.diagnostic(`seed ${seed}`);
      const dice = new Dice(seed);
      const hashSeed = dice.below(2 ** 32) * 2 ** 20 + dice.below(2 ** 20);
      const kernels = makeKernels({ recordsMax: 60, localVersion, tunnelVersion, hashSeed });
      const found = changeAndCompare(kernels, dice, `seed ${seed}`);
      assert.ok(found > 1000, `only ${found} finds`);
    });
  }
}

const FLAGS = [0, 0, 0, FLAG_INACTIVE, FLAG_PROVISIONAL, FLAG_SECONDARY, FLAG_DETACHED];

/** Inserts, removes, changes and asks; returns how many records were found. */
function changeAndCompare(kernels: ReturnType<typeof makeKernels>, dice: Dice, about: string) {
  const { buffer, at, ts, wasm, tsTable, wasmTable } = kernels;
  const writer = new AddressTableWriter(buffer, 0, tsTable.shape);
  const key = new DataView(buffer, at, 48);
  const inUse: number[] = [];
  let found = 0;
  for (let round = 0; round < 10_000; round++) {
    fillKey(dice, key);
    const kind = dice.pick([KIND_REMOTE, KIND_LOCAL, KIND_PAIR] as const);
    const fields = { kind, flags: dice.pick(FLAGS), lastUsedSeconds: round, hint: 0 };
    const choice = dice.below(10);
    if (choice < 4) inUse.push(...[writer.insert(fields, key, 0)].filter((number) => number !== 0));
    else if (inUse.length > 0 && choice < 6) {
      writer.remove(inUse.splice(dice.below(inUse.length), 1)[0]!);
    } else if (inUse.length > 0 && choice < 8) {
      writer.setFlags(dice.pick(inUse), dice.pick(FLAGS));
    }
    fillKey(dice, key);
    const questions = [
      (kernel: typeof wasm | typeof ts) => kernel.findByLocal(at),
      (kernel: typeof wasm | typeof ts) => kernel.findRemote(at + 16, at + 32),
      (kernel: typeof wasm | typeof ts) => kernel.findLocalByReference(at + 32),
      (kernel: typeof wasm | typeof ts) => kernel.findPair(at, at + 16),
    ];
    for (const [index, ask] of questions.entries()) {
      const record = ask(ts);
      assert.equal(ask(wasm), record, `${about}, round ${round}, question ${index}`);
      if (record === 0) continue;
      found++;
      assert.equal(wasmTable.sequence(record), tsTable.sequence(record));
    }
  }
  return found;
}

test("the module brings no data and no start function into the shared memory", () => {
  const sections = sectionsOf(new Uint8Array(readFileSync(KERNEL_FILE)));
  const [start, data, dataCount] = [8, 11, 12];
  for (const section of [start, data, dataCount]) {
    assert.ok(!sections.includes(section), `section ${section}`);
  }
});

test("the compiled kernel is that of the sources, and compiles to the same octets again", () => {
  const directory = mkdtempSync(join(tmpdir(), "ipref-kernel-"));
  try {
    const target = join(directory, "kernel.wasm");
    const result = spawnSync(BUILD_KERNEL, [target], { encoding: "utf8" });
    assert.equal(result.status, 0, result.stderr);
    assert.ok(readFileSync(target).equals(readFileSync(KERNEL_FILE)));
  } finally {
    rmSync(directory, { recursive: true });
  }
});

/** Ids of the sections of a module (WebAssembly core specification 5.5.2). */
function sectionsOf(module: Uint8Array): number[] {
  const ids: number[] = [];
  let at = 8;
  while (at < module.length) {
    ids.push(module[at++]!);
    let size = 0;
    let shift = 0;
    for (let more = true; more; shift += 7) {
      size |= (module[at]! & 0x7f) << shift;
      more = (module[at++]! & 0x80) !== 0;
    }
    at += size;
  }
  return ids;
}
