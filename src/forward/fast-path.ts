/**
 * What both directions of the fast path share: the shared memory as a worker sees it, the settings
 * that stay fixed, and the values that are looked at once per batch.
 *
 * The fast path takes a packet only when every table it reads answers, unchanged, for it; it writes
 * nothing into the packet before it has decided. What it takes leaves with the bytes that
 * translate/ would have made (test/forward/differential.test.ts). All else goes to the slow path.
 */

import type { IpVersion } from "../base/ip.js";
import type { Kernel } from "../kernel/kernel.js";
import { TypescriptKernel } from "../kernel/typescript-kernel.js";
import { AddressTableReader } from "../tables/address-table.js";
import { type ArenaPlan, type SlabLayout, slabLayout } from "../tables/arena.js";
import { CONTROL_NARROW, ControlBlock } from "../tables/control-block.js";
import { PeerTableReader } from "../tables/peer-table.js";

// Messages that are translated without looking inside (spec/tunnel.md 4.5); type in the low byte,
// code 0, as the first 16 bits of a message lie in memory.
export const ECHO_REQUEST = 8;
export const ECHO_REPLY = 0;
export const ECHO_REQUEST_V6 = 128;
export const ECHO_REPLY_V6 = 129;

/** Octets of the smallest headers (RFC 9293 3.1, RFC 768, RFC 792). */
export const TCP_LENGTH_MIN = 20;
export const UDP_LENGTH_MIN = 8;
export const ICMP_LENGTH_MIN = 8;

/** Settings of the fast path; a plain value, handed to workers. */
export interface FastPathSettings {
  readonly localVersion: IpVersion;
  readonly tunnelVersion: IpVersion;
  /** Option -dec-ttl (spec/tunnel.md 3.1). */
  readonly decrementTtl: boolean;
  /** Accepted protocols (spec/tunnel.md 4.9), ICMP standing for both of its versions. */
  readonly carriesTcp: boolean;
  readonly carriesUdp: boolean;
  readonly carriesIcmp: boolean;
}

const PUBLIC_ADDRESS_OFFSET = 0;
const HEADER_OFFSET = 32;
const REFERENCES_OFFSET = 128;
const SEGMENT_JOB_OFFSET = 192;
const JOIN_JOB_OFFSET = 256;

/** One worker's view of the shared memory. */
export class FastPathMemory {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly halves: Uint16Array;
  readonly table: AddressTableReader;
  readonly kernel: Kernel;
  readonly peers: PeerTableReader;
  readonly control: ControlBlock;
  /** Words of an address: native, and of a context. */
  readonly localWords: 1 | 4;
  readonly contextWords: 1 | 4;
  /** Public address as of the last `refresh`, 4 words. */
  readonly publicWord: number;
  /** Room for a header that is built before it replaces another one. */
  readonly headerWord: number;
  /** Room for two references of 16 bytes: source, destination. */
  readonly referencesOffset: number;
  /** Room for one job of each kind (kernel/jobs.ts). */
  readonly segmentJob: number;
  readonly joinJob: number;
  readonly slab: SlabLayout;
  nowSeconds = 0;
  isPublicKnown = false;
  readonly #controlOffset: number;
  readonly #fresh = new Int32Array(4);

  constructor(
    memory: SharedArrayBuffer | ArrayBuffer,
    plan: ArenaPlan,
    slabOffset: number,
    makeKernel: (table: AddressTableReader) => Kernel = (table) => new TypescriptKernel(table),
  ) {
    const { options } = plan;
    this.slab = slabLayout(slabOffset);
    const { scratchOffset } = this.slab;
    this.bytes = new Uint8Array(memory);
    this.words = new Int32Array(memory);
    this.halves = new Uint16Array(memory);
    this.table = new AddressTableReader(memory, plan.addressesOffset, options);
    this.kernel = makeKernel(this.table);
    this.peers = new PeerTableReader(memory, plan.peersOffset, options.peersMax);
    this.#controlOffset = plan.controlOffset;
    this.control = new ControlBlock(memory, plan.controlOffset);
    this.localWords = options.localVersion === 4 ? 1 : 4;
    this.contextWords = options.tunnelVersion === 4 ? 1 : 4;
    this.publicWord = (scratchOffset + PUBLIC_ADDRESS_OFFSET) >>> 2;
    this.headerWord = (scratchOffset + HEADER_OFFSET) >>> 2;
    this.referencesOffset = scratchOffset + REFERENCES_OFFSET;
    this.segmentJob = scratchOffset + SEGMENT_JOB_OFFSET;
    this.joinJob = scratchOffset + JOIN_JOB_OFFSET;
  }

  /** Tells the kernel what it needs to translate whole packets; nothing for one that cannot. */
  planTranslator(settings: FastPathSettings): void {
    const { peers, slab } = this;
    this.kernel.translator?.plan({
      ...settings,
      publicOffset: this.publicWord << 2,
      headerOffset: this.headerWord << 2,
      referencesOffset: this.referencesOffset,
      narrowOffset: this.#controlOffset + CONTROL_NARROW,
      identificationsOffset: slab.identificationsOffset,
      peersOffset: peers.baseOffset,
      peerSlotsOffset: peers.slotsWord << 2,
      peersMax: peers.peersMax,
      peerSlots: peers.slotMask + 1,
    });
  }

  /** Once per batch: time and public address. While the latter is being written it stays as is. */
  refresh(): void {
    const fresh = this.#fresh;
    this.nowSeconds = this.control.nowSeconds();
    if (!this.control.publicAddressInto(fresh, 0)) return;
    let bits = 0;
    for (let word = 0; word < 4; word++) {
      this.words[this.publicWord + word] = fresh[word]!;
      bits |= fresh[word]!;
    }
    this.isPublicKnown = bits !== 0;
  }

  /** True when two addresses or contexts of `count` words, at word indexes, are equal. */
  sameWords(a: number, b: number, count: number): boolean {
    const { words } = this;
    for (let word = 0; word < count; word++) {
      if (words[a + word] !== words[b + word]) return false;
    }
    return true;
  }

  /** Copies words within the memory, upwards. */
  copyWords(target: number, source: number, count: number): void {
    const { words } = this;
    for (let word = 0; word < count; word++) words[target + word] = words[source + word]!;
  }

  /** Stamps a record unless it has the time already: shared cache lines stay clean. */
  stamp(record: number): void {
    if (this.table.lastUsed(record) !== this.nowSeconds) this.table.stamp(record, this.nowSeconds);
  }
}
