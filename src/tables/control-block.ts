/**
 * Control block: the few values that every forwarding worker reads, in shared memory.
 *
 * Layout, 64 bytes, little-endian words: w0 time in mapper seconds; w1 sequence of the public
 * address (odd while it is written); w4-w7 public address (IPv4 in the first 4 bytes, rest zero;
 * all zero: not known). Single writer: the main thread. A worker reads the time with one load and
 * copies the public address once per batch, under its sequence number.
 */

import type { IpAddress } from "../base/ip.js";

export const CONTROL_BLOCK_BYTES = 64;

const WORD_NOW_SECONDS = 0;
const WORD_SEQUENCE = 1;
const WORD_PUBLIC_ADDRESS = 4;
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
