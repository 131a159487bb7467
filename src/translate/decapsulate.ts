/**
 * From the tunnel into the local network: decapsulation of whole packets (spec/tunnel.md 3.3, 3.4,
 * 4). The datagram has passed the socket checks of 7.2 (receive.ts). The destination is looked up
 * first; the encoded address of the source, the only state this may create, comes last, when
 * everything else about the packet was found acceptable.
 */

import type { DropReason } from "../base/drop-reason.js";
import { type IpAddress, isPacketUnicast, sameAddress } from "../base/ip.js";
import type { IprefAddress } from "../base/reference.js";
import { PROTOCOL_ICMPV6, type TunnelPacket } from "../wire/packet-fields.js";
import { parseTunnelPacket } from "../wire/tunnel-packet.js";
import { iprefToNative, isGatewayAddress, resolveContext } from "./addresses.js";
import { decapsulateQuote, type TunnelCarrier } from "./decapsulate-quote.js";
import { type IcmpFragment, icmpFragment, tunnelEndsKey } from "./fragments-of-icmp.js";
import { sumAddresses, translateLayer4 } from "./layer4.js";
import type { Layer4Result } from "./layer4-input.js";
import { isFragmentPossible, nextTtl } from "./native-checks.js";
import { buildNative, fitsNative } from "./native-packet.js";
import {
  drop,
  dropPart,
  type TranslationDrop,
  type TranslationError,
  type TranslationHold,
  type TranslationPending,
} from "./results.js";
import { type ContextHints, NESTING_DEPTH, type Roles, type TranslationScope } from "./settings.js";

/** What decapsulation of one packet needs. */
export interface DecapsulateContext extends TranslationScope {
  /** Source IP address of the datagram; our own public address for a hairpin. */
  readonly outerSource: IpAddress;
  readonly hints: ContextHints;
  /** Length of the whole ICMP echo of a first fragment, once its last one was seen (4.8). */
  readonly icmpLength?: number | undefined;
  /** A fresh 16-bit identification for an unfragmented IPv4 packet without DF (3.4). */
  readonly nextIdentification: (destination: IpAddress) => number;
  /** `own-error`: an error the gateway made in tunnel form for one of its own hosts (6.1). */
  readonly roles: "remote" | "own-error";
  /** The packet answers the gateway host itself: (`pub`, `gwref`) becomes `OWN` (5). */
  readonly toGatewayHost?: boolean | undefined;
}

/** A packet for the local network. */
export interface Decapsulated {
  readonly kind: "packet";
  readonly packet: Uint8Array;
  /** Contexts are resolved: none is all zero unless `pub` is. */
  readonly source: IprefAddress;
  readonly destination: IprefAddress;
  readonly nativeSource: IpAddress;
  readonly nativeDestination: IpAddress;
  /** It came with DF = 0: towards a narrow IPv6 host the gateway fragments it (7.7). */
  readonly mayFragment: boolean;
  /** The ICMP message this packet is a fragment of. */
  readonly icmpFragment: IcmpFragment | undefined;
  /** A "too big" told that the path to this encoded address cannot carry 1280 octets (4.7). */
  readonly narrowDestination: IpAddress | undefined;
}

/** A packet to (`pub`, `gwref`), contexts resolved; echo.ts answers it (5, 8.1). */
export interface GatewayPacket {
  readonly kind: "to-gateway";
  readonly tunnel: TunnelPacket;
}

export type DecapsulateResult =
  | Decapsulated
  | GatewayPacket
  | TranslationError
  | TranslationDrop
  | TranslationHold
  | TranslationPending;

const ROLES: Readonly<Record<DecapsulateContext["roles"], Roles>> = {
  remote: { source: "theirs", destination: "ours" },
  "own-error": { source: "ours", destination: "ours" },
};

/** A packet on its way through the steps of spec/tunnel.md 3.3. */
interface Incoming {
  readonly tunnel: TunnelPacket;
  readonly nativeDestination: IpAddress;
  readonly ttl: number;
  readonly part: IcmpFragment | undefined;
}

/** Decapsulates a whole packet. Borrows `packet`. */
export function decapsulate(packet: Uint8Array, context: DecapsulateContext): DecapsulateResult {
  const tunnel = parseResolved(packet, context);
  if (typeof tunnel === "string") return drop(tunnel);
  const { destination } = tunnel;
  const isRemote = context.roles === "remote";
  if (isRemote && !context.toGatewayHost && isGatewayAddress(context, destination)) {
    return { kind: "to-gateway", tunnel };
  }
  const found = iprefToNative(context, destination, ROLES[context.roles].destination, false);
  if (found.status === "pending") return { kind: "pending" };
  if (found.status === "refused") {
    return { kind: "error", error: "network-unreachable", reason: "tunnel-reference-unknown" };
  }
  const ttl = isRemote ? nextTtl(tunnel.ttl, context.settings.decrementTtl) : tunnel.ttl;
  if (ttl === undefined) return { kind: "error", error: "time-exceeded", reason: "ttl-expired" };
  const ends = tunnelEndsKey(tunnel.source, destination);
  const part = icmpFragment(tunnel.protocol, tunnel.fragment, tunnel.payload.length, ends);
  return finish({ tunnel, nativeDestination: found.value, ttl, part }, context);
}

