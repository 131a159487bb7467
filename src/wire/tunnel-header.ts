/**
 * Tunnel header of format G, spec/tunnel.md 2.1, and the rule that tells the formats apart, 2.3.
 *
 *   0      version 1 (4 bits), REFL (2), IF, DF        1  context IP version (4), reserved (4)
 *   2      TTL                                         3  protocol
 *   4-11   fragment information, only with IF
 *   then   source context, destination context: 4 or 16 octets each
 *   then   source reference, destination reference: 4, 8 or 16 octets each
 *   then   layer-4 data, to the end of the UDP payload
 */

import type { DropReason } from "../base/drop-reason.js";
import { addressLength, copyAddress, type IpVersion } from "../base/ip.js";
import type { TunnelFormat, TunnelPacket } from "./packet-fields.js";
import {
  isTunnelFragmentValid,
  readTunnelFragment,
  TUNNEL_BIT_4,
  TUNNEL_DONT_FRAGMENT,
  TUNNEL_FIXED_LENGTH,
  TUNNEL_FRAGMENT_LENGTH,
  TUNNEL_HAS_FRAGMENT,
  TUNNEL_PROTOCOL_OFFSET,
  TUNNEL_REFERENCE_MASK,
  TUNNEL_REFERENCE_SHIFT,
  TUNNEL_TOP_BITS,
  TUNNEL_TTL_OFFSET,
  writeTunnelFragmentInto,
} from "./tunnel-fragment.js";
import {
  type ReferenceLength,
  readWireReference,
  referenceLength,
  referenceLengthCode,
  sharedReferenceLength,
  writeWireReferenceInto,
} from "./wire-reference.js";

/** Octet 1 is the context IP version in the upper half. */
const CONTEXT_VERSION_OFFSET = 1;
const CONTEXTS_IPV4 = 0x40;
const CONTEXTS_IPV6 = 0x60;

/** Shortest header: IPv4 contexts, 4-octet references, no fragment information. */
export const TUNNEL_HEADER_LENGTH_MIN = 20;
/** Longest header: IPv6 contexts, 16-octet references, fragment information. */
export const TUNNEL_HEADER_LENGTH_MAX = 76;
/** spec/tunnel.md 2.3 row 1. */
const DATAGRAM_LENGTH_MIN = 12;

/** Where everything in a format-G header is. */
export interface TunnelLayout {
  readonly contextVersion: IpVersion;
  readonly hasFragment: boolean;
  readonly referenceLength: ReferenceLength;
  readonly sourceContextOffset: number;
  readonly destinationContextOffset: number;
  readonly sourceReferenceOffset: number;
  readonly destinationReferenceOffset: number;
  readonly headerLength: number;
}

/** Format of a datagram from its first two octets alone (spec/tunnel.md 2.3). */
export function classifyTunnel(bytes: Uint8Array): TunnelFormat | DropReason {
  if (bytes.length === 0) return "tunnel-empty";
  if (bytes.length < DATAGRAM_LENGTH_MIN) return "tunnel-too-short";
  const first = bytes[0]!;
  if ((first & TUNNEL_TOP_BITS) !== 0) return "tunnel-bad-version";
  if ((first & TUNNEL_REFERENCE_MASK) === TUNNEL_REFERENCE_MASK) {
    return "tunnel-bad-reference-length";
  }
  if ((first & TUNNEL_BIT_4) === 0) return "D";
  const second = bytes[CONTEXT_VERSION_OFFSET]!;
  if (second === CONTEXTS_IPV4 || second === CONTEXTS_IPV6) return "G";
  if (second === 0) return "D";
  return (second & 0x0f) === 0 ? "tunnel-bad-version" : "tunnel-reserved-bits";
}

/** Layout for a context version, with or without fragment information. */
export function tunnelLayout(
  contextVersion: IpVersion,
  hasFragment: boolean,
  length: ReferenceLength,
): TunnelLayout {
  const source = TUNNEL_FIXED_LENGTH + (hasFragment ? TUNNEL_FRAGMENT_LENGTH : 0);
  const contextLength = addressLength(contextVersion);
  return {
    contextVersion,
    hasFragment,
    referenceLength: length,
    sourceContextOffset: source,
    destinationContextOffset: source + contextLength,
    sourceReferenceOffset: source + 2 * contextLength,
    destinationReferenceOffset: source + 2 * contextLength + length,
    headerLength: source + 2 * contextLength + 2 * length,
  };
}

