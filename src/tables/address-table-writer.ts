/**
 * Writing the address table. One object in the whole program, on the main thread. A record is
 * written under an odd sequence word and published in the indexes afterwards; it is taken out of
 * use (kind FREE) before it leaves the indexes. Removal shifts later index entries back, the copy
 * first, so that a concurrent reader may at worst miss an entry that is being moved.
 */

import {
  AddressTableReader,
  FLAG_DETACHED,
  FLAG_SECONDARY,
  KIND_FREE,
  KIND_LOCAL,
  KIND_PAIR,
  KIND_REMOTE,
  WORD_HINT,
  WORD_KIND,
  WORD_LAST_USED,
  WORD_LOCAL,
} from "./address-table.js";
import type { KnownAddresses } from "./known-addresses.js";

const KEY_WORDS = 12;

/** Fields of a new record; the key is 48 bytes at `keyOffset` of `keyView` as in the record. */
export interface NewRecord {
  readonly kind: typeof KIND_REMOTE | typeof KIND_LOCAL | typeof KIND_PAIR;
  readonly flags: number;
  readonly lastUsedSeconds: number;
  readonly hint: number;
}

/**
 * The single writer. The memory must be zero at construction: the table starts empty. Record
 * numbers, not offsets, name records here, except in finds.
 */
export class AddressTableWriter extends AddressTableReader {
  #firstFree = 0;
  #lastFree = 0;
  #highest = 0;
  #used = 0;
  #known: KnownAddresses | undefined;

  /** Records in use. */
  get used(): number {
    return this.#used;
  }

  /** Highest record number that was ever in use. */
  get highest(): number {
    return this.#highest;
  }

  /** From now on `known` has the addresses of the first index, which finds records by them. */
  publishKnown(known: KnownAddresses): void {
    this.#known = known;
    for (let number = 1; number <= this.#highest; number++) {
      const kindAndFlags = this.words[(this.offsetOf(number) >>> 2) + WORD_KIND]!;
      if (isIndexed(kindAndFlags & 0xff, kindAndFlags >>> 8, 0)) {
        known.add(this.words, this.#addressWord(number), this.localWords);
      }
    }
  }

  #addressWord(number: number): number {
    return (this.offsetOf(number) >>> 2) + WORD_LOCAL;
  }

  /** REMOTE or primary LOCAL record of an address, active or not. Byte offset, 0 for none. */
  findAnyByLocal(view: DataView, addressOffset: number): number {
    return this.lookupLocal(view, addressOffset, 0);
  }

  /** REMOTE record, active or not. */
  findAnyRemote(view: DataView, contextOffset: number, referenceOffset: number): number {
    return this.lookupRemote(view, contextOffset, referenceOffset, 0);
  }

  /** LOCAL record of a reference, active or not. */
  findAnyLocalByReference(view: DataView, referenceOffset: number): number {
    return this.lookupReference(view, referenceOffset, 0);
  }

  /** Adds a record; its number, or 0 when the table is full. */
  insert(fields: NewRecord, keyView: DataView, keyOffset: number): number {
    const number = this.#takeFree();
    if (number !== 0) this.#fill(number, fields, keyView, keyOffset);
    return number;
  }

