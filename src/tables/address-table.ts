/**
 * Reading the address table (layout: address-table-layout.ts). Any thread; no allocation.
 *
 * A find returns the byte offset of a record whose key was compared between two equal, even values
 * of its sequence word. The record may change at any time afterwards, so a user does:
 *
 *   record = find…(…); sequence = table.sequence(record); copy fields; table.isUnchanged(…)
 *
 * and treats a changed record as a miss. `sequence` answers with the value under which the find
 * compared the key (it remembers the last few finds), so a record that was freed and reused in
 * between can never pass as the one that was found. A miss is harmless (the packet takes the slow
 * path); a wrong hit cannot happen. Freed records are reused in the order of their release.
 */

import { hashWords } from "./address-hash.js";
import {
  type AddressTableShape,
  FLAG_INACTIVE,
  FLAG_PROVISIONAL,
  indexSlots,
  KIND_LOCAL,
  KIND_PAIR,
  KIND_REMOTE,
  RECORD_BYTES,
  RECORD_CONTEXT,
  RECORD_LOCAL,
  RECORD_REFERENCE,
  WORD_CONTEXT,
  WORD_HINT,
  WORD_KIND,
  WORD_LAST_USED,
  WORD_LOCAL,
  WORD_REFERENCE,
} from "./address-table-layout.js";

export * from "./address-table-layout.js";

/** Finds remembered for `sequence`. */
const REMEMBERED_FINDS = 4;
const REFERENCE_WORDS = 4;

/** Look-ups in a table; one object per thread. */
export class AddressTableReader {
  readonly shape: AddressTableShape;
  /** The whole memory; record offsets are offsets into it. */
  readonly view: DataView;
  protected readonly words: Uint32Array;
  protected readonly bases: readonly [local: number, reference: number, pair: number];
  protected readonly slotMask: number;
  protected readonly localWords: number;
  protected readonly contextWords: number;
  protected readonly baseOffset: number;
  readonly #keyLow: number;
  readonly #keyHigh: number;
  readonly #foundRecords = new Float64Array(REMEMBERED_FINDS);
  readonly #foundSequences = new Uint32Array(REMEMBERED_FINDS);
  #finds = 0;

  /** `baseOffset` is a multiple of 64; the memory there is zero or a table of the same shape. */
  constructor(
    memory: SharedArrayBuffer | ArrayBuffer,
    baseOffset: number,
    shape: AddressTableShape,
  ) {
    this.shape = shape;
    this.view = new DataView(memory);
    this.words = new Uint32Array(memory);
    this.baseOffset = baseOffset;
    const slots = indexSlots(shape.recordsMax);
    const first = (baseOffset + RECORD_BYTES * (shape.recordsMax + 1)) / 4;
    this.bases = [first, first + slots, first + 2 * slots];
    this.slotMask = slots - 1;
    this.localWords = shape.localVersion === 4 ? 1 : 4;
    this.contextWords = shape.tunnelVersion === 4 ? 1 : 4;
    this.#keyLow = (shape.hashSeed % 0x1_0000_0000) | 0;
    this.#keyHigh = Math.floor(shape.hashSeed / 0x1_0000_0000) | 0;
  }

  /** REMOTE or primary LOCAL record of the address at `addressOffset`; 0 when there is none. */
  findByLocal(view: DataView, addressOffset: number): number {
    return this.lookupLocal(view, addressOffset, FLAG_INACTIVE | FLAG_PROVISIONAL);
  }

  /** REMOTE record of a context (4 or 16 bytes) and a reference (16 bytes); 0 when none. */
  findRemote(view: DataView, contextOffset: number, referenceOffset: number): number {
    return this.lookupRemote(view, contextOffset, referenceOffset, FLAG_INACTIVE);
  }

  /** LOCAL record of a reference (16 bytes), primary or not; 0 when there is none. */
  findLocalByReference(view: DataView, referenceOffset: number): number {
    return this.lookupReference(view, referenceOffset, FLAG_INACTIVE);
  }

  /** PAIR record of one of our hosts and an encoded address; 0 when there is none. */
  findPair(view: DataView, localOffset: number, encodedOffset: number): number {
    return this.lookupPair(view, localOffset, encodedOffset, FLAG_INACTIVE);
  }

  /** Notes a find of other code than this class: the sequence under which the key was compared. */
  remember(record: number, sequence: number): void {
    const index = this.#finds++ & (REMEMBERED_FINDS - 1);
    this.#foundRecords[index] = record;
    this.#foundSequences[index] = sequence;
  }

