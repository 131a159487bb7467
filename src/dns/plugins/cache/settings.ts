/** What the `cache` directive can say (spec/resolver.md 2.6). */

import type { Name } from "../../../wire/dns/name.js";

/** One of the two tables. */
export interface TableSettings {
  readonly entriesMax: number;
  readonly ttlMaxSeconds: number;
  readonly ttlMinSeconds: number;
}

/** Zones in which nothing of one kind is kept. */
export type DisabledZones = readonly Name[];

export interface CacheSettings {
  readonly zones: readonly Name[];
  readonly success: TableSettings;
  readonly denial: TableSettings;
  readonly failureSeconds: number;
  /** Undefined: no refreshing ahead of time. */
  readonly prefetch: PrefetchSettings | undefined;
  /** Undefined: nothing is served after its time. */
  readonly stale: StaleSettings | undefined;
  readonly isTtlKept: boolean;
  readonly successDisabled: DisabledZones;
  readonly denialDisabled: DisabledZones;
}

export interface PrefetchSettings {
  readonly hitsMin: number;
  /** Longest pause between two hits that count together. */
  readonly durationMs: number;
  /** Refreshed when less than this share of the lifetime is left. */
  readonly percent: number;
}

export interface StaleSettings {
  readonly durationMs: number;
  /** Ask first and serve the old answer only when that fails. */
  readonly isVerified: boolean;
}

/** CoreDNS's defaults (spec/resolver.md 2.6). */
export const ENTRIES_DEFAULT = 9984;
export const SUCCESS_SECONDS_DEFAULT = 3600;
export const DENIAL_SECONDS_DEFAULT = 1800;
export const TTL_MIN_SECONDS_DEFAULT = 5;
export const FAILURE_SECONDS_DEFAULT = 5;
export const FAILURE_SECONDS_MAX = 300;
export const PREFETCH_DURATION_DEFAULT_MS = 60_000;
export const PREFETCH_PERCENT_DEFAULT = 10;
export const STALE_DURATION_DEFAULT_MS = 3_600_000;
