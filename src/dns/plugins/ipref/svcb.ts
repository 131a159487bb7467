/**
 * HTTPS and SVCB records without address hints (RFC 9460 2.2, 7.3; spec/resolver.md 1.11): hints
 * would lead clients past IPREF.
 *
 *   data = priority 2, target name, parameters: key 2, length 2, value; keys ascending
 */

import { readU16 } from "../../../wire/bytes.js";
import { nameEndAt } from "../../../wire/dns/builder.js";
import { TYPE_HTTPS, TYPE_SVCB } from "../../../wire/dns/numbers.js";
import type { ResourceRecord } from "../../../wire/dns/record.js";

const KEY_MANDATORY = 0;
const KEY_IPV4_HINT = 4;
const KEY_IPV6_HINT = 6;

/** The record without hints; undefined when it cannot be used without them or is malformed. */
export function withoutHints(record: ResourceRecord): ResourceRecord | undefined {
  const { data } = record;
  const start = nameEndAt(data, 2);
  const kept: Uint8Array[] = [data.subarray(0, start)];
  for (let at = start; at < data.length; ) {
    if (at + 4 > data.length) return undefined;
    const key = readU16(data, at);
    const end = at + 4 + readU16(data, at + 2);
    if (end > data.length) return undefined;
    if (key === KEY_MANDATORY && listsHints(data, at + 4, end)) return undefined;
    if (!isHint(key)) kept.push(data.subarray(at, end));
    at = end;
  }
  return { ...record, data: Uint8Array.from(kept.flatMap((part) => [...part])) };
}

/** Records of an answer without hints; other types stay as they are. */
export function stripHints(records: readonly ResourceRecord[]): ResourceRecord[] {
  return records.flatMap((record) => {
    if (record.type !== TYPE_HTTPS && record.type !== TYPE_SVCB) return [record];
    return withoutHints(record) ?? [];
  });
}

function isHint(key: number): boolean {
  return key === KEY_IPV4_HINT || key === KEY_IPV6_HINT;
}

function listsHints(data: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at + 2 <= end; at += 2) if (isHint(readU16(data, at))) return true;
  return false;
}
