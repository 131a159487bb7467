/** Big-endian integers in byte arrays, for code that is not on the fast path. */

/** 16 bits at `offset`. */
export function readU16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

/** 32 bits at `offset`, as an unsigned number. */
export function readU32(bytes: Uint8Array, offset: number): number {
  return readU16(bytes, offset) * 0x1_0000 + readU16(bytes, offset + 2);
}

/** Writes the low 16 bits of `value`. */
export function writeU16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

/** Writes the low 32 bits of `value`. */
export function writeU32(bytes: Uint8Array, offset: number, value: number): void {
  writeU16(bytes, offset, value >>> 16);
  writeU16(bytes, offset + 2, value);
}
