/**
 * Host records and the hash of a set of them (spec/dns-agent.md 5.3 and 6).
 *
 * Order: ascending by gateway (IPv4 before IPv6, then numeric), then by reference as an unsigned
 * number. The hash is FNV-1a, 64 bit, over ip, gw and reference of each entry in that order; the
 * mapper treats it as opaque. 0 crashes the reference gateway, so that 1 stands for it.
 */

import { compareAddresses, formatIp, type IpAddress } from "../base/ip.js";
import { formatReference, type Reference, writeReferenceInto } from "../base/reference.js";

/** One published host. */
export interface HostRecord {
  /** All-zero: the mapper puts its own public address there. */
  readonly gateway: IpAddress;
  readonly reference: Reference;
  readonly ip: IpAddress;
  /** For logs only. */
  readonly label: string;
}

/** A set in canonical order, and its hash of eight bytes. */
export interface HostSet {
  readonly records: readonly HostRecord[];
  readonly hash: Uint8Array;
}

const HASH_BYTES = 8;
const REFERENCE_BYTES = 16;

/** Sorts records with distinct `(gateway, reference)` and hashes them. */
export function hostSetOf(records: readonly HostRecord[]): HostSet {
  const sorted = [...records].sort(compareRecords);
  return { records: sorted, hash: hostSetHash(sorted) };
}

function compareRecords(a: HostRecord, b: HostRecord): number {
  const byGateway = compareAddresses(a.gateway, b.gateway);
  if (byGateway !== 0) return byGateway;
  return a.reference < b.reference ? -1 : a.reference > b.reference ? 1 : 0;
}

/** Hash of records in canonical order; never all-zero. */
export function hostSetHash(sorted: readonly HostRecord[]): Uint8Array {
  const hash = new Fnv1a();
  const reference = new Uint8Array(REFERENCE_BYTES);
  for (const record of sorted) {
    hash.add(record.ip.bytes);
    hash.add(record.gateway.bytes);
    writeReferenceInto(reference, 0, record.reference);
    hash.add(reference);
  }
  const bytes = hash.bytes();
  if (bytes.every((byte) => byte === 0)) bytes[HASH_BYTES - 1] = 1;
  return bytes;
}

/** FNV-1a with 64 bits in two halves: the prime 2^40 + 0x1b3 splits each product. */
export class Fnv1a {
  #high = 0xcbf29ce4;
  #low = 0x84222325;

  /** Feeds bytes. */
  add(bytes: Uint8Array): void {
    for (const byte of bytes) {
      const low = (this.#low ^ byte) >>> 0;
      const product = low * 0x1b3; // below 2^41
      const carry = Math.floor(product / 0x1_0000_0000);
      const shifted = (low << 8) >>> 0; // low * 2^40, upper half
      this.#high = (Math.imul(this.#high, 0x1b3) + carry + shifted) >>> 0;
      this.#low = product >>> 0;
    }
  }

  /** The value, most significant byte first. */
  bytes(): Uint8Array {
    const bytes = new Uint8Array(HASH_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, this.#high);
    view.setUint32(4, this.#low);
    return bytes;
  }
}

/** Text `gw + ref` of a record, which is also its key in a set. */
export function recordKey(record: Pick<HostRecord, "gateway" | "reference">): string {
  return `${formatIp(record.gateway)} + ${formatReference(record.reference)}`;
}
