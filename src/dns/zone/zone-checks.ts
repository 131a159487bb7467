/**
 * Load checks of a zone (spec/resolver.md 3.2). All problems are reported; a zone with errors is
 * not served.
 */

import { nameEndAt } from "../../wire/dns/builder.js";
import { Name } from "../../wire/dns/name.js";
import {
  TYPE_A,
  TYPE_AAAA,
  TYPE_CNAME,
  TYPE_DNAME,
  TYPE_DNSKEY,
  TYPE_DS,
  TYPE_MX,
  TYPE_NS,
  TYPE_NSEC,
  TYPE_RRSIG,
  TYPE_SOA,
  TYPE_SRV,
  typeName,
} from "../../wire/dns/numbers.js";
import { type ResourceRecord, sameData } from "../../wire/dns/record.js";
import type { Complaints } from "../plugin.js";
import type { LocatedRecord } from "./master-file.js";
import { Zone, type ZoneNode } from "./zone.js";

/** Types that may stand beside a CNAME (RFC 4034 2.5, RFC 4035 2.5). */
const BESIDE_CNAME = new Set([TYPE_CNAME, TYPE_RRSIG, TYPE_NSEC]);

/** Types that may stand at a delegation. */
const AT_CUT = new Set([TYPE_NS, TYPE_DS, TYPE_RRSIG, TYPE_NSEC, TYPE_A, TYPE_AAAA]);

/** Where the name stands in the data of types that must not point to a CNAME. */
const TARGET_OFFSET = new Map([
  [TYPE_NS, 0],
  [TYPE_MX, 2],
  [TYPE_SRV, 6],
]);

/** Counts errors on their way to the collector. */
class Checker {
  readonly #complaints: Complaints;
  hasErrors = false;

  constructor(complaints: Complaints) {
    this.#complaints = complaints;
  }

  error({ position }: LocatedRecord, message: string): void {
    this.hasErrors = true;
    this.#complaints.error(position, message);
  }

  warning({ position }: LocatedRecord, message: string): void {
    this.#complaints.warning(position, message);
  }
}

/** Makes a zone of records; undefined after an error. `path` is named when nothing else can be. */
export function buildZone(
  origin: Name,
  located: readonly LocatedRecord[],
  path: string,
  complaints: Complaints,
): Zone | undefined {
  const check = new Checker(complaints);
  const inside = located.filter((one) => {
    if (one.record.owner.isWithin(origin)) return true;
    check.warning(one, `Dropped ${one.record.owner}, which lies outside the zone ${origin}`);
    return false;
  });
  const unique = withoutDuplicates(inside);
  const hasSoa = checkSoa(origin, unique, check);
  if (!hasSoa && !check.hasErrors) {
    const position = { file: path, line: 1, column: 1 };
    complaints.error(position, `Found no SOA record, expected one at ${origin}`);
    return undefined;
  }
  checkAliases(unique, check);
  if (check.hasErrors) return undefined;
  const sameTtl = withEqualTtls(unique, check);
  const zone = new Zone(
    origin,
    sameTtl.map(({ record }) => record),
  );
  warnAbout(zone, sameTtl, path, complaints, check);
  return zone;
}

function setKey({ owner, type }: ResourceRecord): string {
  return `${type} ${owner.key}`;
}

/** Exact duplicates are removed silently. */
function withoutDuplicates(located: readonly LocatedRecord[]): LocatedRecord[] {
  const seen = new Set<string>();
  return located.filter(({ record }) => {
    const key = `${setKey(record)} ${String.fromCharCode(...record.data.subarray(0, 512))}`;
    const isLong = record.data.length > 512;
    if (!seen.has(key)) {
      seen.add(key);
      return true;
    }
    return isLong && !hasEarlier(located, record);
  });
}

/** Slow comparison for the rare records with the same first 512 octets. */
function hasEarlier(located: readonly LocatedRecord[], record: ResourceRecord): boolean {
  for (const { record: other } of located) {
    if (other === record) return false;
    if (setKey(other) === setKey(record) && sameData(other.data, record.data)) return true;
  }
  return false;
}

