/**
 * Native packets written by decapsulation (spec/tunnel.md 3.4): DSCP, ECN and flow label are zero.
 */

import type { IpAddress, IpVersion } from "../base/ip.js";
import { buildIpv4 } from "../wire/ipv4.js";
import { buildIpv6, IPV6_HEADER_LENGTH } from "../wire/ipv6.js";
import {
  type FragmentInfo,
  IP_LENGTH_MAX,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
} from "../wire/packet-fields.js";
import { nativeHeaderLength } from "./path-mtu.js";

/** What a native header is written from. */
export interface NativeFields {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly ttl: number;
  /** As in the tunnel: ICMP and ICMPv6 are 1. */
  readonly protocol: number;
  readonly dontFragment: boolean;
  readonly fragment: FragmentInfo | undefined;
  /** Identification of an unfragmented IPv4 packet, 16 bits. */
  readonly identification: number;
}

/** The protocol number in packets of this version. */
export function nativeProtocol(tunnelProtocol: number, version: IpVersion): number {
  return tunnelProtocol === PROTOCOL_ICMP && version === 6 ? PROTOCOL_ICMPV6 : tunnelProtocol;
}

/** Step 14 of spec/tunnel.md 3.3: the length field of the native header can hold the packet. */
export function fitsNative(version: IpVersion, isFragment: boolean, payloadLength: number) {
  const header = nativeHeaderLength(version, isFragment);
  const counted = version === 4 ? header : header - IPV6_HEADER_LENGTH;
  return counted + payloadLength <= IP_LENGTH_MAX;
}

/** Builds a packet of the version of its addresses, with a copy of `payload`. */
export function buildNative(fields: NativeFields, payload: Uint8Array): Uint8Array {
  const { source, destination, ttl, fragment, dontFragment } = fields;
  const protocol = nativeProtocol(fields.protocol, source.version);
  if (source.version === 6) {
    const header = { source, destination, trafficClass: 0, flowLabel: 0, ttl, protocol, fragment };
    return buildIpv6(header, payload);
  }
  const header = {
    source,
    destination,
    trafficClass: 0,
    ttl,
    protocol,
    dontFragment,
    fragmentOffset: fragment?.offset ?? 0,
    moreFragments: fragment?.moreFragments ?? false,
    identification: (fragment?.identification ?? fields.identification) & 0xffff,
  };
  return buildIpv4(header, payload);
}
