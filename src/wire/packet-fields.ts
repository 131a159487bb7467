/**
 * Packets as plain values: what remains of a header when its bytes are read, and what is needed to
 * write one. The cold side of the wire files; the forwarding workers use offsets instead.
 */

import type { IpAddress, IpVersion } from "../base/ip.js";
import type { IprefAddress } from "../base/reference.js";

/** IP protocol numbers (IANA "Assigned Internet Protocol Numbers"). */
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;

/** The largest IP length field, and the end that no fragment may exceed (RFC 791, RFC 8200 4.5). */
export const IP_LENGTH_MAX = 65_535;

/** Position of a fragment. `offset` is in octets and a multiple of 8. */
export interface FragmentInfo {
  readonly offset: number;
  readonly moreFragments: boolean;
  /** 32 bits; from IPv4 the upper 16 are zero (spec/tunnel.md 3.2). */
  readonly identification: number;
}

/** A native packet: IPv4 or IPv6 on the local network side. */
export interface NativePacket {
  readonly version: IpVersion;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  /** DSCP in the upper six bits, ECN in the lower two. */
  readonly trafficClass: number;
  readonly ttl: number;
  /** The layer-4 protocol, behind an IPv6 fragment header when there is one. */
  readonly protocol: number;
  readonly dontFragment: boolean;
  readonly fragment: FragmentInfo | undefined;
  /** Layer-4 octets the IP header announces; more than `payload` has only in a cut quote. */
  readonly payloadLength: number;
  /** Layer-4 data; borrowed from the packet. */
  readonly payload: Uint8Array;
}

/** The two formats of spec/tunnel.md: the deployed one and that of the IETF draft. */
export type TunnelFormat = "G" | "D";

/** A tunnel packet. Contexts that are absent (format D) are all-zero addresses. */
export interface TunnelPacket {
  readonly source: IprefAddress;
  readonly destination: IprefAddress;
  readonly ttl: number;
  /** ICMPv6 travels as protocol 1 (spec/tunnel.md 3.2). */
  readonly protocol: number;
  readonly dontFragment: boolean;
  readonly fragment: FragmentInfo | undefined;
  /** Octets in front of `payload`, fragment information included. */
  readonly headerLength: number;
  /** Layer-4 data; borrowed from the packet. */
  readonly payload: Uint8Array;
}

/** True for a fragment that is not the first. */
export function isLaterFragment(fragment: FragmentInfo | undefined): boolean {
  return fragment !== undefined && fragment.offset > 0;
}

/** True when the packet holds its whole layer-4 datagram: no fragment, or an atomic one. */
export function isWholeDatagram(fragment: FragmentInfo | undefined): boolean {
  return fragment === undefined || (fragment.offset === 0 && !fragment.moreFragments);
}
