/**
 * Look-ups in the address table; twin of ../../tables/address-table.ts, whose header states what a
 * reader may see and how. Atomic loads keep their order.
 */

import {
  FLAG_INACTIVE,
  FLAG_PROVISIONAL,
  KIND_LOCAL,
  KIND_PAIR,
  KIND_REMOTE,
  RECORD_BYTES,
  RECORD_CONTEXT,
  RECORD_LAST_USED,
  RECORD_LOCAL,
  RECORD_REFERENCE,
  WORD_KIND,
} from "../../tables/address-record";

const REFERENCE_WORDS = 4;

let records: usize = 0;
let localIndex: usize = 0;
let referenceIndex: usize = 0;
let pairIndex: usize = 0;
let slotMask: u32 = 0;
let localWords: i32 = 0;
let contextWords: i32 = 0;
let keyLow: u32 = 0;
let keyHigh: u32 = 0;
let lastSequence: u32 = 0;

/** Tells where the table is; `slots` is the size of each index. */
export function useTable(
  base: usize,
  firstIndex: usize,
  slots: u32,
  wordsOfLocal: i32,
  wordsOfContext: i32,
  hashKeyLow: u32,
  hashKeyHigh: u32,
): void {
  records = base;
  localIndex = firstIndex;
  referenceIndex = firstIndex + 4 * slots;
  pairIndex = firstIndex + 8 * slots;
  slotMask = slots - 1;
  localWords = wordsOfLocal;
  contextWords = wordsOfContext;
  keyLow = hashKeyLow;
  keyHigh = hashKeyHigh;
}

/** Sequence under which the last record was found. */
export function foundSequence(): u32 {
  return lastSequence;
}

/** `Kernel.findByLocal`. */
export function findByLocal(address: usize): usize {
  const hash = hashWords(address, localWords, 0, 0);
  for (let probe: u32 = 0; probe <= slotMask; probe++) {
    const record = recordAt(localIndex, hash + probe);
    if (record === 0) return 0;
    const sequence = atomic.load<u32>(record);
    const kind = visibleKind(record, FLAG_INACTIVE | FLAG_PROVISIONAL);
    if (kind !== KIND_REMOTE && kind !== KIND_LOCAL) continue;
    if (!holds(record + RECORD_LOCAL, address, localWords)) continue;
    if (isStill(record, sequence)) return record;
  }
  return 0;
}

/** `Kernel.findRemote`. */
export function findRemote(context: usize, reference: usize): usize {
  const hash = hashWords(context, contextWords, reference, REFERENCE_WORDS);
  for (let probe: u32 = 0; probe <= slotMask; probe++) {
    const record = recordAt(referenceIndex, hash + probe);
    if (record === 0) return 0;
    const sequence = atomic.load<u32>(record);
    if (visibleKind(record, FLAG_INACTIVE) !== KIND_REMOTE) continue;
    if (!holds(record + RECORD_REFERENCE, reference, REFERENCE_WORDS)) continue;
    if (!holds(record + RECORD_CONTEXT, context, contextWords)) continue;
    if (isStill(record, sequence)) return record;
  }
  return 0;
}

/** `Kernel.findLocalByReference`. */
export function findLocalByReference(reference: usize): usize {
  const hash = hashWords(reference, REFERENCE_WORDS, 0, 0);
  for (let probe: u32 = 0; probe <= slotMask; probe++) {
    const record = recordAt(referenceIndex, hash + probe);
    if (record === 0) return 0;
    const sequence = atomic.load<u32>(record);
    if (visibleKind(record, FLAG_INACTIVE) !== KIND_LOCAL) continue;
    if (!holds(record + RECORD_REFERENCE, reference, REFERENCE_WORDS)) continue;
    if (isStill(record, sequence)) return record;
  }
  return 0;
}

