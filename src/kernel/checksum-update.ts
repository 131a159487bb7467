/**
 * Incremental one's complement arithmetic for the fast path (spec/tunnel.md 4.1, RFC 1624).
 *
 * Three facts. Sums do not depend on byte order, so everything here works on little-endian 16-bit
 * words as they lie in memory. One's complement zero has two forms, 0000 and ffff; equal modulo
 * ffff. The end-around borrow of spec/tunnel.md 4.1 ends in 0000 and the end-around carry in ffff
 * as long as one of the words is not zero, which holds for any two addresses of a packet; so
 * arithmetic modulo ffff gives the very bytes of the step by step form.
 */

/** Folds a sum below 2^32 to 16 bits with end-around carry. */
export function foldSum(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** Sum of `count` 32-bit words as 16-bit halves, not folded; up to 32,768 words. */
export function sumWords(words: Int32Array, first: number, count: number): number {
  let sum = 0;
  for (let word = first; word < first + count; word++) {
    const value = words[word]!;
    sum += (value & 0xffff) + (value >>> 16);
  }
  return sum;
}

/** A 16-bit number as the little-endian word that its network form has in memory. */
export function networkWord(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}

/** More than any sum that is subtracted here: 2 addresses of 8 words, and 3 words. */
const BORROW = 32 * 0xffff;

/** Stored checksum after `removed` was subtracted: 0001 to ffff. `removed` is at most 19 words. */
export function checksumWithout(stored: number, removed: number): number {
  return 0xffff - (((stored ^ 0xffff) + BORROW - removed) % 0xffff);
}

/** Stored checksum after `added`, not zero, was added: 0000 to fffe. */
export function checksumWith(stored: number, added: number): number {
  return foldSum((stored ^ 0xffff) + added) ^ 0xffff;
}
