/**
 * From the local network into the tunnel: encapsulation of whole packets (spec/tunnel.md 3.1, 3.2,
 * 4). Pure: addresses come from a lookup, identifications from the caller. The destination is
 * looked up first; the only step that creates state, the reference of the source, is the last.
 */

import type { IpAddress } from "../base/ip.js";
import type { IprefAddress } from "../base/reference.js";
import { readU16 } from "../wire/bytes.js";
import { ICMP_HEADER_LENGTH, ICMP_TYPE_OFFSET } from "../wire/icmp.js";
import { IPV6_MTU_MIN } from "../wire/ipv6.js";
import { isLaterFragment, type NativePacket, PROTOCOL_ICMP } from "../wire/packet-fields.js";
import type { TunnelHeader } from "../wire/tunnel-header.js";
import { buildTunnelPacket } from "../wire/tunnel-packet.js";
import { nativeToIpref } from "./addresses.js";
import { encapsulateQuote, type NativeCarrier } from "./encapsulate-quote.js";
import { type IcmpFragment, icmpFragment, nativeEndsKey } from "./fragments-of-icmp.js";
import { isErrorMeaning, meaningInNative } from "./icmp-types.js";
import { sumAddresses, translateLayer4 } from "./layer4.js";
import type { Layer4Result } from "./layer4-input.js";
import { nextTtl, parseNative, refuseNative, tunnelProtocol } from "./native-checks.js";
import {
  drop,
  dropPart,
  type TranslationDrop,
  type TranslationError,
  type TranslationHold,
  type TranslationPending,
} from "./results.js";
import { NESTING_DEPTH, type Roles, type TranslationScope } from "./settings.js";

/** What encapsulation of one packet needs. */
export interface EncapsulateContext extends TranslationScope {
  /** Length of the whole ICMPv6 echo of a first fragment, once its last one was seen (4.8). */
  readonly icmpLength?: number | undefined;
  /** True: IPv6 packets up to 1280 octets to this encoded address go with DF = 0 (4.7). */
  readonly forceFragmentable?: ((destination: IpAddress) => boolean) | undefined;
  /** A fresh 32-bit identification. */
  readonly identification: () => number;
}

/** A packet for the tunnel, and what sending it depends on. */
export interface Encapsulated {
  readonly kind: "packet";
  readonly packet: Uint8Array;
  readonly source: IprefAddress;
  readonly destination: IprefAddress;
  readonly nativeSource: IpAddress;
  readonly nativeDestination: IpAddress;
  /** DSCP and ECN of the native packet (3.6). */
  readonly trafficClass: number;
  /** It may be fragmented in the tunnel: DF is clear, or IPv6 of at most 1280 octets (4.7). */
  readonly mayFragment: boolean;
  /** The ICMP message this packet is a fragment of. */
  readonly icmpFragment: IcmpFragment | undefined;
}

export type EncapsulateResult =
  | Encapsulated
  | TranslationError
  | TranslationDrop
  | TranslationHold
  | TranslationPending;

/** Roles of every packet from the local network (spec/tunnel.md 0). */
const ROLES: Roles = { source: "ours", destination: "theirs" };

/** A packet on its way through the steps of spec/tunnel.md 3.1. */
interface Outgoing {
  readonly native: NativePacket;
  /** Octets of the native packet. */
  readonly nativeLength: number;
  /** As in the tunnel. */
  readonly protocol: number;
  readonly ttl: number;
  readonly destination: IprefAddress;
  readonly part: IcmpFragment | undefined;
}

