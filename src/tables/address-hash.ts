/**
 * Keyed hash of addresses and references: HalfSipHash-1-3 (Aumasson and Bernstein, SipHash, with
 * 32-bit words). Remote networks choose references, so an unkeyed hash, or one that is weak against
 * chosen keys, would let them build long probe chains.
 */

/** Hash of `wordsA` words at `offsetA` followed by `wordsB` words at `offsetB`. Borrows `view`. */
export function hashWords(
  keyLow: number,
  keyHigh: number,
  view: DataView,
  offsetA: number,
  wordsA: number,
  offsetB: number,
  wordsB: number,
): number {
  let v0 = keyLow | 0;
  let v1 = keyHigh | 0;
  let v2 = 0x6c796765 ^ keyLow;
  let v3 = 0x74656462 ^ keyHigh;
  const words = wordsA + wordsB;
  // After the words one round with the length, then three rounds to finish.
  for (let index = 0; index < words + 4; index++) {
    let word = 0;
    if (index < wordsA) word = view.getInt32(offsetA + 4 * index, true);
    else if (index < words) word = view.getInt32(offsetB + 4 * (index - wordsA), true);
    else if (index === words) word = words << 24;
    else if (index === words + 1) v2 ^= 0xff;
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  return (v1 ^ v3) >>> 0;
}
