/**
 * What a native packet must be to enter the tunnel, before any address is looked up: steps 1 to
 * 14, 16 and 17 of spec/tunnel.md 3.1.
 */

import type { DropReason } from "../base/drop-reason.js";
import {
  type IpAddress,
  isLinkLocalMulticast,
  isLinkLocalUnicast,
  isPacketUnicast,
  prefixContains,
} from "../base/ip.js";
import { parseIpv4 } from "../wire/ipv4.js";
import { parseIpv6 } from "../wire/ipv6.js";
import {
  type FragmentInfo,
  IP_LENGTH_MAX,
  type NativePacket,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
} from "../wire/packet-fields.js";
import { isOwnEncoded } from "./addresses.js";
import type { TranslationScope } from "./settings.js";

/** Next header values of extension headers other than fragment (RFC 8200 4, RFC 7045 4). */
const EXTENSION_HEADERS: ReadonlySet<number> = new Set([0, 43, 60, 135, 139, 140]);

/** The mark "congestion experienced" of the traffic class (RFC 3168 5). */
const ECN_MASK = 0x03;
const ECN_CONGESTION = 0x03;

/** Steps 1 to 8; `isQuote` is the lax mode. Borrows `bytes`. */
export function parseNative(
  bytes: Uint8Array,
  scope: Pick<TranslationScope, "settings">,
  isQuote: boolean,
): NativePacket | DropReason {
  return scope.settings.localVersion === 4 ? parseIpv4(bytes, isQuote) : parseIpv6(bytes, isQuote);
}

/** Steps 9 to 14, 16 and 17 for a whole packet; undefined: no objection. */
export function refuseNative(
  packet: NativePacket,
  scope: TranslationScope,
): DropReason | undefined {
  if (!isFragmentPossible(packet.fragment, packet.payloadLength)) return "local-bad-fragment";
  const { settings } = scope;
  if (!isOwnEncoded(scope, packet.source)) {
    const refusal = refuseSource(packet.source, scope);
    if (refusal !== undefined) return refusal;
  }
  if (isOwnEncoded(scope, packet.destination)) return "local-destination-self";
  if (!isPacketUnicast(packet.destination)) return "local-destination-not-unicast";
  const isMarked = (packet.trafficClass & ECN_MASK) === ECN_CONGESTION;
  return isMarked && settings.dropCongestionMarks ? "local-congestion-mark" : undefined;
}

/** Steps 12 to 14. */
function refuseSource(source: IpAddress, scope: TranslationScope): DropReason | undefined {
  if (isLinkLocalUnicast(source) || isLinkLocalMulticast(source)) {
    return "local-source-link-local";
  }
  if (prefixContains(scope.settings.encodeNet, source)) return "local-source-encoded";
  return isPacketUnicast(source) ? undefined : "local-source-not-unicast";
}

/** Steps 9 and 10, and steps 2 and 3 of spec/tunnel.md 3.3. */
export function isFragmentPossible(fragment: FragmentInfo | undefined, length: number): boolean {
  if (fragment === undefined) return true;
  if (fragment.moreFragments && length % 8 !== 0) return false;
  return fragment.offset + length <= IP_LENGTH_MAX;
}

/** Protocol number for the tunnel: ICMPv6 becomes 1 (spec/tunnel.md 3.2). */
export function tunnelProtocol({ version, protocol }: NativePacket): number | DropReason {
  const otherIcmp = version === 4 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP;
  if (protocol === otherIcmp) return "protocol-wrong-version";
  if (version === 4) return protocol;
  if (EXTENSION_HEADERS.has(protocol)) return "local-extension-header";
  return protocol === PROTOCOL_ICMPV6 ? PROTOCOL_ICMP : protocol;
}

/** TTL to write; undefined: it ran out (spec/tunnel.md 3.1, option -dec-ttl). */
export function nextTtl(ttl: number, isDecremented: boolean): number | undefined {
  if (!isDecremented) return ttl;
  return ttl > 1 ? ttl - 1 : undefined;
}
