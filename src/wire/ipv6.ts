/**
 * IPv6 header (RFC 8200 3) and fragment header (4.5), with the checks of spec/tunnel.md 3.1 and
 * the fields of 3.4.
 *
 *   0-3    version 6 (4 bits), traffic class (8), flow label (20)
 *   4-5    payload length        6  next header        7  hop limit
 *   8-23   source                24-39  destination
 *
 *   Fragment header: 0 next header, 1 reserved, 2-3 offset (13 bits, units of 8 octets), reserved
 *   (2), MF (1), 4-7 identification. Octets 2-3 equal the offset in octets or-ed with MF.
 */

import type { DropReason } from "../base/drop-reason.js";
import { copyAddress, type IpAddress } from "../base/ip.js";
import { readU16, readU32, writeU16, writeU32 } from "./bytes.js";
import type { FragmentInfo, NativePacket } from "./packet-fields.js";

export const IPV6_VERSION_OFFSET = 0;
export const IPV6_LENGTH_OFFSET = 4;
export const IPV6_NEXT_HEADER_OFFSET = 6;
export const IPV6_HOP_LIMIT_OFFSET = 7;
export const IPV6_SOURCE_OFFSET = 8;
export const IPV6_DESTINATION_OFFSET = 24;
export const IPV6_HEADER_LENGTH = IPV6_DESTINATION_OFFSET + 16;

const FRAGMENT_RESERVED_OFFSET = 1;
const FRAGMENT_OFFSET_OFFSET = 2;
const FRAGMENT_IDENTIFICATION_OFFSET = 4;
export const IPV6_FRAGMENT_HEADER_LENGTH = FRAGMENT_IDENTIFICATION_OFFSET + 4;

/** Next header value of the fragment header (RFC 8200 4.5). */
export const NEXT_HEADER_FRAGMENT = 44;
const OFFSET_MASK = 0xfff8;
const MORE_FRAGMENTS = 1;

/** Smallest MTU of an IPv6 link (RFC 8200 5). */
export const IPV6_MTU_MIN = 1280;

export function ipv6PayloadLength(view: DataView, offset: number): number {
  return view.getUint16(offset + IPV6_LENGTH_OFFSET);
}

export function ipv6NextHeader(view: DataView, offset: number): number {
  return view.getUint8(offset + IPV6_NEXT_HEADER_OFFSET);
}

export function ipv6HopLimit(view: DataView, offset: number): number {
  return view.getUint8(offset + IPV6_HOP_LIMIT_OFFSET);
}

/**
 * Checks an IPv6 packet and reads it, a fragment header included; other extension headers are left
 * to the check of the protocol number (spec/tunnel.md 4.9). `isQuote` is the lax mode of 3.1: the
 * packet may end before its payload length. Borrows `bytes` for the payload.
 */
export function parseIpv6(bytes: Uint8Array, isQuote: boolean): NativePacket | DropReason {
  if (bytes.length < IPV6_HEADER_LENGTH) return "local-too-short";
  if (bytes[IPV6_VERSION_OFFSET]! >> 4 !== 6) return "local-bad-version";
  const payloadLength = readU16(bytes, IPV6_LENGTH_OFFSET);
  const totalLength = IPV6_HEADER_LENGTH + payloadLength;
  const isLengthGood = isQuote ? totalLength >= bytes.length : totalLength === bytes.length;
  if (payloadLength === 0 || !isLengthGood) return "local-bad-length";
  if (bytes[IPV6_NEXT_HEADER_OFFSET] !== NEXT_HEADER_FRAGMENT) {
    return readIpv6Fields(bytes, bytes[IPV6_NEXT_HEADER_OFFSET]!, undefined, payloadLength);
  }
  if (bytes.length < IPV6_HEADER_LENGTH + IPV6_FRAGMENT_HEADER_LENGTH) return "local-bad-fragment";
  const inner = bytes[IPV6_HEADER_LENGTH]!;
  if (inner === NEXT_HEADER_FRAGMENT) return "local-bad-fragment";
  const fragment = readFragmentHeader(bytes, IPV6_HEADER_LENGTH);
  return readIpv6Fields(bytes, inner, fragment, payloadLength - IPV6_FRAGMENT_HEADER_LENGTH);
}

