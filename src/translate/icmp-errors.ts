/**
 * ICMP errors made by the gateway, spec/tunnel.md 6: for local hosts in native form, for remote
 * hosts in tunnel form, and when not to make any. Limits on their number are the caller's.
 */

import { type IpAddress, isPacketUnicast } from "../base/ip.js";
import { readU16, writeU16 } from "../wire/bytes.js";
import { DRAFT_RESERVED_OFFSET } from "../wire/draft-header.js";
import { ICMP_HEADER_LENGTH, ICMP_MTU_OFFSET, ICMP_TYPE_OFFSET } from "../wire/icmp.js";
import { buildIpv4, IPV4_HEADER_LENGTH } from "../wire/ipv4.js";
import { buildIpv6, IPV6_HEADER_LENGTH, IPV6_MTU_MIN } from "../wire/ipv6.js";
import {
  type FragmentInfo,
  isLaterFragment,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
} from "../wire/packet-fields.js";
import { buildTunnelPacket, parseTunnelPacket } from "../wire/tunnel-packet.js";
import { gatewayAddress, isGatewayAddress, isOwnEncoded } from "./addresses.js";
import { decapsulate } from "./decapsulate.js";
import { QUOTE_LENGTH_MAX, writeIcmpChecksum } from "./icmp.js";
import {
  type IcmpMeaning,
  isErrorMeaning,
  meaningInNative,
  meaningInTunnel,
  nativeTypeAndCode,
  tunnelTypeAndCode,
} from "./icmp-types.js";
import { sumAddresses } from "./layer4.js";
import { parseNative, tunnelProtocol } from "./native-checks.js";
import { ownTunnelMtu } from "./path-mtu.js";
import type { TranslationScope } from "./settings.js";

/** TTL of everything the gateway makes itself (spec/tunnel.md 6.2). */
export const OWN_TTL = 64;

/** Largest whole error: RFC 1812 4.3.2.3 for IPv4, RFC 4443 2.4 for IPv6 (spec/tunnel.md 6.2). */
const IPV4_ERROR_MAX = 576;
const IPV6_ERROR_MAX = IPV6_MTU_MIN;

/** Errors the gateway makes about packets it cannot forward (spec/tunnel.md 6.1). */
export type OwnErrorKind = "network-unreachable" | "time-exceeded" | "port-unreachable" | "too-big";

/** Errors need no addresses but the gateway's own. */
export type AnswerScope = Omit<TranslationScope, "lookup">;

/** True when an error about this native packet may be sent (6.3). Borrows `packet`. */
export function mayAnswerNative(packet: Uint8Array, scope: AnswerScope): boolean {
  const native = parseNative(packet, scope, false);
  if (typeof native === "string") return false;
  if (!isPacketUnicast(native.destination)) return false;
  if (!isOwnEncoded(scope, native.source) && !isPacketUnicast(native.source)) return false;
  const protocol = tunnelProtocol(native);
  if (typeof protocol === "string") return true;
  const meaningOf = (word: number) => meaningInNative(word, native.version);
  return isAnswerable(protocol, native.fragment, native.payload, meaningOf);
}

/**
 * True when an error about this tunnel packet may be sent to its remote source (6.3). The packet
 * is as `acceptDatagram` left it. Format D has no version number, so that anything may read as
 * format D without contexts (2.3 row 4): only senders that write its reserved octet as they must
 * (2.2) get an answer. Borrows `packet`.
 */
export function mayAnswerTunnel(packet: Uint8Array, scope: AnswerScope): boolean {
  const tunnel = parseTunnelPacket(packet, scope.format, scope.settings.tunnelVersion);
  if (typeof tunnel === "string" || isGatewayAddress(scope, tunnel.source)) return false;
  if (scope.format === "D" && packet[DRAFT_RESERVED_OFFSET] !== 0) return false;
  return isAnswerable(tunnel.protocol, tunnel.fragment, tunnel.payload, meaningInTunnel);
}

/** Not about later fragments, and of ICMP only about echo. */
function isAnswerable(
  protocol: number,
  fragment: FragmentInfo | undefined,
  payload: Uint8Array,
  meaningOf: (word: number) => IcmpMeaning | undefined,
): boolean {
  if (isLaterFragment(fragment)) return false;
  if (protocol !== PROTOCOL_ICMP) return true;
  if (payload.length < ICMP_HEADER_LENGTH) return false;
  const meaning = meaningOf(readU16(payload, ICMP_TYPE_OFFSET));
  return meaning !== undefined && !isErrorMeaning(meaning);
}

/**
 * The error for the source of a native packet; undefined when none may be sent (6.3).
 * `identification` goes into the IPv4 header. Borrows `packet`.
 */
