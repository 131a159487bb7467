/**
 * The kernel in WebAssembly (sources: assembly/). One instance of the module for each thread, over
 * the memory that all threads share.
 */

import { type AddressTableReader, indexSlots, RECORD_BYTES } from "../tables/address-table.js";
import type { Kernel } from "./kernel.js";

/** What an instance of the module exports. */
export interface KernelExports {
  sum(offset: number, length: number): number;
  copy(target: number, source: number, length: number): void;
  segmentInto(job: number): number;
  joinable(job: number): number;
  findByLocal(address: number): number;
  findRemote(context: number, reference: number): number;
  findLocalByReference(reference: number): number;
  findPair(local: number, encoded: number): number;
  /** Sequence of the last record that was found. */
  foundSequence(): number;
  /** Words of local addresses and of contexts: 1 or 4. Keys are 32 bits. */
  useTable(
    base: number,
    firstIndex: number,
    slots: number,
    localWords: number,
    contextWords: number,
    keyLow: number,
    keyHigh: number,
  ): void;
}

/** Kernel of one thread. */
export class WasmKernel implements Kernel {
  readonly #table: AddressTableReader;
  readonly #exports: KernelExports;

  /** `exports` is a fresh instance over the memory in which `table` lies; it is kept. */
  constructor(table: AddressTableReader, exports: KernelExports) {
    const { recordsMax, localVersion, tunnelVersion, hashSeed } = table.shape;
    this.#table = table;
    this.#exports = exports;
    const base = table.offsetOf(0);
    exports.useTable(
      base,
      base + RECORD_BYTES * (recordsMax + 1),
      indexSlots(recordsMax),
      localVersion === 4 ? 1 : 4,
      tunnelVersion === 4 ? 1 : 4,
      (hashSeed % 0x1_0000_0000) | 0,
      Math.floor(hashSeed / 0x1_0000_0000) | 0,
    );
  }

  sum(offset: number, length: number): number {
    return this.#exports.sum(offset, length);
  }

  copy(target: number, source: number, length: number): void {
    this.#exports.copy(target, source, length);
  }

  segmentInto(job: number): number {
    return this.#exports.segmentInto(job);
  }

  joinable(job: number): number {
    return this.#exports.joinable(job);
  }

  findByLocal(addressOffset: number): number {
    return this.#found(this.#exports.findByLocal(addressOffset));
  }

  findRemote(contextOffset: number, referenceOffset: number): number {
    return this.#found(this.#exports.findRemote(contextOffset, referenceOffset));
  }

  findLocalByReference(referenceOffset: number): number {
    return this.#found(this.#exports.findLocalByReference(referenceOffset));
  }

  findPair(localOffset: number, encodedOffset: number): number {
    return this.#found(this.#exports.findPair(localOffset, encodedOffset));
  }

  #found(record: number): number {
    if (record !== 0) this.#table.remember(record, this.#exports.foundSequence());
    return record;
  }
}