/** Reads the offset field and identification; reserved bits are ignored (spec/tunnel.md 3.1). */
function readFragmentHeader(bytes: Uint8Array, offset: number): FragmentInfo {
  const word = readU16(bytes, offset + FRAGMENT_OFFSET_OFFSET);
  return {
    offset: word & OFFSET_MASK,
    moreFragments: (word & MORE_FRAGMENTS) !== 0,
    identification: readU32(bytes, offset + FRAGMENT_IDENTIFICATION_OFFSET),
  };
}

function readIpv6Fields(
  bytes: Uint8Array,
  protocol: number,
  fragment: FragmentInfo | undefined,
  payloadLength: number,
): NativePacket {
  const headers = IPV6_HEADER_LENGTH + (fragment ? IPV6_FRAGMENT_HEADER_LENGTH : 0);
  return {
    version: 6,
    source: copyAddress(bytes, IPV6_SOURCE_OFFSET, 6),
    destination: copyAddress(bytes, IPV6_DESTINATION_OFFSET, 6),
    trafficClass: (readU16(bytes, IPV6_VERSION_OFFSET) >> 4) & 0xff,
    ttl: bytes[IPV6_HOP_LIMIT_OFFSET]!,
    protocol,
    dontFragment: true,
    fragment,
    payloadLength,
    payload: bytes.subarray(headers),
  };
}

/** What an IPv6 header is written from; the length follows from the payload. */
export interface Ipv6Header {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly trafficClass: number;
  /** 20 bits. */
  readonly flowLabel: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly fragment: FragmentInfo | undefined;
}

/** Builds a packet: header, fragment header when asked for, and a copy of `payload`. */
export function buildIpv6(header: Ipv6Header, payload: Uint8Array): Uint8Array {
  const { fragment } = header;
  const fragmentLength = fragment ? IPV6_FRAGMENT_HEADER_LENGTH : 0;
  const bytes = new Uint8Array(IPV6_HEADER_LENGTH + fragmentLength + payload.length);
  const firstWord = 0x6000_0000 + header.trafficClass * 0x10_0000 + header.flowLabel;
  writeU32(bytes, IPV6_VERSION_OFFSET, firstWord);
  writeU16(bytes, IPV6_LENGTH_OFFSET, bytes.length - IPV6_HEADER_LENGTH);
  bytes[IPV6_NEXT_HEADER_OFFSET] = fragment ? NEXT_HEADER_FRAGMENT : header.protocol;
  bytes[IPV6_HOP_LIMIT_OFFSET] = header.ttl;
  bytes.set(header.source.bytes, IPV6_SOURCE_OFFSET);
  bytes.set(header.destination.bytes, IPV6_DESTINATION_OFFSET);
  if (fragment) writeFragmentHeaderInto(bytes, IPV6_HEADER_LENGTH, header.protocol, fragment);
  bytes.set(payload, IPV6_HEADER_LENGTH + fragmentLength);
  return bytes;
}

/** Fills the 8 octets of a fragment header at `offset`. */
function writeFragmentHeaderInto(
  bytes: Uint8Array,
  offset: number,
  protocol: number,
  fragment: FragmentInfo,
): void {
  bytes[offset] = protocol;
  bytes[offset + FRAGMENT_RESERVED_OFFSET] = 0;
  const word = fragment.offset | (fragment.moreFragments ? MORE_FRAGMENTS : 0);
  writeU16(bytes, offset + FRAGMENT_OFFSET_OFFSET, word);
  writeU32(bytes, offset + FRAGMENT_IDENTIFICATION_OFFSET, fragment.identification);
}