/** Steps 1 to 6, 8 and 10: the packet with its contexts resolved. */
function parseResolved(bytes: Uint8Array, context: DecapsulateContext): TunnelPacket | DropReason {
  const { tunnelVersion } = context.settings;
  const packet = parseTunnelPacket(bytes, context.format, tunnelVersion);
  if (typeof packet === "string") return packet;
  if (packet.source.context.version !== tunnelVersion) return "tunnel-context-version";
  if (packet.destination.context.version !== tunnelVersion) return "tunnel-context-version";
  if (!isFragmentPossible(packet.fragment, packet.payload.length)) return "tunnel-bad-fragment";
  const roles = ROLES[context.roles];
  const hints: ContextHints = { remote: context.outerSource, local: context.hints.local };
  const source = resolveContext(context, packet.source, roles.source, hints);
  const destination = resolveContext(context, packet.destination, roles.destination, hints);
  if (!sameAddress(destination.context, context.publicAddress)) {
    return "tunnel-destination-mismatch";
  }
  if (context.roles === "remote") {
    if (isGatewayAddress(context, source)) return "tunnel-source-own";
    if (!isPacketUnicast(source.context)) return "tunnel-source-not-unicast";
  }
  return { ...packet, source, destination };
}

/** Steps 13, 14 and 7 of spec/tunnel.md 3.3, in this order. */
function finish(incoming: Incoming, context: DecapsulateContext): DecapsulateResult {
  const { tunnel, part } = incoming;
  const refusal = refuseTunnel(tunnel, context);
  if (refusal !== undefined) return dropPart(refusal, part);
  const role = ROLES[context.roles].source;
  let source = iprefToNative(context, tunnel.source, role, false);
  if (source.status === "refused") {
    const trial = translatePayload(incoming, undefined, context);
    if (trial.kind === "hold") return { kind: "hold", icmpFragment: part! };
    if (trial.kind === "drop") return dropPart(trial.reason, part);
    source = iprefToNative(context, tunnel.source, role, true);
  }
  if (source.status === "pending") return { kind: "pending" };
  if (source.status === "refused") return drop(source.reason);
  const layer4 = translatePayload(incoming, source.value, context);
  if (layer4.kind === "hold") return { kind: "hold", icmpFragment: part! };
  if (layer4.kind === "drop") return dropPart(layer4.reason, part);
  return buildResult(incoming, source.value, layer4.payload, layer4.narrow, context);
}

/** Protocol 58 is unknown in the tunnel (4.4), whatever the configured set says. */
function refuseTunnel(tunnel: TunnelPacket, { settings }: DecapsulateContext) {
  const { protocol, fragment, payload } = tunnel;
  const isCarried = settings.protocols.has(protocol) && protocol !== PROTOCOL_ICMPV6;
  if (!isCarried) return "protocol-not-supported";
  const isFragment = fragment !== undefined;
  const fits = fitsNative(settings.localVersion, isFragment, payload.length);
  return fits ? undefined : "tunnel-native-too-long";
}

/** Without a source the checksum comes out wrong; everything else is decided all the same. */
function translatePayload(
  incoming: Incoming,
  source: IpAddress | undefined,
  context: DecapsulateContext,
): Layer4Result {
  const { tunnel, nativeDestination } = incoming;
  const carrier: TunnelCarrier = {
    roles: ROLES[context.roles],
    source: tunnel.source,
    destination: tunnel.destination,
    hints: context.hints,
  };
  return translateLayer4({
    direction: "to-native",
    localVersion: context.settings.localVersion,
    format: context.format,
    protocol: tunnel.protocol,
    protocols: context.settings.protocols,
    payload: tunnel.payload,
    payloadLength: tunnel.payload.length,
    fragment: tunnel.fragment,
    addressSum: source ? sumAddresses(source, nativeDestination) : 0,
    isQuote: false,
    icmpLength: context.icmpLength,
    depth: NESTING_DEPTH,
    translateQuote: (quote) => decapsulateQuote(context, quote, carrier, NESTING_DEPTH - 1),
  });
}

function buildResult(
  incoming: Incoming,
  nativeSource: IpAddress,
  payload: Uint8Array,
  narrowDestination: IpAddress | undefined,
  context: DecapsulateContext,
): Decapsulated {
  const { tunnel, nativeDestination, ttl, part } = incoming;
  const { protocol, dontFragment, fragment } = tunnel;
  const needsIdentification =
    nativeDestination.version === 4 && fragment === undefined && !dontFragment;
  const identification = needsIdentification ? context.nextIdentification(nativeDestination) : 0;
  const ends = { source: nativeSource, destination: nativeDestination };
  const fields = { ...ends, ttl, protocol, dontFragment, fragment, identification };
  return {
    kind: "packet",
    packet: buildNative(fields, payload),
    source: tunnel.source,
    destination: tunnel.destination,
    nativeSource,
    nativeDestination,
    mayFragment: !dontFragment,
    icmpFragment: part,
    narrowDestination,
  };
}
