/**
 * Layout of the address table in shared memory: encoded addresses, our hosts and their references,
 * and which reference a peer uses (spec/mapper.md 1, 3.8). Single writer: the main thread. Readers:
 * all threads. All words are 32-bit little-endian.
 *
 *   record, 64 bytes                          bytes
 *     w0  sequence, odd while being written   16..31 local address (encoded, or our host's)
 *     w1  kind | flags << 8                   32..47 context; for PAIR the encoded address
 *     w2  last used, mapper seconds           48..63 reference, most significant byte first
 *     w3  hint, see below
 *
 * IPv4 addresses lie in the first 4 bytes of their field, the rest is zero. Record 0 is never used.
 * w3: for REMOTE the number of the peer entry (0 none; a hint that its user verifies), for PAIR the
 * number of the LOCAL record, for FREE the next free record.
 *
 * After the records follow three hash indexes of u32 slots that hold record numbers (0 empty):
 *   local      by local address: REMOTE, and LOCAL unless SECONDARY
 *   reference  by context and reference: REMOTE; by reference: LOCAL; neither when DETACHED
 *   pair       by local address and encoded address: PAIR
 */

import { RECORD_BYTES } from "./address-record.js";

export * from "./address-record.js";

/** Everything a reader has to know to use a table; fixed at start. */
export interface AddressTableShape {
  /** Most records at a time; 1 to 2^24. */
  readonly recordsMax: number;
  readonly localVersion: 4 | 6;
  readonly tunnelVersion: 4 | 6;
  /** Secret key of the hash: an integer below 2^53. */
  readonly hashSeed: number;
}

/** Slots of one index: a power of two, at most half full. */
export function indexSlots(recordsMax: number): number {
  let slots = 16;
  while (slots < 2 * recordsMax) slots *= 2;
  return slots;
}

/** Bytes of a table: records (with record 0), then the indexes. A multiple of 64. */
export function addressTableBytes(shape: AddressTableShape): number {
  return RECORD_BYTES * (shape.recordsMax + 1) + 3 * 4 * indexSlots(shape.recordsMax);
}
