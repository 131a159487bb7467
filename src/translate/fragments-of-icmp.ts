/**
 * Fragments of ICMP messages as the holder of them sees them (spec/tunnel.md 4.8, 9 S16): the
 * checksum of an ICMPv6 echo is in its first fragment and depends on a length that only its last
 * fragment tells; and the later fragments of a refused message must not pass.
 */

import { addressKey, type IpAddress } from "../base/ip.js";
import type { IprefAddress } from "../base/reference.js";
import { type FragmentInfo, isWholeDatagram, PROTOCOL_ICMP } from "../wire/packet-fields.js";

/** One fragment of an ICMP message. */
export interface IcmpFragment {
  /** Equal for the fragments of one message: source, destination and identification. */
  readonly key: string;
  readonly part: "first" | "middle" | "last";
  /** Length of the whole message; known from the last fragment. */
  readonly totalLength: number | undefined;
}

/** Describes a fragment of ICMP; undefined for anything else, atomic fragments included. */
export function icmpFragment(
  protocol: number,
  fragment: FragmentInfo | undefined,
  payloadLength: number,
  endsKey: string,
): IcmpFragment | undefined {
  if (protocol !== PROTOCOL_ICMP || fragment === undefined || isWholeDatagram(fragment)) {
    return undefined;
  }
  const key = `${endsKey}|${fragment.identification}`;
  if (fragment.offset === 0) return { key, part: "first", totalLength: undefined };
  if (fragment.moreFragments) return { key, part: "middle", totalLength: undefined };
  return { key, part: "last", totalLength: fragment.offset + payloadLength };
}

/** Key of the two ends of a native packet. */
export function nativeEndsKey(source: IpAddress, destination: IpAddress): string {
  return `${addressKey(source)}|${addressKey(destination)}`;
}

/** Key of the two ends of a tunnel packet whose contexts are resolved. */
export function tunnelEndsKey(source: IprefAddress, destination: IprefAddress): string {
  return `${iprefKey(source)}|${iprefKey(destination)}`;
}

function iprefKey({ context, reference }: IprefAddress): string {
  return `${addressKey(context)}+${reference.toString(16)}`;
}