/** Every check of spec/tunnel.md 2.1; after it the layout's offsets lie inside the packet. */
export function checkTunnelHeader(bytes: Uint8Array): TunnelLayout | DropReason {
  if (bytes.length < TUNNEL_HEADER_LENGTH_MIN) return "tunnel-too-short";
  const [first, second] = [bytes[0]!, bytes[CONTEXT_VERSION_OFFSET]!];
  if (first >> 4 !== 1) return "tunnel-bad-version";
  const length = referenceLength((first & TUNNEL_REFERENCE_MASK) >> TUNNEL_REFERENCE_SHIFT);
  if (length === undefined) return "tunnel-bad-reference-length";
  if ((second & 0x0f) !== 0) return "tunnel-reserved-bits";
  if (second !== CONTEXTS_IPV4 && second !== CONTEXTS_IPV6) return "tunnel-context-version";
  const hasFragment = (first & TUNNEL_HAS_FRAGMENT) !== 0;
  const layout = tunnelLayout(second === CONTEXTS_IPV4 ? 4 : 6, hasFragment, length);
  if (bytes.length < layout.headerLength) return "tunnel-too-short";
  if (hasFragment && !isTunnelFragmentValid(bytes, TUNNEL_FIXED_LENGTH)) {
    return "tunnel-reserved-bits";
  }
  return layout;
}

/** Checks and reads a format-G packet. Borrows `bytes` for the payload. */
export function parseTunnel(bytes: Uint8Array): TunnelPacket | DropReason {
  const layout = checkTunnelHeader(bytes);
  if (typeof layout === "string") return layout;
  const { contextVersion: version, referenceLength: length } = layout;
  return {
    source: {
      context: copyAddress(bytes, layout.sourceContextOffset, version),
      reference: readWireReference(bytes, layout.sourceReferenceOffset, length),
    },
    destination: {
      context: copyAddress(bytes, layout.destinationContextOffset, version),
      reference: readWireReference(bytes, layout.destinationReferenceOffset, length),
    },
    ttl: bytes[TUNNEL_TTL_OFFSET]!,
    protocol: bytes[TUNNEL_PROTOCOL_OFFSET]!,
    dontFragment: (bytes[0]! & TUNNEL_DONT_FRAGMENT) !== 0,
    fragment: layout.hasFragment ? readTunnelFragment(bytes, TUNNEL_FIXED_LENGTH) : undefined,
    headerLength: layout.headerLength,
    payload: bytes.subarray(layout.headerLength),
  };
}

/** What a tunnel header is written from; both contexts have one IP version. */
export type TunnelHeader = Omit<TunnelPacket, "headerLength" | "payload">;

/** Builds a format-G packet: the shortest header that fits, and a copy of `payload`. */
export function buildTunnel(header: TunnelHeader, payload: Uint8Array): Uint8Array {
  const { source, destination, fragment } = header;
  const length = sharedReferenceLength(source.reference, destination.reference);
  const version = source.context.version;
  const layout = tunnelLayout(version, fragment !== undefined, length);
  const bytes = new Uint8Array(layout.headerLength + payload.length);
  bytes[0] =
    TUNNEL_BIT_4 |
    (referenceLengthCode(length) << TUNNEL_REFERENCE_SHIFT) |
    (fragment ? TUNNEL_HAS_FRAGMENT : 0) |
    (header.dontFragment ? TUNNEL_DONT_FRAGMENT : 0);
  bytes[CONTEXT_VERSION_OFFSET] = version === 4 ? CONTEXTS_IPV4 : CONTEXTS_IPV6;
  bytes[TUNNEL_TTL_OFFSET] = header.ttl;
  bytes[TUNNEL_PROTOCOL_OFFSET] = header.protocol;
  if (fragment) writeTunnelFragmentInto(bytes, TUNNEL_FIXED_LENGTH, fragment);
  bytes.set(source.context.bytes, layout.sourceContextOffset);
  bytes.set(destination.context.bytes, layout.destinationContextOffset);
  writeWireReferenceInto(bytes, layout.sourceReferenceOffset, source.reference, length);
  writeWireReferenceInto(bytes, layout.destinationReferenceOffset, destination.reference, length);
  bytes.set(payload, layout.headerLength);
  return bytes;
}
