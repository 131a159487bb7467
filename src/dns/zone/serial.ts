/** Serial number arithmetic, RFC 1982 3.2, for the 32-bit serials of SOA records. */

import { readU32 } from "../../wire/bytes.js";
import { nameEndAt } from "../../wire/dns/builder.js";
import type { ResourceRecord } from "../../wire/dns/record.js";

/** True when `a` comes after `b`; false for equal ones and for the undefined distance of 2^31. */
export function isSerialNewer(a: number, b: number): boolean {
  const distance = (a - b) >>> 0;
  return distance > 0 && distance < 0x8000_0000;
}

/** Offset of the five numbers of an SOA's data. */
function numbersOffset(soa: ResourceRecord): number {
  return nameEndAt(soa.data, nameEndAt(soa.data, 0));
}

/** Serial of an SOA. */
export function soaSerial(soa: ResourceRecord): number {
  return readU32(soa.data, numbersOffset(soa));
}

/** Minimum field of an SOA: how long a negative answer is kept (RFC 2308 4). */
export function soaMinimum(soa: ResourceRecord): number {
  return readU32(soa.data, numbersOffset(soa) + 16);
}
