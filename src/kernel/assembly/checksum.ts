/** Sums and copies (RFC 1071), 64 bytes at a time. */

/** A v128 of zeros. */
function zero(): v128 {
  return i32x4.splat(0);
}

/** Adds the eight 16-bit words at `at` to four sums of 32 bits. */
function addWords(sums: v128, at: usize): v128 {
  return i32x4.add(sums, i32x4.extadd_pairwise_i16x8_u(v128.load(at)));
}

/** Folds a sum to 16 bits with end-around carry. */
export function fold(sum: u64): u32 {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
  let folded = <u32>sum;
  folded = (folded & 0xffff) + (folded >> 16);
  return (folded & 0xffff) + (folded >> 16);
}

/** Sum of the words of any number of bytes below 2^19, not folded. */
export function rawSum(offset: usize, length: i32): u64 {
  let at = offset;
  let rest = length;
  let total: u64 = 0;
  if (rest >= 16) {
    let a = zero();
    if (rest >= 64) {
      let b = zero();
      let c = zero();
      let d = zero();
      do {
        a = addWords(a, at);
        b = addWords(b, at + 16);
        c = addWords(c, at + 32);
        d = addWords(d, at + 48);
        at += 64;
        rest -= 64;
      } while (rest >= 64);
      a = i32x4.add(i32x4.add(a, b), i32x4.add(c, d));
    }
    for (; rest >= 16; rest -= 16) {
      a = addWords(a, at);
      at += 16;
    }
    total =
      <u64>(<u32>i32x4.extract_lane(a, 0)) +
      <u64>(<u32>i32x4.extract_lane(a, 1)) +
      <u64>(<u32>i32x4.extract_lane(a, 2)) +
      <u64>(<u32>i32x4.extract_lane(a, 3));
  }
  for (; rest >= 4; rest -= 4) {
    total += <u64>load<u32>(at);
    at += 4;
  }
  if ((rest & 2) !== 0) {
    total += <u64>load<u16>(at);
    at += 2;
  }
  if ((rest & 1) !== 0) total += <u64>load<u8>(at);
  return total;
}

/** `Kernel.sum`. */
export function sum(offset: usize, length: i32): u32 {
  return fold(rawSum(offset, length));
}

/** `Kernel.copy`. */
export function copy(target: usize, source: usize, length: i32): void {
  memory.copy(target, source, <usize>length);
}

/** A 16-bit number as the little-endian word that its network form has in memory. */
export function networkWord(value: u32): u32 {
  return ((value & 0xff) << 8) | (value >> 8);
}

/** Copies words; the areas do not overlap, and the length is a multiple of 4. */
export function copyWords(target: usize, source: usize, length: i32): void {
  let at: i32 = 0;
  for (; at + 16 <= length; at += 16) v128.store(target + at, v128.load(source + at));
  for (; at < length; at += 4) store<u32>(target + at, load<u32>(source + at));
}

/** Compares bytes; the length is a multiple of 4. */
export function sameWords(a: usize, b: usize, length: i32): bool {
  let at: i32 = 0;
  for (; at + 16 <= length; at += 16) {
    if (v128.any_true(v128.xor(v128.load(a + at), v128.load(b + at)))) return false;
  }
  for (; at < length; at += 4) {
    if (load<u32>(a + at) !== load<u32>(b + at)) return false;
  }
  return true;
}
