/**
 * Which local addresses the address table knows, for a reader that has no access to the table: the
 * kernel, which sorts packets before it queues them (platform/tun-steering.ts).
 *
 * Buckets of one octet, each the number of known addresses that fall into it. Single writer: the
 * main thread. A reader sees a bucket change at once and needs nothing else: 0 means that no
 * address of the bucket is known, anything else that one may be. A bucket that has reached its
 * maximum stays there for good.
 *
 * The bucket of an address: a hash of its 32-bit words in network order, keyed with a random seed,
 * so that nobody outside can tell which unknown addresses look known.
 */

import { assert } from "../base/assert.js";

/** Buckets: for 10,000 addresses one unknown address in a hundred looks known. */
export const KNOWN_BUCKETS = 1 << 20;
/** An odd multiplier spreads neighbouring numbers (Knuth, volume 3, 6.4). */
export const KNOWN_MULTIPLIER = 0x9e3779b1;
export const KNOWN_SHIFT = 15;
const COUNT_MAX = 255;

/** The writer. `counts` has KNOWN_BUCKETS octets, all zero. */
export class KnownAddresses {
  readonly #counts: Uint8Array;
  readonly #seed: number;

  constructor(counts: Uint8Array, seed: number) {
    assert(counts.length === KNOWN_BUCKETS, "known addresses have a fixed number of buckets");
    this.#counts = counts;
    this.#seed = seed;
  }

  /** An address of `count` words, as they lie in memory, at word index `word` becomes known. */
  add(words: ArrayLike<number>, word: number, count: number): void {
    const bucket = this.#bucket(words, word, count);
    if (this.#counts[bucket]! < COUNT_MAX) this.#counts[bucket]!++;
  }

  /** The reverse of `add`. */
  remove(words: ArrayLike<number>, word: number, count: number): void {
    const bucket = this.#bucket(words, word, count);
    if (this.#counts[bucket]! > 0 && this.#counts[bucket]! < COUNT_MAX) this.#counts[bucket]!--;
  }

  /** False when the address is not known; true when it may be. */
  mayHave(words: ArrayLike<number>, word: number, count: number): boolean {
    return this.#counts[this.#bucket(words, word, count)] !== 0;
  }

  #bucket(words: ArrayLike<number>, word: number, count: number): number {
    let hash = this.#seed;
    for (let index = 0; index < count; index++) {
      hash = Math.imul(hash ^ networkOrder(words[word + index]!), KNOWN_MULTIPLIER);
      hash ^= hash >>> KNOWN_SHIFT;
    }
    return hash & (KNOWN_BUCKETS - 1);
  }
}

/** The number in network order that a little-endian word holds. */
function networkOrder(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}