/** Exactly one SOA, at the origin. */
function checkSoa(origin: Name, located: readonly LocatedRecord[], check: Checker): boolean {
  const all = located.filter(({ record }) => record.type === TYPE_SOA);
  const [first, second] = all.filter(({ record }) => record.owner.equals(origin));
  for (const one of all) {
    if (one.record.owner.equals(origin)) continue;
    check.error(one, `Found an SOA record at ${one.record.owner}, expected it at ${origin}`);
  }
  if (second !== undefined) {
    const { line } = first!.position;
    check.error(second, `Found a second SOA record, expected one; first at line ${line}`);
  }
  return first !== undefined;
}

/** No CNAME beside other data, no two CNAMEs or DNAMEs at one name. */
function checkAliases(located: readonly LocatedRecord[], check: Checker): void {
  const types = new Map<string, Set<number>>();
  for (const { record } of located) {
    const set = types.get(record.owner.key) ?? new Set();
    types.set(record.owner.key, set.add(record.type));
  }
  const seen = new Set<string>();
  for (const one of located) {
    const { owner, type } = one.record;
    if (type !== TYPE_CNAME && type !== TYPE_DNAME) continue;
    const key = setKey(one.record);
    if (seen.has(key))
      check.error(one, `Found a second ${typeName(type)} at ${owner}, expected one`);
    else if (type === TYPE_CNAME) {
      const other = [...types.get(owner.key)!].find((beside) => !BESIDE_CNAME.has(beside));
      if (other !== undefined) {
        check.error(one, `Found a CNAME beside ${typeName(other)} at ${owner}, expected it alone`);
      }
    }
    seen.add(key);
  }
}

/** All records of a set get its smallest TTL (RFC 2181 5.2). */
function withEqualTtls(located: readonly LocatedRecord[], check: Checker): LocatedRecord[] {
  const smallest = new Map<string, number>();
  for (const one of located) {
    const key = setKey(one.record);
    const ttl = smallest.get(key);
    const { ttlSeconds, owner, type } = one.record;
    if (type !== TYPE_RRSIG && ttl !== undefined && ttl !== ttlSeconds) {
      const least = Math.min(ttl, ttlSeconds);
      check.warning(one, `Found different TTLs in ${owner} ${typeName(type)}; ${least} is used`);
    }
    smallest.set(key, Math.min(ttl ?? ttlSeconds, ttlSeconds));
  }
  return located.map((one) => {
    const ttlSeconds = smallest.get(setKey(one.record))!;
    const isSame = ttlSeconds === one.record.ttlSeconds || one.record.type === TYPE_RRSIG;
    return isSame ? one : { ...one, record: { ...one.record, ttlSeconds } };
  });
}

function warnAbout(
  zone: Zone,
  located: readonly LocatedRecord[],
  path: string,
  complaints: Complaints,
  check: Checker,
): void {
  if (!zone.apex.sets.has(TYPE_NS)) {
    const position = { file: path, line: 1, column: 1 };
    complaints.warning(position, `Found no NS record at ${zone.origin}, expected at least one`);
  }
  if (zone.apex.sets.has(TYPE_DNSKEY)) {
    const position = { file: path, line: 1, column: 1 };
    complaints.warning(position, `The zone ${zone.origin} is signed; it is served without DNSSEC`);
  }
  for (const one of located) {
    const { owner, type } = one.record;
    const node = zone.node(owner.key)!;
    if (isOccluded(node, type)) {
      const where = node.cut!.name;
      check.warning(one, `Found ${owner} ${typeName(type)} below the delegation of ${where}`);
    }
    const offset = TARGET_OFFSET.get(type);
    if (offset !== undefined) warnAboutTarget(zone, one, offset, check);
  }
}

/** Data at or below a cut that is neither the delegation nor glue. */
function isOccluded(node: ZoneNode, type: number): boolean {
  if (node.cut === undefined) return false;
  if (node.cut === node) return !AT_CUT.has(type);
  return type !== TYPE_A && type !== TYPE_AAAA;
}

function warnAboutTarget(zone: Zone, one: LocatedRecord, offset: number, check: Checker): void {
  const target = nameInData(one.record, offset);
  if (zone.node(target.key)?.sets.has(TYPE_CNAME) !== true) return;
  check.warning(one, `The ${typeName(one.record.type)} target ${target} is a CNAME`);
}

/** The name that starts at `offset` of a record's data. */
export function nameInData({ data }: ResourceRecord, offset: number): Name {
  return new Name(data.subarray(offset, nameEndAt(data, offset)));
}
