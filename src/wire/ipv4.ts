/**
 * IPv4 header, RFC 791 3.1, with the checks of spec/tunnel.md 3.1 and the fields of 3.4.
 *
 *   0      version 4 (4 bits), header length in words (4)     1  DSCP and ECN
 *   2-3    total length                                       4-5  identification
 *   6-7    reserved, DF, MF (1 bit each), fragment offset in units of 8 octets (13)
 *   8      TTL        9  protocol                             10-11  header checksum
 *   12-15  source     16-19  destination                      20-  options, to the header length
 */

import type { DropReason } from "../base/drop-reason.js";
import { copyAddress, type IpAddress } from "../base/ip.js";
import { readU16, writeU16 } from "./bytes.js";
import { invertSum, sumBytes } from "./checksum.js";
import type { FragmentInfo, NativePacket } from "./packet-fields.js";

export const IPV4_VERSION_OFFSET = 0;
export const IPV4_TOS_OFFSET = 1;
export const IPV4_LENGTH_OFFSET = 2;
export const IPV4_IDENTIFICATION_OFFSET = 4;
export const IPV4_FRAGMENT_OFFSET = 6;
export const IPV4_TTL_OFFSET = 8;
export const IPV4_PROTOCOL_OFFSET = 9;
export const IPV4_CHECKSUM_OFFSET = 10;
export const IPV4_SOURCE_OFFSET = 12;
export const IPV4_DESTINATION_OFFSET = 16;
/** Length of a header without options. */
export const IPV4_HEADER_LENGTH = IPV4_DESTINATION_OFFSET + 4;

/** Version 4 and a header of five words. */
const VERSION_AND_LENGTH = 0x45;
export const IPV4_DONT_FRAGMENT = 0x4000;
export const IPV4_MORE_FRAGMENTS = 0x2000;
const OFFSET_MASK = 0x1fff;

/** Option types (RFC 791 3.1): the list's end, padding, and the two source routes. */
const OPTION_END = 0;
const OPTION_PADDING = 1;
const OPTION_LOOSE_SOURCE_ROUTE = 131;
const OPTION_STRICT_SOURCE_ROUTE = 137;

/** Header length in octets; meaningful once 20 octets are known to be present. */
export function ipv4HeaderLength(view: DataView, offset: number): number {
  return (view.getUint8(offset) & 0x0f) * 4;
}

export function ipv4TotalLength(view: DataView, offset: number): number {
  return view.getUint16(offset + IPV4_LENGTH_OFFSET);
}

export function ipv4Ttl(view: DataView, offset: number): number {
  return view.getUint8(offset + IPV4_TTL_OFFSET);
}

export function ipv4Protocol(view: DataView, offset: number): number {
  return view.getUint8(offset + IPV4_PROTOCOL_OFFSET);
}

/** Flags and fragment offset as the 16-bit word of the header. */
export function ipv4FragmentWord(view: DataView, offset: number): number {
  return view.getUint16(offset + IPV4_FRAGMENT_OFFSET);
}

export function ipv4Source(view: DataView, offset: number): number {
  return view.getUint32(offset + IPV4_SOURCE_OFFSET);
}

export function ipv4Destination(view: DataView, offset: number): number {
  return view.getUint32(offset + IPV4_DESTINATION_OFFSET);
}

/**
 * Checks an IPv4 packet and reads it. `isQuote` is the lax mode of spec/tunnel.md 3.1: the packet
 * may end before its total length. Options other than source routes are left out of the value.
 * The header checksum is not verified (3.1: the kernel did). Borrows `bytes` for the payload.
 */
export function parseIpv4(bytes: Uint8Array, isQuote: boolean): NativePacket | DropReason {
  if (bytes.length < IPV4_HEADER_LENGTH) return "local-too-short";
  if (bytes[IPV4_VERSION_OFFSET]! >> 4 !== 4) return "local-bad-version";
  const headerLength = (bytes[IPV4_VERSION_OFFSET]! & 0x0f) * 4;
  if (headerLength < IPV4_HEADER_LENGTH) return "local-ip-options";
  const totalLength = readU16(bytes, IPV4_LENGTH_OFFSET);
  const isLengthGood = isQuote ? totalLength >= bytes.length : totalLength === bytes.length;
  if (!isLengthGood || bytes.length < headerLength) return "local-bad-length";
  if (!areOptionsRemovable(bytes, headerLength)) return "local-ip-options";
  return readIpv4Fields(bytes, headerLength, totalLength);
}

