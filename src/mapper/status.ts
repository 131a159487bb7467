/** What the mapper tells about itself: counters and the list of mappings. Cold code. */

import type { DropReason } from "../base/drop-reason.js";
import type { IpAddress } from "../base/ip.js";
import { type Reference, readReference } from "../base/reference.js";
import {
  FLAG_PROVISIONAL,
  FLAG_SECONDARY,
  KIND_REMOTE,
  RECORD_CONTEXT,
  RECORD_LOCAL,
  RECORD_REFERENCE,
} from "../tables/address-table.js";
import type { MapperCore } from "./core.js";
import { isMapping, MAPPER_OID } from "./records.js";

export interface MapperStatistics {
  /** Mappings of the mapper, with those that rest after expiry. */
  readonly remoteHosts: number;
  readonly localHosts: number;
  /** Records in the table, published ones and remembered choices included. */
  readonly records: number;
  readonly recordsMax: number;
  readonly contexts: number;
  readonly encodedAddresses: number;
  readonly created: number;
  readonly revived: number;
  readonly refreshed: number;
  readonly expired: number;
  readonly recovered: number;
  readonly reclaimed: number;
  readonly storeCommits: number;
  readonly storeFailures: number;
  readonly refused: ReadonlyMap<DropReason, number>;
}

/** One mapping. `remote`: `address` is encoded and `context` remote; `local`: our host. */
export interface MappingView {
  readonly kind: "remote" | "local";
  readonly address: IpAddress;
  readonly context: IpAddress;
  readonly reference: Reference;
  readonly owner: string;
  readonly state: "pending" | "active" | "provisional" | "resting";
  readonly isPrimary: boolean;
  /** Seconds until expiry; undefined for published records. */
  readonly remainingSeconds: number | undefined;
}

export type MappingVisitor = (mapping: MappingView) => void;

/** Counters of a mapper. */
export function statisticsOf(core: MapperCore): MapperStatistics {
  const { records, contexts } = core.parts;
  return {
    ...core.counters,
    remoteHosts: core.remoteCount,
    localHosts: core.localCount,
    records: records.table.used,
    recordsMax: records.table.shape.recordsMax,
    contexts: contexts.size,
    encodedAddresses: core.spaceSize,
  };
}

/** Visits all mappings in the order of their records. */
export function visitMappings(core: MapperCore, visit: MappingVisitor): void {
  const { records } = core.parts;
  for (let number = 1; number <= records.table.highest; number++) {
    if (records.owners[number] !== 0 && isMapping(records.kind(number))) {
      visit(viewOf(core, number));
    }
  }
}

/** One mapping, by record number. */
export function viewOf(core: MapperCore, number: number): MappingView {
  const { records, owners, nowSeconds } = core.parts;
  const { localVersion, tunnelVersion } = records.table.shape;
  const isRemote = records.kind(number) === KIND_REMOTE;
  const localBytes = records.copyBytes(number, RECORD_LOCAL, localVersion === 4 ? 4 : 16);
  const contextBytes = records.copyBytes(number, RECORD_CONTEXT, tunnelVersion === 4 ? 4 : 16);
  const flags = records.flags(number);
  const isOwn = records.owners[number] === MAPPER_OID;
  return {
    kind: isRemote ? "remote" : "local",
    address: { version: localVersion, bytes: localBytes },
    context: isRemote ? { version: tunnelVersion, bytes: contextBytes } : core.config.publicAddress,
    reference: readReference(records.copyBytes(number, RECORD_REFERENCE, 16), 0),
    owner: owners.byOid(records.owners[number]!)?.name ?? "unknown",
    state: stateOf(core, number, flags),
    isPrimary: (flags & FLAG_SECONDARY) === 0,
    remainingSeconds: isOwn ? Math.max(0, records.marks[number]! - nowSeconds()) : undefined,
  };
}

function stateOf(core: MapperCore, number: number, flags: number): MappingView["state"] {
  const { records, nowSeconds } = core.parts;
  if (records.isHidden(number)) return "pending";
  if (!records.isActive(number, nowSeconds())) return "resting";
  return flags & FLAG_PROVISIONAL ? "provisional" : "active";
}
