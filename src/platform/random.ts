/**
 * The operating system's random generator as a RandomSource: allocations and tunnel references
 * must not be guessable. Words come from a pool, since one call for each would cost a microsecond.
 */

import { randomFillSync } from "node:crypto";
import type { RandomSource } from "../base/random.js";

const POOL_WORDS = 1024;

/** A cryptographic source of random words and bytes. */
export interface SystemRandom extends RandomSource {
  /** A new array of `count` random bytes. */
  bytes(count: number): Uint8Array;
}

/** A source backed by the system's generator. */
export function systemRandom(): SystemRandom {
  const pool = new Uint32Array(POOL_WORDS);
  let next = POOL_WORDS;
  return {
    word() {
      if (next === POOL_WORDS) {
        randomFillSync(pool);
        next = 0;
      }
      const word = pool[next]!;
      pool[next++] = 0; // a used word cannot be read again
      return word;
    },
    bytes: (count) => randomFillSync(new Uint8Array(count)),
  };
}
