/**
 * Decapsulation of a packet quoted inside a tunnel ICMP error (spec/tunnel.md 4.6): lax checks, no
 * new mappings, and the quote must belong to the packet that carries it.
 */

import type { DropReason } from "../base/drop-reason.js";
import { type IpAddress, sameAddress } from "../base/ip.js";
import { type IprefAddress, sameIprefAddress } from "../base/reference.js";
import type { TunnelPacket } from "../wire/packet-fields.js";
import { parseTunnelPacket } from "../wire/tunnel-packet.js";
import { iprefToNative, resolveContext } from "./addresses.js";
import { sumAddresses, translateLayer4 } from "./layer4.js";
import type { TranslatedQuote } from "./layer4-input.js";
import { buildNative } from "./native-packet.js";
import { type ContextHints, quoteRoles, type Roles, type TranslationScope } from "./settings.js";

/** The packet around a quote, contexts resolved. */
export interface TunnelCarrier {
  readonly roles: Roles;
  readonly source: IprefAddress;
  readonly destination: IprefAddress;
  readonly hints: ContextHints;
}

/** Translates a quote. `depth` counts the levels of ICMP that may still come. Borrows `bytes`. */
export function decapsulateQuote(
  scope: TranslationScope,
  bytes: Uint8Array,
  carrier: TunnelCarrier,
  depth: number,
): TranslatedQuote | DropReason {
  const { tunnelVersion } = scope.settings;
  const packet = parseTunnelPacket(bytes, scope.format, tunnelVersion);
  if (typeof packet === "string") return "icmp-quote-malformed";
  const inner = quotedEnds(scope, packet, carrier);
  if (inner === undefined) return "icmp-quote-malformed";
  if (!belongsTo(inner, carrier)) return "icmp-quote-mismatch";
  const source = iprefToNative(scope, inner.source, inner.roles.source, false);
  const destination = iprefToNative(scope, inner.destination, inner.roles.destination, false);
  if (source.status !== "found" || destination.status !== "found") return "icmp-quote-unknown";
  const addressSum = sumAddresses(source.value, destination.value);
  const payload = translateQuotedPayload(scope, packet, inner, addressSum, depth);
  if (typeof payload === "string") return payload;
  const { ttl, protocol, dontFragment, fragment } = packet;
  const ends = { source: source.value, destination: destination.value };
  const native = buildNative(
    { ...ends, ttl, protocol, dontFragment, fragment, identification: 0 },
    payload,
  );
  return {
    packet: native,
    tunnelHeaderLength: packet.headerLength,
    hasFragment: fragment !== undefined,
    nativeLength: native.length,
    nativeDestination: destination.value,
  };
}

/** The quote as a carrier itself; undefined when its contexts are of another IP version. */
function quotedEnds(
  scope: TranslationScope,
  packet: TunnelPacket,
  { roles: carrierRoles, hints }: TunnelCarrier,
): TunnelCarrier | undefined {
  const { tunnelVersion } = scope.settings;
  if (packet.source.context.version !== tunnelVersion) return undefined;
  if (packet.destination.context.version !== tunnelVersion) return undefined;
  const roles = quoteRoles(carrierRoles);
  const source = resolveContext(scope, packet.source, roles.source, hints);
  const destination = resolveContext(scope, packet.destination, roles.destination, hints);
  return { roles, source, destination, hints };
}

/**
 * The quote comes from where its carrier goes, and goes to the gateway the carrier came from. A
 * router behind that gateway may send the error, so references may differ there (4.6).
 */
function belongsTo(quote: TunnelCarrier, carrier: TunnelCarrier): boolean {
  if (!sameIprefAddress(quote.source, carrier.destination)) return false;
  if (carrier.roles.source === "ours") return true;
  const gateway: IpAddress = carrier.source.context;
  return sameAddress(quote.destination.context, gateway);
}

function translateQuotedPayload(
  scope: TranslationScope,
  packet: TunnelPacket,
  inner: TunnelCarrier,
  addressSum: number,
  depth: number,
): Uint8Array | DropReason {
  const result = translateLayer4({
    direction: "to-native",
    localVersion: scope.settings.localVersion,
    format: scope.format,
    protocol: packet.protocol,
    protocols: scope.settings.protocols,
    payload: packet.payload,
    payloadLength: packet.payload.length,
    fragment: packet.fragment,
    addressSum,
    isQuote: true,
    icmpLength: undefined,
    depth,
    translateQuote: (quote) => decapsulateQuote(scope, quote, inner, depth - 1),
  });
  if (result.kind === "translated") return result.payload;
  return result.kind === "drop" ? result.reason : "icmp-quote-malformed";
}
