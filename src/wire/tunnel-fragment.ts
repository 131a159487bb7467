/**
 * What both tunnel formats share: the masks of octet 0 and the 8 octets of fragment information
 * that follow octet 3 when IF is set (spec/tunnel.md 2.1, 2.2).
 *
 *   0-1  reserved      2-3  offset in octets or-ed with MF (bits 2-1 reserved)
 *   4-7  identification
 */

import { readU16, readU32, writeU16, writeU32 } from "./bytes.js";
import type { FragmentInfo } from "./packet-fields.js";

/** Octet 0 (spec/tunnel.md 2.1, 2.2). */
export const TUNNEL_DONT_FRAGMENT = 0x01;
export const TUNNEL_HAS_FRAGMENT = 0x02;
export const TUNNEL_REFERENCE_MASK = 0x0c;
export const TUNNEL_REFERENCE_SHIFT = 2;
/** Bit 4: the low bit of version 1 in format G, CP in format D. */
export const TUNNEL_BIT_4 = 0x10;
export const TUNNEL_TOP_BITS = 0xe0;

export const TUNNEL_TTL_OFFSET = 2;
export const TUNNEL_PROTOCOL_OFFSET = 3;
/** Where fragment information, or else the contexts, begin. */
export const TUNNEL_FIXED_LENGTH = 4;
export const TUNNEL_FRAGMENT_LENGTH = 8;

const OFFSET_MASK = 0xfff8;
const RESERVED_MASK = 0x0006;
const MORE_FRAGMENTS = 0x0001;

/** True when both reserved parts are zero; the 8 octets at `offset` must be present. */
export function isTunnelFragmentValid(bytes: Uint8Array, offset: number): boolean {
  return readU16(bytes, offset) === 0 && (readU16(bytes, offset + 2) & RESERVED_MASK) === 0;
}

/** Reads the 8 octets at `offset`. */
export function readTunnelFragment(bytes: Uint8Array, offset: number): FragmentInfo {
  const word = readU16(bytes, offset + 2);
  return {
    offset: word & OFFSET_MASK,
    moreFragments: (word & MORE_FRAGMENTS) !== 0,
    identification: readU32(bytes, offset + 4),
  };
}

/** Fills 8 octets at `offset`. */
export function writeTunnelFragmentInto(
  bytes: Uint8Array,
  offset: number,
  fragment: FragmentInfo,
): void {
  writeU16(bytes, offset, 0);
  writeU16(bytes, offset + 2, fragment.offset | (fragment.moreFragments ? MORE_FRAGMENTS : 0));
  writeU32(bytes, offset + 4, fragment.identification);
}
