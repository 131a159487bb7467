/**
 * What the agent keeps of a public zone: TXT and address records of class IN, and the numbers of
 * its SOA. Copies are immutable; a difference (IXFR) makes a new one.
 */

import { readU32 } from "../wire/bytes.js";
import { nameEndAt } from "../wire/dns/builder.js";
import { CLASS_IN, TYPE_A, TYPE_AAAA, TYPE_SOA, TYPE_TXT } from "../wire/dns/numbers.js";
import type { ResourceRecord } from "../wire/dns/record.js";

/** Numbers of an SOA (RFC 1035 3.3.13). */
export interface Soa {
  readonly record: ResourceRecord;
  readonly serial: number;
  readonly refreshSeconds: number;
  readonly retrySeconds: number;
  readonly expireSeconds: number;
}

/** One version of a zone, or of what stands for one. */
export interface ZoneCopy {
  /** Undefined for content that has no serial: a list of names, a file without SOA. */
  readonly soa: Soa | undefined;
  /** By `zoneRecordKey`, in zone order. */
  readonly records: ReadonlyMap<string, ResourceRecord>;
}

/** True for records that the agent looks at. */
export function isOfInterest(record: ResourceRecord): boolean {
  const { type } = record;
  const isKept = type === TYPE_TXT || type === TYPE_A || type === TYPE_AAAA;
  return isKept && record.class === CLASS_IN;
}

/** Equal exactly for equal owner, type and data; the TTL does not count (RFC 1995 4). */
export function zoneRecordKey(record: ResourceRecord): string {
  let key = `${record.owner.key}/${record.type}/`;
  for (const octet of record.data) key += String.fromCharCode(octet);
  return key;
}

/** Reads an SOA; undefined when the record is none. */
export function soaOf(record: ResourceRecord): Soa | undefined {
  if (record.type !== TYPE_SOA || record.class !== CLASS_IN) return undefined;
  const at = nameEndAt(record.data, nameEndAt(record.data, 0));
  const number = (index: number) => readU32(record.data, at + 4 * index);
  return {
    record,
    serial: number(0),
    refreshSeconds: number(1),
    retrySeconds: number(2),
    expireSeconds: number(3),
  };
}

/** A copy from records in zone order; others than those of interest are left out. */
export function zoneCopyOf(soa: Soa | undefined, records: Iterable<ResourceRecord>): ZoneCopy {
  const kept = new Map<string, ResourceRecord>();
  for (const record of records) if (isOfInterest(record)) kept.set(zoneRecordKey(record), record);
  return { soa, records: kept };
}
