/**
 * Numbers of the address table's records; what they mean: address-table-layout.ts. Constants only:
 * the WebAssembly kernel is compiled with this file as well.
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
