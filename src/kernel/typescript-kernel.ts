/**
 * The kernel in TypeScript: complete, and the judge of any faster implementation. Borrows the
 * memory for its life; one object per thread.
 */

import type { AddressTableReader } from "../tables/address-table.js";
import { foldSum } from "./checksum-update.js";
import { joinable } from "./joining.js";
import type { Kernel } from "./kernel.js";
import { segmentInto } from "./segmenting.js";

/** Words that can be added before a sum of 16-bit halves could leave 2^31. */
const WORDS_PER_FOLD = 8192;

export class TypescriptKernel implements Kernel {
  readonly #table: AddressTableReader;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;

  /** `table` lies in the same memory as everything the kernel is asked about. */
  constructor(table: AddressTableReader) {
    this.#table = table;
    this.#view = table.view;
    this.#bytes = new Uint8Array(table.view.buffer);
    this.#words = new Int32Array(table.view.buffer);
  }

  sum(offset: number, length: number): number {
    const view = this.#view;
    const end = offset + length;
    let total = 0;
    let at = offset;
    while (at + 4 <= end) {
      const stop = Math.min(end - 3, at + 4 * WORDS_PER_FOLD);
      for (; at < stop; at += 4) {
        const word = view.getInt32(at, true);
        total += (word & 0xffff) + (word >>> 16);
      }
      total = foldSum(total);
    }
    if (at + 2 <= end) {
      total += view.getUint16(at, true);
      at += 2;
    }
    if (at < end) total += this.#bytes[at]!;
    return foldSum(total);
  }

  copy(target: number, source: number, length: number): void {
    this.#bytes.copyWithin(target, source, source + length);
  }

  segmentInto(job: number): number {
    return segmentInto(this, this.#view, this.#words, job);
  }

  joinable(job: number): number {
    return joinable(this, this.#view, this.#words, job);
  }

  findByLocal(addressOffset: number): number {
    return this.#table.findByLocal(this.#view, addressOffset);
  }

  findRemote(contextOffset: number, referenceOffset: number): number {
    return this.#table.findRemote(this.#view, contextOffset, referenceOffset);
  }

  findLocalByReference(referenceOffset: number): number {
    return this.#table.findLocalByReference(this.#view, referenceOffset);
  }

  findPair(localOffset: number, encodedOffset: number): number {
    return this.#table.findPair(this.#view, localOffset, encodedOffset);
  }
}
