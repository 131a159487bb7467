/**
 * The one's complement arithmetic of Internet checksums (RFC 1071), in the form of
 * spec/tunnel.md 4.1. Three facts carry everything:
 *
 * 1. A sum is a 16-bit number; carries out of the top come back in at the bottom.
 * 2. A stored checksum is the inverted sum, so a stored value s stands for the sum s ^ ffff.
 * 3. Words can be taken out of a sum again: a negative difference gets ffff added.
 *
 * Zero has two forms, 0000 and ffff. Subtraction of equal sums gives 0000 here, so a stored
 * checksum becomes ffff, never 0000, when a sum is subtracted to nothing.
 */

/** All ones: the largest sum, and the mask that inverts one. */
const SUM_MAX = 0xffff;

/** Brings carries back in until the sum has 16 bits. `value` is a non-negative integer. */
export function fold(value: number): number {
  let sum = value;
  while (sum > SUM_MAX) sum = (sum & SUM_MAX) + Math.floor(sum / 0x1_0000);
  return sum;
}

/**
 * Sum of the big-endian words of bytes `start` to `end`, added to `initial`. An odd last octet is
 * padded with a zero octet on the right, whatever lies behind it. Borrows `bytes`.
 */
export function sumBytes(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  let sum = initial;
  const evenEnd = end - ((end - start) & 1);
  for (let index = start; index < evenEnd; index += 2) {
    sum += (bytes[index]! << 8) | bytes[index + 1]!;
  }
  if (evenEnd < end) sum += bytes[evenEnd]! << 8;
  return fold(sum);
}

/** One's complement addition of two sums. */
export function addSums(a: number, b: number): number {
  return fold(a + b);
}

/** One's complement subtraction with end-around borrow (spec/tunnel.md 4.1). */
export function subtractSums(a: number, b: number): number {
  return a < b ? a - b + SUM_MAX : a - b;
}

/** From a sum to the stored checksum and back. */
export function invertSum(sum: number): number {
  return sum ^ SUM_MAX;
}

/**
 * Sum of a pseudo header whose addresses sum to `addressSum` (RFC 9293 3.1, RFC 8200 8.1). The
 * 32-bit length of IPv6 and the 16-bit length of IPv4 give the same sum.
 */
export function pseudoHeaderSum(addressSum: number, length: number, protocol: number): number {
  return fold(addressSum + (length >>> 16) + (length & 0xffff) + protocol);
}