  /** Sequence under which `record` was found; see the head of this file. */
  sequence(record: number): number {
    for (let back = 1; back <= REMEMBERED_FINDS; back++) {
      const index = (this.#finds - back) & (REMEMBERED_FINDS - 1);
      if (this.#foundRecords[index] === record) return this.#foundSequences[index]!;
    }
    return Atomics.load(this.words, record >>> 2);
  }

  /** True when the record still is what it was at `sequence`. */
  isUnchanged(record: number, sequence: number): boolean {
    return (sequence & 1) === 0 && Atomics.load(this.words, record >>> 2) === sequence;
  }

  /** Kind of the record at a byte offset. */
  kind(record: number): number {
    return this.words[(record >>> 2) + WORD_KIND]! & 0xff;
  }

  /** Flags of the record at a byte offset. */
  flags(record: number): number {
    return this.words[(record >>> 2) + WORD_KIND]! >>> 8;
  }

  /** Time of the last use, mapper seconds. */
  lastUsed(record: number): number {
    return this.words[(record >>> 2) + WORD_LAST_USED]!;
  }

  /** Notes a use. Any thread may do this at any time, also to a record that was just freed. */
  stamp(record: number, nowSeconds: number): void {
    this.words[(record >>> 2) + WORD_LAST_USED] = nowSeconds;
  }

  /** Peer entry of a REMOTE record, record number of a PAIR. */
  hint(record: number): number {
    return this.words[(record >>> 2) + WORD_HINT]!;
  }

  /** Byte offset of a record number. */
  offsetOf(recordNumber: number): number {
    return this.baseOffset + RECORD_BYTES * recordNumber;
  }

  /** Number of the record at a byte offset. */
  numberOf(record: number): number {
    return (record - this.baseOffset) / RECORD_BYTES;
  }

  /** As `findByLocal`, skipping only records with one of the flags `hidden`. */
  protected lookupLocal(view: DataView, offset: number, hidden: number): number {
    const words = this.localWords;
    const hash = this.hash(view, offset, words, 0, 0);
    for (let probe = 0; probe <= this.slotMask; probe++) {
      const record = this.#at(0, hash + probe);
      if (record === 0) return 0;
      const sequence = Atomics.load(this.words, record >>> 2);
      const kind = this.#visibleKind(record, hidden);
      if (kind !== KIND_REMOTE && kind !== KIND_LOCAL) continue;
      if (!this.#equal(record, WORD_LOCAL, view, offset, words)) continue;
      if (this.#accept(record, sequence)) return record;
    }
    return 0;
  }

  protected lookupRemote(view: DataView, context: number, reference: number, hidden: number) {
    const words = this.contextWords;
    const hash = this.hash(view, context, words, reference, REFERENCE_WORDS);
    for (let probe = 0; probe <= this.slotMask; probe++) {
      const record = this.#at(1, hash + probe);
      if (record === 0) return 0;
      const sequence = Atomics.load(this.words, record >>> 2);
      if (this.#visibleKind(record, hidden) !== KIND_REMOTE) continue;
      if (!this.#equal(record, WORD_REFERENCE, view, reference, REFERENCE_WORDS)) continue;
      if (!this.#equal(record, WORD_CONTEXT, view, context, words)) continue;
      if (this.#accept(record, sequence)) return record;
    }
    return 0;
  }

  protected lookupReference(view: DataView, reference: number, hidden: number): number {
    const hash = this.hash(view, reference, REFERENCE_WORDS, 0, 0);
    for (let probe = 0; probe <= this.slotMask; probe++) {
      const record = this.#at(1, hash + probe);
      if (record === 0) return 0;
      const sequence = Atomics.load(this.words, record >>> 2);
      if (this.#visibleKind(record, hidden) !== KIND_LOCAL) continue;
      if (!this.#equal(record, WORD_REFERENCE, view, reference, REFERENCE_WORDS)) continue;
      if (this.#accept(record, sequence)) return record;
    }
    return 0;
  }

  protected lookupPair(view: DataView, local: number, encoded: number, hidden: number): number {
    const words = this.localWords;
    const hash = this.hash(view, local, words, encoded, words);
    for (let probe = 0; probe <= this.slotMask; probe++) {
      const record = this.#at(2, hash + probe);
      if (record === 0) return 0;
      const sequence = Atomics.load(this.words, record >>> 2);
      if (this.#visibleKind(record, hidden) !== KIND_PAIR) continue;
      if (!this.#equal(record, WORD_LOCAL, view, local, words)) continue;
      if (!this.#equal(record, WORD_CONTEXT, view, encoded, words)) continue;
      if (this.#accept(record, sequence)) return record;
    }
    return 0;
  }

  /** Hash of the key of a record in the index `index`, from the record's own bytes. */
  protected hashOf(record: number, index: 0 | 1 | 2): number {
    const local = record + RECORD_LOCAL;
    const context = record + RECORD_CONTEXT;
    const reference = record + RECORD_REFERENCE;
    if (index === 0) return this.hash(this.view, local, this.localWords, 0, 0);
    if (index === 2) return this.hash(this.view, local, this.localWords, context, this.localWords);
    if (this.kind(record) === KIND_LOCAL) {
      return this.hash(this.view, reference, REFERENCE_WORDS, 0, 0);
    }
    return this.hash(this.view, context, this.contextWords, reference, REFERENCE_WORDS);
  }

  protected hash(view: DataView, a: number, aWords: number, b: number, bWords: number): number {
    return hashWords(this.#keyLow, this.#keyHigh, view, a, aWords, b, bWords);
  }

  /** Byte offset of the record in slot `place` (taken modulo the index size); 0 when empty. */
  #at(index: 0 | 1 | 2, place: number): number {
    const number = Atomics.load(this.words, this.bases[index] + (place & this.slotMask));
    return number === 0 ? 0 : this.baseOffset + RECORD_BYTES * number;
  }

  /** Kind of a record, or 0 when it has one of the flags `hidden`. */
  #visibleKind(record: number, hidden: number): number {
    const word = Atomics.load(this.words, (record >>> 2) + WORD_KIND);
    return ((word >>> 8) & hidden) === 0 ? word & 0xff : 0;
  }

  #equal(record: number, word: number, view: DataView, offset: number, words: number): boolean {
    const first = (record >>> 2) + word;
    for (let index = 0; index < words; index++) {
      const stored = Atomics.load(this.words, first + index);
      if (stored !== view.getUint32(offset + 4 * index, true)) return false;
    }
    return true;
  }

  /** Accepts a find if the record did not change while its key was compared. */
  #accept(record: number, sequence: number): boolean {
    if (!this.isUnchanged(record, sequence)) return false;
    this.remember(record, sequence);
    return true;
  }
}