function readIpv4Fields(bytes: Uint8Array, headerLength: number, totalLength: number) {
  const word = readU16(bytes, IPV4_FRAGMENT_OFFSET);
  const packet: NativePacket = {
    version: 4,
    source: copyAddress(bytes, IPV4_SOURCE_OFFSET, 4),
    destination: copyAddress(bytes, IPV4_DESTINATION_OFFSET, 4),
    trafficClass: bytes[IPV4_TOS_OFFSET]!,
    ttl: bytes[IPV4_TTL_OFFSET]!,
    protocol: bytes[IPV4_PROTOCOL_OFFSET]!,
    dontFragment: (word & IPV4_DONT_FRAGMENT) !== 0,
    fragment: ipv4Fragment(word, readU16(bytes, IPV4_IDENTIFICATION_OFFSET)),
    payloadLength: totalLength - headerLength,
    payload: bytes.subarray(headerLength),
  };
  return packet;
}

/** A fragment has an offset or MF (spec/tunnel.md 3.2). */
function ipv4Fragment(word: number, identification: number): FragmentInfo | undefined {
  if ((word & (OFFSET_MASK | IPV4_MORE_FRAGMENTS)) === 0) return undefined;
  const moreFragments = (word & IPV4_MORE_FRAGMENTS) !== 0;
  return { offset: (word & OFFSET_MASK) * 8, moreFragments, identification };
}

/** spec/tunnel.md 3.1 step 3: well-formed options without a source route. */
function areOptionsRemovable(bytes: Uint8Array, headerLength: number): boolean {
  let index = IPV4_HEADER_LENGTH;
  while (index < headerLength) {
    const type = bytes[index]!;
    if (type === OPTION_END) return true;
    if (type === OPTION_LOOSE_SOURCE_ROUTE || type === OPTION_STRICT_SOURCE_ROUTE) return false;
    const length = type === OPTION_PADDING ? 1 : (bytes[index + 1] ?? 0);
    if (type !== OPTION_PADDING && length < 2) return false;
    index += length;
  }
  return index === headerLength;
}

/** What an IPv4 header is written from; lengths follow from the payload. */
export interface Ipv4Header {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly trafficClass: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly dontFragment: boolean;
  /** Octets. */
  readonly fragmentOffset: number;
  readonly moreFragments: boolean;
  /** 16 bits. */
  readonly identification: number;
}

/** Builds a packet: a header without options, its checksum, and a copy of `payload`. */
export function buildIpv4(header: Ipv4Header, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(IPV4_HEADER_LENGTH + payload.length);
  bytes[IPV4_VERSION_OFFSET] = VERSION_AND_LENGTH;
  bytes[IPV4_TOS_OFFSET] = header.trafficClass;
  writeU16(bytes, IPV4_LENGTH_OFFSET, bytes.length);
  writeU16(bytes, IPV4_IDENTIFICATION_OFFSET, header.identification);
  const flags =
    (header.dontFragment ? IPV4_DONT_FRAGMENT : 0) |
    (header.moreFragments ? IPV4_MORE_FRAGMENTS : 0);
  writeU16(bytes, IPV4_FRAGMENT_OFFSET, flags | (header.fragmentOffset >> 3));
  bytes[IPV4_TTL_OFFSET] = header.ttl;
  bytes[IPV4_PROTOCOL_OFFSET] = header.protocol;
  bytes.set(header.source.bytes, IPV4_SOURCE_OFFSET);
  bytes.set(header.destination.bytes, IPV4_DESTINATION_OFFSET);
  writeU16(bytes, IPV4_CHECKSUM_OFFSET, invertSum(sumBytes(bytes, 0, IPV4_HEADER_LENGTH)));
  bytes.set(payload, IPV4_HEADER_LENGTH);
  return bytes;
}
