/**
 * References on the wire, spec/tunnel.md 1.7: 4, 8 or 16 octets, chosen by the code REFL. The
 * first octet is the reserved top octet of the value, the others are its low bits.
 */

import type { Reference } from "../base/reference.js";
import { readU32, writeU32 } from "./bytes.js";

export type ReferenceLength = 4 | 8 | 16;

/** Length by REFL; 3 is reserved. */
const LENGTH_BY_CODE = [4, 8, 16] as const;

/** The top octet, bits 127 to 120, travels in every size and does not count for it. */
const TOP_SHIFT = 120n;
const VALUE_MASK = (1n << TOP_SHIFT) - 1n;

/** Octets of each reference for a REFL code, or undefined for the reserved code. */
export function referenceLength(code: number): ReferenceLength | undefined {
  return LENGTH_BY_CODE[code];
}

/** The REFL code of a length. */
export function referenceLengthCode(length: ReferenceLength): 0 | 1 | 2 {
  if (length === 4) return 0;
  return length === 8 ? 1 : 2;
}

/** The smallest length that holds a reference. */
export function smallestReferenceLength(reference: Reference): ReferenceLength {
  const value = reference & VALUE_MASK;
  if (value < 1n << 24n) return 4;
  return value < 1n << 56n ? 8 : 16;
}

/** The length both references of a packet share: the larger of the two smallest fits. */
export function sharedReferenceLength(a: Reference, b: Reference): ReferenceLength {
  return Math.max(smallestReferenceLength(a), smallestReferenceLength(b)) as ReferenceLength;
}

/** Reads a reference of `length` octets; omitted middle bits are zero. */
export function readWireReference(
  bytes: Uint8Array,
  offset: number,
  length: ReferenceLength,
): Reference {
  let value = BigInt(readU32(bytes, offset) % 0x100_0000);
  for (let index = 4; index < length; index += 4) {
    value = (value << 32n) | BigInt(readU32(bytes, offset + index));
  }
  return (BigInt(bytes[offset]!) << TOP_SHIFT) | value;
}

/** Fills `length` octets at `offset`; the value must fit. */
export function writeWireReferenceInto(
  bytes: Uint8Array,
  offset: number,
  reference: Reference,
  length: ReferenceLength,
): void {
  let rest = reference & VALUE_MASK;
  for (let index = length - 4; index >= 0; index -= 4) {
    writeU32(bytes, offset + index, Number(rest & 0xffff_ffffn));
    rest >>= 32n;
  }
  bytes[offset] = Number(reference >> TOP_SHIFT);
}
