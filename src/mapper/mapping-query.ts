/**
 * Looking through the mappings step by step, for people who ask while packets flow: each call looks
 * at a bounded number of records, so that a million of them hold nobody up. A mapping that is made
 * or goes between two calls may or may not be seen. Main thread.
 */

import type { IpAddress } from "../base/ip.js";
import type { Reference } from "../base/reference.js";
import {
  FLAG_PROVISIONAL,
  KIND_REMOTE,
  RECORD_CONTEXT,
  RECORD_LOCAL,
  RECORD_REFERENCE,
} from "../tables/address-table.js";
import type { MapperCore } from "./core.js";
import { isMapping, MAPPER_OID } from "./records.js";
import { type MappingView, viewOf } from "./status.js";

/**
 * Where a mapping comes from and whether it is in force. `published`: by hosts file or DNS;
 * `dynamic`: made by a packet or a resolver; `provisional`: made by a packet from outside, and
 * nobody inside has used it; `resting`: expired, its value still kept; `pending`: not stored yet.
 */
export const MAPPING_STATES = [
  "published",
  "dynamic",
  "provisional",
  "resting",
  "pending",
] as const;

export type MappingState = (typeof MAPPING_STATES)[number];

/** What a mapping has to be; an absent field lets all pass. */
export interface MappingQuery {
  readonly kind?: MappingView["kind"] | undefined;
  readonly state?: MappingState | undefined;
  /** The native address: encoded, or our host's. */
  readonly address?: IpAddress | undefined;
  /** The IPREF address. */
  readonly context?: IpAddress | undefined;
  readonly reference?: Reference | undefined;
  readonly owner?: string | undefined;
}

/** A mapping that was found. */
export interface FoundMapping extends Omit<MappingView, "state"> {
  readonly state: MappingState;
  /** Seconds since a packet or a resolver used it. */
  readonly idleSeconds: number;
}

/** Mappings by kind and state. */
export type MappingCounts = Record<MappingView["kind"], Record<MappingState, number>>;

/** Counts to add to. */
export function noMappings(): MappingCounts {
  const none = () => ({ published: 0, dynamic: 0, provisional: 0, resting: 0, pending: 0 });
  return { remote: none(), local: none() };
}

/** Part of the records: numbers from `first` on. */
export interface RecordRange {
  readonly first: number;
  /** Records to look at. */
  readonly recordsMax: number;
  /** Mappings to find. */
  readonly foundMax: number;
}

/**
 * Visits the mappings of a range that fit the query, in the order of their records. Returns the
 * number to go on with, 0 at the end.
 */
export function findMappings(
  core: MapperCore,
  range: RecordRange,
  query: MappingQuery,
  visit: (mapping: FoundMapping) => void,
): number {
  const { records, nowSeconds } = core.parts;
  const { table } = records;
  const end = Math.min(table.highest + 1, range.first + range.recordsMax);
  let found = 0;
  for (let number = range.first; number < end; number++) {
    if (records.owners[number] === 0 || !isMapping(records.kind(number))) continue;
    const state = stateOf(core, number);
    if (!fits(core, number, state, query)) continue;
    const idleSeconds = Math.max(0, nowSeconds() - table.lastUsed(table.offsetOf(number)));
    visit({ ...viewOf(core, number), state, idleSeconds });
    if (++found === range.foundMax) return number < table.highest ? number + 1 : 0;
  }
  return end <= table.highest ? end : 0;
}

/** Adds the mappings of a range to `counts`. Returns the number to go on with, 0 at the end. */
export function countMappings(
  core: MapperCore,
  range: Omit<RecordRange, "foundMax">,
  counts: MappingCounts,
): number {
  const { records } = core.parts;
  const { table } = records;
  const end = Math.min(table.highest + 1, range.first + range.recordsMax);
  for (let number = range.first; number < end; number++) {
    const kind = records.kind(number);
    if (records.owners[number] === 0 || !isMapping(kind)) continue;
    counts[kind === KIND_REMOTE ? "remote" : "local"][stateOf(core, number)]++;
  }
  return end <= table.highest ? end : 0;
}

function stateOf({ parts }: MapperCore, number: number): MappingState {
  const { records, nowSeconds } = parts;
  if (records.isHidden(number)) return "pending";
  if (records.owners[number] !== MAPPER_OID) return "published";
  if (!records.isActive(number, nowSeconds())) return "resting";
  return (records.flags(number) & FLAG_PROVISIONAL) === 0 ? "dynamic" : "provisional";
}

function fits(
  core: MapperCore,
  number: number,
  state: MappingState,
  { kind, state: wanted, address, context, reference, owner }: MappingQuery,
): boolean {
  const { records, owners } = core.parts;
  const isRemote = records.kind(number) === KIND_REMOTE;
  if (kind !== undefined && (kind === "remote") !== isRemote) return false;
  if (wanted !== undefined && wanted !== state) return false;
  if (owner !== undefined && owners.byOid(records.owners[number]!)?.name !== owner) return false;
  if (address !== undefined && !hasAddress(core, number, RECORD_LOCAL, address)) return false;
  if (reference !== undefined && !hasReference(core, number, reference)) return false;
  if (context === undefined) return true;
  if (isRemote) return hasAddress(core, number, RECORD_CONTEXT, context);
  return sameBytes(core.config.publicAddress.bytes, context.bytes);
}

function hasAddress(
  { parts }: MapperCore,
  number: number,
  field: typeof RECORD_LOCAL | typeof RECORD_CONTEXT,
  { version, bytes }: IpAddress,
): boolean {
  const { localVersion, tunnelVersion } = parts.records.table.shape;
  if (version !== (field === RECORD_LOCAL ? localVersion : tunnelVersion)) return false;
  return sameBytes(parts.records.copyBytes(number, field, bytes.length), bytes);
}

function hasReference({ parts }: MapperCore, number: number, reference: Reference): boolean {
  const bytes = parts.records.copyBytes(number, RECORD_REFERENCE, 16);
  let rest = reference;
  for (let index = 15; index >= 0; index--) {
    if (bytes[index] !== Number(rest & 0xffn)) return false;
    rest >>= 8n;
  }
  return true;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
