/** What the mapper is told at construction, and what it tells in return. */

import type { IpAddress, IpPrefix } from "../base/ip.js";
import type { Reference } from "../base/reference.js";

/** A mapper record lives this long after its allocation or refresh (spec/mapper.md 3.1). */
export const LIFETIME_SECONDS = 14_400;
/** A record with less left than this is refreshed by use (spec/mapper.md 3.1). */
export const REFRESH_BELOW_SECONDS = 10_800;
/** An expired value rests this long before it may mean something else (spec/mapper.md 3.7). */
export const QUARANTINE_SECONDS = 21_600;
/** A mapping made by a packet from outside, until a local host answers (spec/tunnel.md S2). */
export const PROVISIONAL_SECONDS = 60;

/** Limits; the defaults are those of spec/tunnel.md S2 and spec/mapper.md 3.6 and 4. */
export interface MapperLimits {
  /** Mappings of one remote context made by packets; never above a quarter of the space. */
  readonly perContextMax: number;
  /** New mappings a second made by packets of one context. */
  readonly perContextRate: number;
  /** New mappings a second made by packets of all contexts. */
  readonly totalRate: number;
  /** DNS sources. */
  readonly sourcesMax: number;
  /** Records of one DNS source. */
  readonly sourceRecordsMax: number;
  /** Remembered choices of a reference for a peer (spec/mapper.md 3.8). */
  readonly pairsMax: number;
  /** After this long in silence a stale source loses its records. */
  readonly sourceDropSeconds: number;
}

/** The defaults of MapperLimits. */
export const DEFAULT_LIMITS: MapperLimits = {
  perContextMax: 4096,
  perContextRate: 50,
  totalRate: 500,
  sourcesMax: 64,
  sourceRecordsMax: 65_536,
  pairsMax: 16_384,
  sourceDropSeconds: 86_400,
};

/** The gateway that a mapper works for. */
export interface MapperConfig {
  readonly encodeNet: IpPrefix;
  /** The gateway's own encoded address. */
  readonly ownEncoded: IpAddress;
  /** The own public address; all-zero when it is not known. Its version is the tunnel's. */
  readonly publicAddress: IpAddress;
  readonly gatewayReference: Reference;
  readonly limits?: Partial<MapperLimits>;
}

/** Something a person may want to know. The mapper limits how often it repeats a kind. */
export interface MapperEvent {
  readonly level: "info" | "warning" | "error";
  readonly kind:
    | "conflict"
    | "refused-record"
    | "exhausted"
    | "quota"
    | "restored"
    | "source-new"
    | "source-writer"
    | "source-stale"
    | "source-dropped"
    | "source-limit"
    | "store-failed";
  readonly text: string;
}

/** Who created a record; the order is the precedence (spec/mapper.md 3.8). */
export const PRECEDENCE_MAPPER = 1;
export const PRECEDENCE_SOURCE = 2;
export const PRECEDENCE_HOSTS = 3;
