/** Records that the `ipref` step makes itself (spec/resolver.md 1.9, 1.11). */

import type { IpAddress } from "../../../base/ip.js";
import { writeU32 } from "../../../wire/bytes.js";
import { type Name, nameOf } from "../../../wire/dns/name.js";
import { TYPE_A, TYPE_AAAA, TYPE_HINFO, TYPE_PTR, TYPE_SOA } from "../../../wire/dns/numbers.js";
import { type ResourceRecord, recordOf } from "../../../wire/dns/record.js";
import { NODATA_TTL_SECONDS_MAX } from "./settings.js";

const SOA_NAME = nameOf("ipref.invalid.");
/** Nobody transfers this zone; the values are those of RFC 6303 3 for empty zones. */
const SOA_SERIAL = 1;
const SOA_REFRESH_SECONDS = 604_800;
const SOA_RETRY_SECONDS = 86_400;
const SOA_EXPIRE_SECONDS = 2_419_200;

/** RFC 8482 4.2: CPU "RFC8482", OS "". */
const HINFO_DATA = Uint8Array.of(7, ...[..."RFC8482"].map((char) => char.charCodeAt(0)), 0);
const HINFO_TTL_SECONDS = 3600;

/** A or AAAA, by the version of the address. */
export function addressRecord(owner: Name, ttlSeconds: number, address: IpAddress): ResourceRecord {
  return recordOf(owner, address.version === 4 ? TYPE_A : TYPE_AAAA, ttlSeconds, address.bytes);
}

export function pointerRecord(owner: Name, ttlSeconds: number, target: Name): ResourceRecord {
  return recordOf(owner, TYPE_PTR, ttlSeconds, target.wire);
}

/** The whole answer to ANY. */
export function anyRecord(owner: Name): ResourceRecord {
  return recordOf(owner, TYPE_HINFO, HINFO_TTL_SECONDS, HINFO_DATA);
}

/** SOA of a negative answer: owned by the question name, so that it can be cached (RFC 2308). */
export function negativeSoa(owner: Name, ttlSeconds: number): ResourceRecord {
  const seconds = Math.min(NODATA_TTL_SECONDS_MAX, ttlSeconds);
  const names = SOA_NAME.wire;
  const data = new Uint8Array(2 * names.length + 20);
  data.set(names);
  data.set(names, names.length);
  const timers = [SOA_SERIAL, SOA_REFRESH_SECONDS, SOA_RETRY_SECONDS, SOA_EXPIRE_SECONDS, seconds];
  for (const [index, value] of timers.entries())
    writeU32(data, 2 * names.length + 4 * index, value);
  return recordOf(owner, TYPE_SOA, seconds, data);
}
