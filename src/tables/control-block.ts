/**
 * Control block: the few values that every forwarding worker reads, in shared memory.
 *
 * Layout, little-endian words: w0 time in mapper seconds; w1 sequence of the public address (odd
 * while it is written); w4-w7 public address (IPv4 in the first 4 bytes, rest zero; all zero: not
 * known); w8 generation of the capture (0: none; capture-area.ts); w9 round of the flow samples
 * (flow-samples.ts); w16-w47 a set of bits, one for each hash of a local IPv6 destination behind a
 * narrow path (spec/tunnel.md 4.7): a worker hands over small packets to an address whose bit is
 * set, which may be one too many. Single writer: the main thread. A worker reads the time with one
 * load and copies the public address once per batch, under its sequence number.
 */

import type { IpAddress } from "../base/ip.js";
import { NARROW_BITS, NARROW_WORDS } from "./shared-sizes.js";

const WORD_NARROW = 16;
/** Byte offset of the set in the block. */
export const CONTROL_NARROW = 4 * WORD_NARROW;

export const CONTROL_BLOCK_BYTES = 4 * (WORD_NARROW + NARROW_WORDS);

const WORD_NOW_SECONDS = 0;
const WORD_SEQUENCE = 1;
const WORD_PUBLIC_ADDRESS = 4;
const WORD_CAPTURE = 8;
const WORD_SAMPLING = 9;
const ADDRESS_WORDS = 4;

/** A view of the control block; `baseOffset` is a multiple of 4. */
export class ControlBlock {
  readonly #words: Int32Array;

  constructor(memory: ArrayBufferLike, baseOffset: number) {
    this.#words = new Int32Array(memory, baseOffset, CONTROL_BLOCK_BYTES / 4);
  }

  /** Time in mapper seconds, as of the last update by the main thread. */
  nowSeconds(): number {
    return Atomics.load(this.#words, WORD_NOW_SECONDS);
  }

  /** Main thread, about once a second. */
  setNowSeconds(nowSeconds: number): void {
    Atomics.store(this.#words, WORD_NOW_SECONDS, nowSeconds);
  }

  /** Main thread, whenever the public address changes. */
  setPublicAddress(address: IpAddress): void {
    const padded = new Uint8Array(4 * ADDRESS_WORDS);
    padded.set(address.bytes);
    const view = new DataView(padded.buffer);
    Atomics.add(this.#words, WORD_SEQUENCE, 1);
    for (let word = 0; word < ADDRESS_WORDS; word++) {
      Atomics.store(this.#words, WORD_PUBLIC_ADDRESS + word, view.getInt32(4 * word, true));
    }
    Atomics.add(this.#words, WORD_SEQUENCE, 1);
  }

  /** Number of the capture that runs, different for each one; 0 when there is none. */
  captureGeneration(): number {
    return Atomics.load(this.#words, WORD_CAPTURE);
  }

  /** Main thread: begins the capture whose order has been written, or ends it (0). */
  setCaptureGeneration(generation: number): void {
    Atomics.store(this.#words, WORD_CAPTURE, generation);
  }

  /** Round of the flow samples; a worker that sees a new one samples a batch. */
  samplingRound(): number {
    return Atomics.load(this.#words, WORD_SAMPLING);
  }

  /** Main thread: asks for samples once more. */
  setSamplingRound(round: number): void {
    Atomics.store(this.#words, WORD_SAMPLING, round);
  }

  /** Main thread: replaces the set of IPv6 destinations behind a narrow path. */
  setNarrowDestinations(addresses: Iterable<IpAddress>): void {
    const bits = new Int32Array(NARROW_WORDS);
    for (const address of addresses) {
      const view = new DataView(address.bytes.slice().buffer);
      const words = [0, 4, 8, 12].map((offset) => view.getInt32(offset, true));
      const bit = narrowBit(words[0]!, words[1]!, words[2]!, words[3]!);
      bits[bit >>> 5]! |= 1 << (bit & 31);
    }
    for (const [word, value] of bits.entries()) {
      Atomics.store(this.#words, WORD_NARROW + word, value);
    }
  }

  /** False when the IPv6 address at word `word` of `words` is surely not a narrow destination. */
  mayBeNarrow(words: Int32Array, word: number): boolean {
    const bit = narrowBit(words[word]!, words[word + 1]!, words[word + 2]!, words[word + 3]!);
    return ((Atomics.load(this.#words, WORD_NARROW + (bit >>> 5)) >>> (bit & 31)) & 1) !== 0;
  }

  /**
   * Copies the four words of the public address to `target` from word `targetWord`. Returns false,
   * with nothing promised about the target, when the main thread was writing.
   */
  publicAddressInto(target: Int32Array, targetWord: number): boolean {
    const sequence = Atomics.load(this.#words, WORD_SEQUENCE);
    for (let word = 0; word < ADDRESS_WORDS; word++) {
      target[targetWord + word] = Atomics.load(this.#words, WORD_PUBLIC_ADDRESS + word);
    }
    return (sequence & 1) === 0 && Atomics.load(this.#words, WORD_SEQUENCE) === sequence;
  }
}

function narrowBit(a: number, b: number, c: number, d: number): number {
  return mix(mix(mix(mix(0, a), b), c), d) % NARROW_BITS;
}

/** One word into a hash: high bits come down before the next word goes in. */
function mix(hash: number, word: number): number {
  const product = Math.imul(hash ^ word ^ (word >>> 16), 0x9e3779b1);
  return (product ^ (product >>> 15)) >>> 0;
}
