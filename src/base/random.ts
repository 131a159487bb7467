/**
 * Randomness is an argument. The programs hand in a source backed by the operating system's
 * generator; simulations and property tests hand in a seeded one and print the seed.
 */

/** A source of uniformly distributed 32-bit words. */
export interface RandomSource {
  /** An unsigned 32-bit integer, uniformly distributed. */
  word(): number;
}

/** `bits` random bits (0 to 128) as an unsigned integer. */
export function randomBits(random: RandomSource, bits: number): bigint {
  let value = 0n;
  for (let have = 0; have < bits; have += 32) value = (value << 32n) | BigInt(random.word());
  return value & ((1n << BigInt(bits)) - 1n);
}

/** A uniformly distributed integer from 0 to `bound` - 1; `bound` is 1 to 2^32. */
export function randomBelow(random: RandomSource, bound: number): number {
  const usable = 0x1_0000_0000 - (0x1_0000_0000 % bound);
  for (;;) {
    const word = random.word();
    if (word < usable) return word % bound;
  }
}

/**
 * A seeded source for tests and simulations: SplitMix-style mixing over a 32-bit counter.
 * Equal seeds give equal sequences. Not for anything an adversary may guess.
 */
export function seededRandom(seed: number): RandomSource {
  let state = seed >>> 0;
  return {
    word() {
      state = (state + 0x9e3779b9) >>> 0;
      let mixed = state;
      mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      return (mixed ^ (mixed >>> 15)) >>> 0;
    },
  };
}
