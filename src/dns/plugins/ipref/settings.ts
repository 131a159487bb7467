/** What the `ipref` directive can say (spec/resolver.md 1.15) and the numbers of its section 8. */

import type { IpPrefix, IpVersion } from "../../../base/ip.js";
import type { Name } from "../../../wire/dns/name.js";
import type { Position } from "../../corefile/structure.js";
import type { UpstreamTarget } from "../upstream-servers.js";

/** One `upstream` argument and where it stands. */
export interface PlacedTarget {
  readonly target: UpstreamTarget;
  readonly position: Position;
}

export interface IprefSettings {
  /** Names equal to or below one of these are translated. */
  readonly from: readonly Name[];
  /** Names equal to or below one of these are not. */
  readonly except: readonly Name[];
  readonly upstreams: readonly PlacedTarget[];
  readonly encodedVersion: IpVersion;
  readonly gatewayVersion: IpVersion;
  readonly mapperPath: string;
  readonly onFailure: "next" | "servfail";
  readonly ttlSecondsMax: number;
  readonly recordsMax: number;
  readonly encodeNet: readonly IpPrefix[];
  readonly svcb: "suppress" | "strip" | "pass";
  readonly isParallel: boolean;
  /** Undefined: no limit. */
  readonly newAddresses: NewAddressLimits | undefined;
}

/** How many IPREF addresses not seen within four hours may be mapped (spec/resolver.md 5.3). */
export interface NewAddressLimits {
  readonly clientPerMinute: number;
  readonly gatewayPerSecond: number;
  readonly totalPerSecond: number;
}

export const MAPPER_PATH_DEFAULT = "/run/ipref/mapper.sock";
export const TTL_SECONDS_DEFAULT = 300;
/** spec/resolver.md 1.13: safe with a mapper that renews a mapping when it is asked for. */
export const TTL_SECONDS_MAX = 3600;
export const RECORDS_DEFAULT = 8;
export const NEW_ADDRESSES_DEFAULT: NewAddressLimits = {
  clientPerMinute: 60,
  gatewayPerSecond: 10,
  totalPerSecond: 100,
};

/** Whole client query in the IPREF step. */
export const QUERY_BUDGET_MS = 4000;
export const IN_FLIGHT_MAX = 4096;
export const FALLBACK_TTL_SECONDS = 30;
export const NODATA_TTL_SECONDS_MAX = 60;
export const KEPT_SECONDS_MAX = 3600;
export const FAILED_KEPT_SECONDS = 2;
export const EA_KEPT_MS = 5000;
export const REVERSE_KEPT_MS = 14_400_000;
export const TABLE_ENTRIES_MAX = 65_536;

/**
 * spec/resolver.md 1.13: 64 MiB for all tables of a block together.
 *
 *   AA strings 28, gateway addresses 8, EA 8, EA to name 12, seen addresses 8 (by their number)
 */
const MIB = 1 << 20;
export const AA_TABLE_BYTES_MAX = 28 * MIB;
export const GATEWAY_TABLE_BYTES_MAX = 8 * MIB;
export const EA_TABLE_BYTES_MAX = 8 * MIB;
export const REVERSE_TABLE_BYTES_MAX = 12 * MIB;

/** spec/resolver.md 1.7, 5.2. */
export const GATEWAY_ADDRESSES_MAX = 4;
export const MAPPER_REQUESTS_MAX = 8;
export const AA_USED_MAX = 8;

/** spec/resolver.md 1.13: refreshed with this many hits and less than a tenth of the TTL left. */
export const PREFETCH_HITS_MIN = 3;
export const PREFETCH_SHARE = 0.1;
