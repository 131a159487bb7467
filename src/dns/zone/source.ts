/**
 * Zones as others see them: `transfer` reads versions and hears of new ones, whatever serves them
 * (`file`, `auto`).
 */

import type { Name } from "../../wire/dns/name.js";
import type { ResourceRecord } from "../../wire/dns/record.js";

/** One version of a zone; immutable, so a transfer may take its time (spec/resolver.md 3.5). */
export interface ZoneVersion {
  readonly origin: Name;
  readonly soa: ResourceRecord;
  readonly serial: number;
  /** SOA, apex NS, all others in canonical order; without the final SOA. */
  transferRecords(): Iterable<ResourceRecord>;
}

/** Somebody who serves zones. */
export interface ZoneSource {
  /** Current version of the zone with exactly this origin key. */
  version(originKey: string): ZoneVersion | undefined;
  /** All zones that are loaded. */
  versions(): readonly ZoneVersion[];
  /** Calls `listener` after each load of a zone, the first one included. */
  onLoaded(listener: (version: ZoneVersion) => void): void;
}
