/**
 * Encapsulation of a packet quoted inside a native ICMP error (spec/tunnel.md 4.6): lax checks, no
 * new mappings, and the quote must belong to the packet that carries it.
 */

import type { DropReason } from "../base/drop-reason.js";
import { type IpAddress, sameAddress } from "../base/ip.js";
import type { NativePacket } from "../wire/packet-fields.js";
import { buildTunnelPacket } from "../wire/tunnel-packet.js";
import { nativeToIpref } from "./addresses.js";
import { sumAddresses, translateLayer4 } from "./layer4.js";
import type { TranslatedQuote } from "./layer4-input.js";
import { parseNative, tunnelProtocol } from "./native-checks.js";
import { nativeHeaderLength } from "./path-mtu.js";
import { quoteRoles, type Roles, type TranslationScope } from "./settings.js";

/** The packet around a quote. */
export interface NativeCarrier {
  readonly roles: Roles;
  /** Native destination. */
  readonly destination: IpAddress;
  /** Context of its source when that is a remote host: the quote must go there. */
  readonly sourceContext: IpAddress | undefined;
}

/** Translates a quote. `depth` counts the levels of ICMP that may still come. Borrows `bytes`. */
export function encapsulateQuote(
  scope: TranslationScope,
  bytes: Uint8Array,
  carrier: NativeCarrier,
  depth: number,
): TranslatedQuote | DropReason {
  const native = parseNative(bytes, scope, true);
  if (typeof native === "string") return "icmp-quote-malformed";
  if (!sameAddress(native.source, carrier.destination)) return "icmp-quote-mismatch";
  const protocol = tunnelProtocol(native);
  if (typeof protocol === "string") return protocol;
  const roles = quoteRoles(carrier.roles);
  const source = nativeToIpref(scope, native.source, roles.source, false, native.destination);
  const destination = nativeToIpref(
    scope,
    native.destination,
    roles.destination,
    false,
    native.source,
  );
  if (source.status !== "found" || destination.status !== "found") return "icmp-quote-unknown";
  const { sourceContext } = carrier;
  if (sourceContext && !sameAddress(destination.value.context, sourceContext)) {
    return "icmp-quote-mismatch";
  }
  const inner: NativeCarrier = {
    roles,
    destination: native.destination,
    sourceContext: roles.source === "theirs" ? source.value.context : undefined,
  };
  const payload = translateQuotedPayload(scope, native, protocol, inner, depth);
  if (typeof payload === "string") return payload;
  const header = { ...headerFields(native, protocol), source: source.value };
  const packet = buildTunnelPacket(
    { ...header, destination: destination.value },
    payload,
    scope.format,
  );
  return {
    packet,
    tunnelHeaderLength: packet.length - payload.length,
    hasFragment: native.fragment !== undefined,
    nativeLength: native.payloadLength + nativeHeaderLength(native.version, !!native.fragment),
    nativeDestination: native.destination,
  };
}

function headerFields({ ttl, dontFragment, fragment }: NativePacket, protocol: number) {
  return { ttl, protocol, dontFragment, fragment };
}

function translateQuotedPayload(
  scope: TranslationScope,
  native: NativePacket,
  protocol: number,
  inner: NativeCarrier,
  depth: number,
): Uint8Array | DropReason {
  const result = translateLayer4({
    direction: "to-tunnel",
    localVersion: native.version,
    format: scope.format,
    protocol,
    protocols: scope.settings.protocols,
    payload: native.payload,
    payloadLength: native.payloadLength,
    fragment: native.fragment,
    addressSum: sumAddresses(native.source, native.destination),
    isQuote: true,
    icmpLength: undefined,
    depth,
    translateQuote: (quote) => encapsulateQuote(scope, quote, inner, depth - 1),
  });
  if (result.kind === "translated") return result.payload;
  return result.kind === "drop" ? result.reason : "icmp-quote-malformed";
}
