/**
 * What translation must know about the gateway, and the values it hands from one packet to the
 * packet quoted inside it (spec/tunnel.md 0, 4.6).
 */

import type { AddressLookup } from "../base/address-lookup.js";
import type { IpAddress, IpPrefix, IpVersion } from "../base/ip.js";
import type { TunnelFormat } from "../wire/packet-fields.js";

/** Settings that stay the same while the gateway runs. */
export interface TranslationSettings {
  /** IP version of the local network: that of the encode net. */
  readonly localVersion: IpVersion;
  /** IP version of the tunnel: that of the bind address. */
  readonly tunnelVersion: IpVersion;
  readonly encodeNet: IpPrefix;
  /** `OWN`: the gateway's own encoded address (spec/tunnel.md 5). */
  readonly ownEncoded: IpAddress;
  /** `gwref`: the gateway's own reference. */
  readonly gatewayReference: bigint;
  /** The option -dec-ttl (spec/tunnel.md 3.1). */
  readonly decrementTtl: boolean;
  /** Layer-4 protocols as they appear in the tunnel, ICMP as 1 (spec/tunnel.md 4.9). */
  readonly protocols: ReadonlySet<number>;
  /** Drop local packets marked CE: the tunnel cannot carry the mark (spec/tunnel.md 3.6). */
  readonly dropCongestionMarks: boolean;
}

/** Default of `protocols`: ICMP, TCP and UDP (spec/tunnel.md 4.9). */
export const DEFAULT_PROTOCOLS: ReadonlySet<number> = new Set([1, 6, 17]);

/** Addresses that stand for an all-zero context inside quotes (spec/tunnel.md 7.2). */
export interface ContextHints {
  /** The source context of the datagram. */
  readonly remote: IpAddress;
  /** The destination context of the datagram as it came, unless that was all zero. */
  readonly local: IpAddress | undefined;
}

/** What every translation needs, whole packets and quotes alike. */
export interface TranslationScope {
  readonly settings: TranslationSettings;
  /** `pub`; all zero when unknown. It may change between packets. */
  readonly publicAddress: IpAddress;
  readonly lookup: AddressLookup;
  readonly format: TunnelFormat;
}

/**
 * Whose address a packet carries (spec/tunnel.md 0): a host of our local network, or a remote one.
 */
export type Role = "ours" | "theirs";

/** The roles of a packet's source and destination. */
export interface Roles {
  readonly source: Role;
  readonly destination: Role;
}

/**
 * Roles of a packet quoted by a packet of these roles: both turned, and the source turned back
 * when they are equal then (spec/tunnel.md 4.6).
 */
export function quoteRoles(carrier: Roles): Roles {
  const destination = turn(carrier.destination);
  const source = turn(carrier.source);
  return { source: source === destination ? turn(source) : source, destination };
}

function turn(role: Role): Role {
  return role === "ours" ? "theirs" : "ours";
}

/** Depth of the outermost packet; an ICMP message at depth 0 is refused (spec/tunnel.md 4.4). */
export const NESTING_DEPTH = 3;
