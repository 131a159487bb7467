/**
 * Fragmentation by the gateway: of tunnel packets that exceed the path to a remote gateway
 * (spec/tunnel.md 7.5), and of IPv6 packets that exceed the path to a local host (7.7). The
 * checksum is translated before; every fragment becomes a native fragment at the far side.
 */

import type { DropReason } from "../base/drop-reason.js";
import type { IpVersion } from "../base/ip.js";
import { buildIpv6, parseIpv6 } from "../wire/ipv6.js";
import type { FragmentInfo, TunnelFormat } from "../wire/packet-fields.js";
import { TUNNEL_FRAGMENT_LENGTH } from "../wire/tunnel-fragment.js";
import { buildTunnelPacket, parseTunnelPacket } from "../wire/tunnel-packet.js";
import { nativeHeaderLength } from "./path-mtu.js";

/** Fragments hold multiples of 8 octets, the last one excepted (RFC 791 3.2). */
const FRAGMENT_UNIT = 8;

/** One piece of layer-4 data and its place in the datagram. */
interface Piece {
  readonly fragment: FragmentInfo;
  readonly payload: Uint8Array;
}

/**
 * Fragments of a tunnel packet, none longer than `largestBytes` (M); the packet itself when it
 * fits. DF is cleared: it is set only on small IPv6 packets here (4.7). `identification` is used
 * for a packet that is no fragment yet.
 */
export function fragmentTunnel(
  packet: Uint8Array,
  largestBytes: number,
  format: TunnelFormat,
  tunnelVersion: IpVersion,
  identification: number,
): readonly Uint8Array[] | DropReason {
  if (packet.length <= largestBytes) return [packet];
  const tunnel = parseTunnelPacket(packet, format, tunnelVersion);
  if (typeof tunnel === "string") return tunnel;
  const added = tunnel.fragment === undefined ? TUNNEL_FRAGMENT_LENGTH : 0;
  const room = largestBytes - tunnel.headerLength - added;
  const whole = tunnel.fragment ?? { offset: 0, moreFragments: false, identification };
  const pieces = divide({ fragment: whole, payload: tunnel.payload }, room);
  if (pieces === undefined) return "fragment-no-room";
  return pieces.map(({ fragment, payload }) => {
    return buildTunnelPacket({ ...tunnel, dontFragment: false, fragment }, payload, format);
  });
}

/**
 * Fragments of an IPv6 packet, none longer than `mtuBytes`; the packet itself when it fits. For
 * packets that came with DF = 0 (7.7).
 */
export function fragmentIpv6(
  packet: Uint8Array,
  mtuBytes: number,
  identification: number,
): readonly Uint8Array[] | DropReason {
  if (packet.length <= mtuBytes) return [packet];
  const native = parseIpv6(packet, false);
  if (typeof native === "string") return native;
  const room = mtuBytes - nativeHeaderLength(6, true);
  const whole = native.fragment ?? { offset: 0, moreFragments: false, identification };
  const pieces = divide({ fragment: whole, payload: native.payload }, room);
  if (pieces === undefined) return "fragment-no-room";
  const { source, destination, trafficClass, ttl, protocol } = native;
  const header = { source, destination, trafficClass, flowLabel: 0, ttl, protocol };
  return pieces.map(({ fragment, payload }) => buildIpv6({ ...header, fragment }, payload));
}

/**
 * Divides layer-4 data into pieces of at most `room` octets as spec/tunnel.md 7.5 does: half of
 * what is left, rounded up to the unit, or as much as fits. Undefined: no room for a single unit.
 */
function divide(whole: Piece, room: number): readonly Piece[] | undefined {
  const pieces: Piece[] = [];
  let { fragment, payload } = whole;
  while (payload.length > room) {
    const half = roundUp(payload.length / 2);
    const length = half <= room ? half : roundDown(room);
    if (length <= 0 || length >= payload.length) return undefined;
    pieces.push({
      fragment: { ...fragment, moreFragments: true },
      payload: payload.subarray(0, length),
    });
    fragment = { ...fragment, offset: fragment.offset + length };
    payload = payload.subarray(length);
  }
  pieces.push({ fragment, payload });
  return pieces;
}

function roundUp(length: number): number {
  return Math.ceil(length / FRAGMENT_UNIT) * FRAGMENT_UNIT;
}

function roundDown(length: number): number {
  return Math.floor(length / FRAGMENT_UNIT) * FRAGMENT_UNIT;
}