export function buildNativeError(
  packet: Uint8Array,
  kind: "network-unreachable" | "time-exceeded",
  scope: AnswerScope,
  identification: number,
): Uint8Array | undefined {
  if (!mayAnswerNative(packet, scope)) return undefined;
  const native = parseNative(packet, scope, false);
  if (typeof native === "string") return undefined;
  const { localVersion: version, ownEncoded: source } = scope.settings;
  const quote = packet.subarray(0, nativeQuoteMax(version));
  const message = errorMessage(nativeTypeAndCode(kind, version), 0, quote);
  const destination = native.source;
  if (version === 4) {
    writeIcmpChecksum(message, undefined);
    return buildIpv4(ipv4ErrorHeader(source, destination, identification), message);
  }
  writeIcmpChecksum(message, sumAddresses(source, destination));
  const ends = { source, destination, trafficClass: 0, flowLabel: 0 };
  return buildIpv6(
    { ...ends, ttl: OWN_TTL, protocol: PROTOCOL_ICMPV6, fragment: undefined },
    message,
  );
}

function ipv4ErrorHeader(source: IpAddress, destination: IpAddress, identification: number) {
  return {
    source,
    destination,
    trafficClass: 0,
    ttl: OWN_TTL,
    protocol: PROTOCOL_ICMP,
    dontFragment: false,
    fragmentOffset: 0,
    moreFragments: false,
    identification: identification & 0xffff,
  };
}

/** Octets of the quote that keep the whole error within its limit (6.2): 548 and 1232. */
function nativeQuoteMax(version: 4 | 6): number {
  if (version === 4) return IPV4_ERROR_MAX - IPV4_HEADER_LENGTH - ICMP_HEADER_LENGTH;
  return IPV6_ERROR_MAX - IPV6_HEADER_LENGTH - ICMP_HEADER_LENGTH;
}

/** An error in tunnel form. */
export interface TunnelErrorOptions {
  readonly kind: OwnErrorKind;
  /** For `too-big`: the value on the wire (4.7). */
  readonly mtu?: number | undefined;
  /** Quote at most this much: towards unverified peers the answer should not grow (9 S10). */
  readonly quoteOctetsMax?: number | undefined;
}

/**
 * The error in tunnel form for the source of a tunnel packet, in the packet's format; undefined
 * when the packet is none. The packet is as `acceptDatagram` left it; its all-zero source context
 * (format D) stands for where the answer goes. The caller asks `mayAnswerTunnel` first. Borrows
 * `packet`.
 */
export function buildTunnelError(
  packet: Uint8Array,
  options: TunnelErrorOptions,
  scope: AnswerScope,
): Uint8Array | undefined {
  const { format, settings } = scope;
  const tunnel = parseTunnelPacket(packet, format, settings.tunnelVersion);
  if (typeof tunnel === "string") return undefined;
  const quoteMax = Math.min(QUOTE_LENGTH_MAX, options.quoteOctetsMax ?? QUOTE_LENGTH_MAX);
  const word = tunnelTypeAndCode(options.kind, format);
  const message = errorMessage(word, options.mtu ?? 0, packet.subarray(0, quoteMax));
  writeIcmpChecksum(message, undefined);
  const header = {
    source: gatewayAddress(scope),
    destination: tunnel.source,
    ttl: OWN_TTL,
    protocol: PROTOCOL_ICMP,
    dontFragment: false,
    fragment: undefined,
  };
  return buildTunnelPacket(header, message, format);
}

/** An error with its checksum still to be made. */
function errorMessage(word: number, mtu: number, quote: Uint8Array): Uint8Array {
  const message = new Uint8Array(ICMP_HEADER_LENGTH + quote.length);
  writeU16(message, ICMP_TYPE_OFFSET, word);
  writeU16(message, ICMP_MTU_OFFSET, mtu);
  message.set(quote, ICMP_HEADER_LENGTH);
  return message;
}

/** What `tooBigForLocal` needs beside the scope. */
export interface TooBigContext extends TranslationScope {
  /** M: the largest tunnel packet on the path. */
  readonly largestBytes: number;
  /** Context of the packet's destination; format D does not write it. */
  readonly remote: IpAddress;
  /** Identification of the IPv4 header. */
  readonly identification: number;
}

/**
 * The native "too big" for the local sender of an encapsulated packet (6.1): made in tunnel form
 * and decapsulated with both roles ours. Undefined when none may be sent (6.3). Borrows `packet`.
 */
export function tooBigForLocal(packet: Uint8Array, context: TooBigContext): Uint8Array | undefined {
  const { settings, format } = context;
  const tunnel = parseTunnelPacket(packet, format, settings.tunnelVersion);
  if (typeof tunnel === "string") return undefined;
  if (!isAnswerable(tunnel.protocol, tunnel.fragment, tunnel.payload, meaningInTunnel)) {
    return undefined;
  }
  const { headerLength } = tunnel;
  const dataMax = nativeQuoteMax(settings.localVersion) - nativeHeaderLengthOf(settings);
  const mtu = ownTunnelMtu(context.largestBytes, format, headerLength);
  const options = { kind: "too-big", mtu, quoteOctetsMax: headerLength + dataMax } as const;
  const error = buildTunnelError(packet, options, context);
  if (error === undefined) return undefined;
  const result = decapsulate(error, {
    ...context,
    outerSource: context.publicAddress,
    hints: { remote: context.remote, local: undefined },
    nextIdentification: () => context.identification & 0xffff,
    roles: "own-error",
  });
  return result.kind === "packet" ? result.packet : undefined;
}

function nativeHeaderLengthOf(settings: TranslationScope["settings"]): number {
  return settings.localVersion === 4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH;
}