  /**
   * Adds a record under a number above all numbers in use; for restoring a store in order, before
   * there are readers. False when the number cannot be used.
   */
  insertAt(number: number, fields: NewRecord, keyView: DataView, keyOffset: number): boolean {
    if (number <= this.#highest || number > this.shape.recordsMax) return false;
    for (let skipped = this.#highest + 1; skipped < number; skipped++) this.#release(skipped);
    this.#highest = number;
    this.#fillUnread(number, fields, keyView, keyOffset);
    return true;
  }

  /** As `#fill`, with plain stores: several times faster, and nobody reads yet. */
  #fillUnread(number: number, fields: NewRecord, keyView: DataView, keyOffset: number): void {
    const { words } = this;
    const word = this.offsetOf(number) >>> 2;
    words[word] = words[word]! + 2;
    words[word + WORD_KIND] = fields.kind | (fields.flags << 8);
    words[word + WORD_LAST_USED] = fields.lastUsedSeconds;
    words[word + WORD_HINT] = fields.hint;
    for (let index = 0; index < KEY_WORDS; index++) {
      words[word + WORD_LOCAL + index] = keyView.getUint32(keyOffset + 4 * index, true);
    }
    this.#used++;
    this.#linkAll(number, fields.kind, fields.flags);
  }

  /** Changes the flags of a record and with them the indexes in which it is found. */
  setFlags(number: number, flags: number): void {
    const word = this.offsetOf(number) >>> 2;
    const kind = this.words[word + WORD_KIND]! & 0xff;
    const before = this.words[word + WORD_KIND]! >>> 8;
    if (before === flags) return;
    this.#begin(word);
    Atomics.store(this.words, word + WORD_KIND, kind | (flags << 8));
    this.#end(word);
    for (const index of [0, 1, 2] as const) {
      const was = isIndexed(kind, before, index);
      const is = isIndexed(kind, flags, index);
      if (is && !was) this.#link(number, index);
      else if (was && !is) this.#unlink(number, index);
    }
  }

  /** Sets the peer entry of a REMOTE record or the LOCAL record of a PAIR. */
  setHint(number: number, hint: number): void {
    const word = this.offsetOf(number) >>> 2;
    this.#begin(word);
    Atomics.store(this.words, word + WORD_HINT, hint);
    this.#end(word);
  }

  /** Takes a record out of the table. */
  remove(number: number): void {
    const word = this.offsetOf(number) >>> 2;
    const kind = this.words[word + WORD_KIND]! & 0xff;
    const flags = this.words[word + WORD_KIND]! >>> 8;
    // Hidden first, with its kind: the hash of its key depends on the kind.
    this.#begin(word);
    for (const index of [0, 1, 2] as const) {
      if (isIndexed(kind, flags, index)) this.#unlink(number, index);
    }
    Atomics.store(this.words, word + WORD_KIND, KIND_FREE);
    this.#end(word);
    this.#used--;
    this.#release(number);
  }

  #fill(number: number, fields: NewRecord, keyView: DataView, keyOffset: number): void {
    const word = this.offsetOf(number) >>> 2;
    this.#begin(word);
    Atomics.store(this.words, word + WORD_KIND, fields.kind | (fields.flags << 8));
    Atomics.store(this.words, word + WORD_LAST_USED, fields.lastUsedSeconds);
    Atomics.store(this.words, word + WORD_HINT, fields.hint);
    for (let index = 0; index < KEY_WORDS; index++) {
      const value = keyView.getUint32(keyOffset + 4 * index, true);
      Atomics.store(this.words, word + WORD_LOCAL + index, value);
    }
    this.#end(word);
    this.#used++;
    this.#linkAll(number, fields.kind, fields.flags);
  }

  #linkAll(number: number, kind: number, flags: number): void {
    if (isIndexed(kind, flags, 0)) this.#link(number, 0);
    if (isIndexed(kind, flags, 1)) this.#link(number, 1);
    if (isIndexed(kind, flags, 2)) this.#link(number, 2);
  }

  #takeFree(): number {
    const number = this.#firstFree;
    if (number === 0) {
      return this.#highest < this.shape.recordsMax ? ++this.#highest : 0;
    }
    this.#firstFree = this.hint(this.offsetOf(number));
    if (this.#firstFree === 0) this.#lastFree = 0;
    return number;
  }

  /** Appends to the free list: a number rests as long as possible before it is used again. */
  #release(number: number): void {
    this.setHint(number, 0);
    if (this.#lastFree === 0) this.#firstFree = number;
    else this.setHint(this.#lastFree, number);
    this.#lastFree = number;
  }

  #link(number: number, index: 0 | 1 | 2): void {
    if (index === 0) {
      this.#known?.add(this.words, this.#addressWord(number), this.localWords);
    }
    const base = this.bases[index];
    let slot = this.hashOf(this.offsetOf(number), index) & this.slotMask;
    while (this.words[base + slot] !== 0) slot = (slot + 1) & this.slotMask;
    Atomics.store(this.words, base + slot, number);
  }

  #unlink(number: number, index: 0 | 1 | 2): void {
    if (index === 0) {
      this.#known?.remove(this.words, this.#addressWord(number), this.localWords);
    }
    const base = this.bases[index];
    let hole = this.hashOf(this.offsetOf(number), index) & this.slotMask;
    while (this.words[base + hole] !== number) hole = (hole + 1) & this.slotMask;
    let slot = hole;
    for (;;) {
      slot = (slot + 1) & this.slotMask;
      const moving = this.words[base + slot]!;
      if (moving === 0) break;
      const home = this.hashOf(this.offsetOf(moving), index) & this.slotMask;
      // An entry may fill the hole if its home is not behind the hole on the way to its slot.
      if (((slot - home) & this.slotMask) < ((slot - hole) & this.slotMask)) continue;
      Atomics.store(this.words, base + hole, moving);
      hole = slot;
    }
    Atomics.store(this.words, base + hole, 0);
  }

  #begin(word: number): void {
    Atomics.store(this.words, word, (this.words[word]! + 1) | 1);
  }

  #end(word: number): void {
    Atomics.store(this.words, word, this.words[word]! + 1);
  }
}

function isIndexed(kind: number, flags: number, index: 0 | 1 | 2): boolean {
  if (index === 2) return kind === KIND_PAIR;
  if (index === 1) {
    return (kind === KIND_REMOTE || kind === KIND_LOCAL) && (flags & FLAG_DETACHED) === 0;
  }
  return kind === KIND_REMOTE || (kind === KIND_LOCAL && (flags & FLAG_SECONDARY) === 0);
}
