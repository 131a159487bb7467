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

export const RECORD_BYTES = 64;
export const WORD_SEQUENCE = 0;
export const WORD_KIND = 1;
export const WORD_LAST_USED = 2;
export const WORD_HINT = 3;
export const WORD_LOCAL = 4;
export const WORD_CONTEXT = 8;
export const WORD_REFERENCE = 12;
export const RECORD_LAST_USED = 4 * WORD_LAST_USED;
export const RECORD_HINT = 4 * WORD_HINT;
export const RECORD_LOCAL = 4 * WORD_LOCAL;
export const RECORD_CONTEXT = 4 * WORD_CONTEXT;
export const RECORD_REFERENCE = 4 * WORD_REFERENCE;

export const KIND_FREE = 0;
export const KIND_REMOTE = 1;
export const KIND_LOCAL = 2;
export const KIND_PAIR = 3;

/** A LOCAL record of a host with several references: a sender looks for a PAIR first. */
export const FLAG_MULTIPLE = 1;
/** A LOCAL record that is not its host's primary one: found by reference only. */
export const FLAG_SECONDARY = 2;
/** Readers treat the record as missing; the mapper still knows it. */
export const FLAG_INACTIVE = 4;
/**
 * A REMOTE record that nobody inside has used yet (spec/tunnel.md S2). `findByLocal` misses it, so
 * that the first packet towards it takes the slow path, where the mapper confirms it.
 */
export const FLAG_PROVISIONAL = 8;
/** Found by its local address only: its context and reference belong to another record now. */
export const FLAG_DETACHED = 16;

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
