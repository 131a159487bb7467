/**
 * The MTU inside "too big" messages, exact forms of spec/tunnel.md 4.7.
 *
 *   m  MTU of a native message, octets of the native packet
 *   W  MTU on the wire. Format G: octets of the tunnel packet. Format D: octets as if it were IPv4
 *   h  tunnel header of the quoted packet, fragment information included
 *   n  native IPv6 header of the quoted packet: 40, or 48 with a fragment header
 */

import type { IpVersion } from "../base/ip.js";
import { IPV4_HEADER_LENGTH } from "../wire/ipv4.js";
import { IPV6_FRAGMENT_HEADER_LENGTH, IPV6_HEADER_LENGTH, IPV6_MTU_MIN } from "../wire/ipv6.js";
import type { TunnelFormat } from "../wire/packet-fields.js";

/** Smallest MTU of an IPv4 link (RFC 791 3.2). */
export const IPV4_MTU_MIN = 68;
const MTU_MAX = 65_535;

/** Common values to step down to when a router names none (spec/tunnel.md 4.7). */
const PLATEAUS = [1492, 1280, 1006, 576, 296] as const;

/** What the quoted packet contributes to the arithmetic. */
export interface QuoteSizes {
  /** h of the file header. */
  readonly tunnelHeaderLength: number;
  readonly hasFragment: boolean;
}

/** Header of a native packet without options, 48 for an IPv6 fragment. */
export function nativeHeaderLength(version: IpVersion, hasFragment: boolean): number {
  if (version === 4) return IPV4_HEADER_LENGTH;
  return IPV6_HEADER_LENGTH + (hasFragment ? IPV6_FRAGMENT_HEADER_LENGTH : 0);
}

/** From a native message to the wire; undefined: no usable value, drop. */
export function mtuToTunnel(
  nativeMtu: number,
  version: IpVersion,
  format: TunnelFormat,
  quote: QuoteSizes,
): number | undefined {
  if (format === "D") {
    if (version === 4) return nativeMtu > 0 ? nativeMtu : undefined;
    return nativeMtu < IPV6_MTU_MIN ? undefined : nativeMtu - 20;
  }
  const dataLength = nativeMtu - nativeHeaderLength(version, quote.hasFragment);
  if (dataLength <= 0) return undefined;
  return Math.min(MTU_MAX, dataLength + quote.tunnelHeaderLength);
}

/** An announced MTU: `exact` is what the path carries, `announced` what hosts accept. */
export interface NativeMtu {
  readonly exact: number;
  readonly announced: number;
}

/** From the wire to a native message, with the lower bounds; undefined: no usable value, drop. */
export function mtuToNative(
  tunnelMtu: number,
  version: IpVersion,
  format: TunnelFormat,
  quote: QuoteSizes,
): NativeMtu | undefined {
  const exact = exactNativeMtu(tunnelMtu, version, format, quote);
  if (exact === undefined) return undefined;
  const least = version === 4 ? IPV4_MTU_MIN : IPV6_MTU_MIN;
  return { exact, announced: Math.min(MTU_MAX, Math.max(least, exact)) };
}

function exactNativeMtu(
  tunnelMtu: number,
  version: IpVersion,
  format: TunnelFormat,
  quote: QuoteSizes,
): number | undefined {
  if (format === "D") {
    if (tunnelMtu === 0) return undefined;
    return version === 4 ? tunnelMtu : tunnelMtu + 20;
  }
  const dataLength = tunnelMtu - quote.tunnelHeaderLength;
  if (dataLength <= 0) return undefined;
  return dataLength + nativeHeaderLength(version, quote.hasFragment);
}

/** The gateway's own "too big" for a packet that exceeds `largestBytes` (M). */
export function ownTunnelMtu(
  largestBytes: number,
  format: TunnelFormat,
  tunnelHeaderLength: number,
): number {
  return format === "G" ? largestBytes : Math.max(0, largestBytes - tunnelHeaderLength + 20);
}

/** Stand-in for an IPv4 MTU of 0: the next common value below the quoted total length. */
export function plateauBelow(totalLength: number): number {
  return PLATEAUS.find((plateau) => plateau < totalLength) ?? IPV4_MTU_MIN;
}
