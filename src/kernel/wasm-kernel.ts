/**
 * The kernel in WebAssembly (sources: assembly/). One instance of the module for each thread, over
 * the memory that all threads share.
 */

import { type AddressTableReader, indexSlots, RECORD_BYTES } from "../tables/address-table.js";
import type { Kernel } from "./kernel.js";
import type { Translator, TranslatorPlan } from "./translator.js";

const flag = (value: boolean): number => (value ? 1 : 0);

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
  planTranslation(
    localVersion: number,
    tunnelVersion: number,
    decrementTtl: number,
    carriesTcp: number,
    carriesUdp: number,
    carriesIcmp: number,
  ): void;
  planPlaces(
    publicOffset: number,
    headerOffset: number,
    referencesOffset: number,
    narrowOffset: number,
    identificationsOffset: number,
  ): void;
  planPeers(entries: number, firstSlot: number, peersMax: number, slots: number): void;
  egress(entries: number, count: number, hasDeviceHeader: number, nowSeconds: number): void;
  ingress(
    offset: number,
    length: number,
    source: number,
    port: number,
    isPublicKnown: number,
    nowSeconds: number,
  ): number;
}

/** The functions of an instance that translate. */
class WasmTranslator implements Translator {
  readonly #exports: KernelExports;

  constructor(exports: KernelExports) {
    this.#exports = exports;
  }

  plan(plan: TranslatorPlan): void {
    const exports = this.#exports;
    exports.planTranslation(
      plan.localVersion,
      plan.tunnelVersion,
      flag(plan.decrementTtl),
      flag(plan.carriesTcp),
      flag(plan.carriesUdp),
      flag(plan.carriesIcmp),
    );
    exports.planPlaces(
      plan.publicOffset,
      plan.headerOffset,
      plan.referencesOffset,
      plan.narrowOffset,
      plan.identificationsOffset,
    );
    exports.planPeers(plan.peersOffset, plan.peerSlotsOffset, plan.peersMax, plan.peerSlots);
  }

  egress(entries: number, count: number, hasDeviceHeader: boolean, nowSeconds: number): void {
    this.#exports.egress(entries, count, flag(hasDeviceHeader), nowSeconds);
  }

  ingress(
    offset: number,
    length: number,
    source: number,
    port: number,
    isPublicKnown: boolean,
    nowSeconds: number,
  ): number {
    const known = flag(isPublicKnown);
    return this.#exports.ingress(offset, length, source, port, known, nowSeconds);
  }
}

/** Kernel of one thread. */
export class WasmKernel implements Kernel {
  readonly translator: Translator;
  readonly #table: AddressTableReader;
  readonly #exports: KernelExports;

  /** `exports` is a fresh instance over the memory in which `table` lies; it is kept. */
  constructor(table: AddressTableReader, exports: KernelExports) {
    const { recordsMax, localVersion, tunnelVersion, hashSeed } = table.shape;
    this.#table = table;
    this.#exports = exports;
    this.translator = new WasmTranslator(exports);
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