/** Encapsulates a whole packet. Borrows `packet`. */
export function encapsulate(packet: Uint8Array, context: EncapsulateContext): EncapsulateResult {
  const native = parseNative(packet, context, false);
  if (typeof native === "string") return drop(native);
  const refusal = refuseNative(native, context);
  if (refusal !== undefined) return drop(refusal);
  const found = nativeToIpref(context, native.destination, ROLES.destination, false, native.source);
  if (found.status === "pending") return { kind: "pending" };
  if (found.status === "refused") {
    return { kind: "error", error: "network-unreachable", reason: "local-destination-unknown" };
  }
  const ttl = nextTtl(native.ttl, context.settings.decrementTtl);
  if (ttl === undefined) return { kind: "error", error: "time-exceeded", reason: "ttl-expired" };
  const protocol = tunnelProtocol(native);
  if (typeof protocol === "string") return drop(protocol);
  const ends = nativeEndsKey(native.source, native.destination);
  const part = icmpFragment(protocol, native.fragment, native.payload.length, ends);
  const nativeLength = packet.length;
  return finish({ native, nativeLength, protocol, ttl, destination: found.value, part }, context);
}

/** Steps 20 and 15 of spec/tunnel.md 3.1, in this order. */
function finish(outgoing: Outgoing, context: EncapsulateContext): EncapsulateResult {
  const { native, part } = outgoing;
  const layer4 = translatePayload(outgoing, context);
  if (layer4.kind === "hold") return { kind: "hold", icmpFragment: part! };
  if (layer4.kind === "drop") return dropPart(layer4.reason, part);
  const source = nativeToIpref(context, native.source, ROLES.source, true, native.destination);
  if (source.status === "pending") return { kind: "pending" };
  if (source.status === "refused") return drop(source.reason);
  const header = tunnelHeader(outgoing, source.value, context);
  return {
    kind: "packet",
    packet: buildTunnelPacket(header, layer4.payload, context.format),
    source: source.value,
    destination: outgoing.destination,
    nativeSource: native.source,
    nativeDestination: native.destination,
    trafficClass: native.trafficClass,
    mayFragment: !header.dontFragment || isSmallIpv6(outgoing),
    icmpFragment: part,
  };
}

function translatePayload(outgoing: Outgoing, context: EncapsulateContext): Layer4Result {
  const { native, protocol } = outgoing;
  const carrier: NativeCarrier = {
    roles: ROLES,
    destination: native.destination,
    sourceContext: undefined,
  };
  return translateLayer4({
    direction: "to-tunnel",
    localVersion: native.version,
    format: context.format,
    protocol,
    protocols: context.settings.protocols,
    payload: native.payload,
    payloadLength: native.payloadLength,
    fragment: native.fragment,
    addressSum: sumAddresses(native.source, native.destination),
    isQuote: false,
    icmpLength: context.icmpLength,
    depth: NESTING_DEPTH,
    translateQuote: (quote) => encapsulateQuote(context, quote, carrier, NESTING_DEPTH - 1),
  });
}

/** The fields of spec/tunnel.md 3.2, with the exception of 4.7 for narrow IPv6 paths. */
function tunnelHeader(
  outgoing: Outgoing,
  source: IprefAddress,
  context: EncapsulateContext,
): TunnelHeader {
  const { native, ttl, protocol, destination } = outgoing;
  const isForced =
    isSmallIpv6(outgoing) &&
    !isIcmpError(outgoing) &&
    (context.forceFragmentable?.(native.destination) ?? false);
  const fragment =
    isForced && native.fragment === undefined
      ? { offset: 0, moreFragments: false, identification: context.identification() }
      : native.fragment;
  const dontFragment = native.dontFragment && !isForced;
  return { source, destination, ttl, protocol, dontFragment, fragment };
}

/** spec/tunnel.md 4.7: a packet that every IPv6 path must carry. */
function isSmallIpv6({ native, nativeLength }: Outgoing): boolean {
  return native.version === 6 && nativeLength <= IPV6_MTU_MIN;
}

/** ICMP errors stay unfragmented: the far side refuses fragments of them (4.4 step 7). */
function isIcmpError({ native, protocol }: Outgoing): boolean {
  if (protocol !== PROTOCOL_ICMP || isLaterFragment(native.fragment)) return false;
  if (native.payload.length < ICMP_HEADER_LENGTH) return false;
  const meaning = meaningInNative(readU16(native.payload, ICMP_TYPE_OFFSET), native.version);
  return meaning !== undefined && isErrorMeaning(meaning);
}