/** `Kernel.findPair`. */
export function findPair(local: usize, encoded: usize): usize {
  const hash = hashWords(local, localWords, encoded, localWords);
  for (let probe: u32 = 0; probe <= slotMask; probe++) {
    const record = recordAt(pairIndex, hash + probe);
    if (record === 0) return 0;
    const sequence = atomic.load<u32>(record);
    if (visibleKind(record, FLAG_INACTIVE) !== KIND_PAIR) continue;
    if (!holds(record + RECORD_LOCAL, local, localWords)) continue;
    if (!holds(record + RECORD_CONTEXT, encoded, localWords)) continue;
    if (isStill(record, sequence)) return record;
  }
  return 0;
}

/** Offset of the record in slot `place` (taken modulo the index size); 0 when empty. */
function recordAt(index: usize, place: u32): usize {
  const number = atomic.load<u32>(index + 4 * (place & slotMask));
  return number === 0 ? 0 : records + RECORD_BYTES * number;
}

/** Kind of a record, or 0 when it has one of the flags `hidden`. */
function visibleKind(record: usize, hidden: u32): i32 {
  const word = atomic.load<u32>(record + 4 * WORD_KIND);
  return ((word >> 8) & hidden) === 0 ? word & 0xff : 0;
}

/** Compares words of a record with words of any alignment. */
function holds(field: usize, key: usize, words: i32): bool {
  for (let word: i32 = 0; word < words; word++) {
    if (atomic.load<u32>(field + 4 * word) !== load<u32>(key + 4 * word)) return false;
  }
  return true;
}

/** Accepts a find if the record did not change while its key was compared. */
function isStill(record: usize, sequence: u32): bool {
  lastSequence = sequence;
  return (sequence & 1) === 0 && atomic.load<u32>(record) === sequence;
}

/** HalfSipHash-1-3; twin of ../../tables/address-hash.ts. */
function hashWords(a: usize, wordsA: i32, b: usize, wordsB: i32): u32 {
  let v0 = keyLow;
  let v1 = keyHigh;
  let v2 = 0x6c796765 ^ keyLow;
  let v3 = 0x74656462 ^ keyHigh;
  const words = wordsA + wordsB;
  // After the words one round with the length, then three rounds to finish.
  for (let index: i32 = 0; index < words + 4; index++) {
    let word: u32 = 0;
    if (index < wordsA) word = load<u32>(a + 4 * index);
    else if (index < words) word = load<u32>(b + 4 * (index - wordsA));
    else if (index === words) word = words << 24;
    else if (index === words + 1) v2 ^= 0xff;
    v3 ^= word;
    v0 += v1;
    v1 = rotl(v1, 5) ^ v0;
    v0 = rotl(v0, 16);
    v2 += v3;
    v3 = rotl(v3, 8) ^ v2;
    v0 += v3;
    v3 = rotl(v3, 7) ^ v0;
    v2 += v1;
    v1 = rotl(v1, 13) ^ v2;
    v2 = rotl(v2, 16);
    v0 ^= word;
  }
  return v1 ^ v3;
}

/** True when the record still is what it was at `sequence`. */
export function isUnchanged(record: usize, sequence: u32): bool {
  return (sequence & 1) === 0 && atomic.load<u32>(record) === sequence;
}

/** Word of a record at a byte offset in it. */
export function wordOf(record: usize, field: usize): u32 {
  return atomic.load<u32>(record + field);
}

/** Kind of a record. */
export function kindOf(record: usize): i32 {
  return wordOf(record, 4 * WORD_KIND) & 0xff;
}

/** Flags of a record. */
export function flagsOf(record: usize): u32 {
  return wordOf(record, 4 * WORD_KIND) >> 8;
}

/** Byte offset of a record number. */
export function recordOf(number: u32): usize {
  return records + RECORD_BYTES * number;
}

/** Number of the record at a byte offset. */
export function numberOf(record: usize): u32 {
  return <u32>(record - records) / RECORD_BYTES;
}

/** Notes a use; a clean cache line stays clean. */
export function stamp(record: usize, nowSeconds: u32): void {
  if (load<u32>(record, RECORD_LAST_USED) === nowSeconds) return;
  store<u32>(record, nowSeconds, RECORD_LAST_USED);
}
