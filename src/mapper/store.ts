/**
 * The durable store of the mapper as the mapper sees it: five shelves of numbered byte strings and
 * atomic batches of changes (spec/mapper.md 6). The mapper writes and reads all bytes; a store only
 * keeps them, so that one implementation (LMDB, memory, later a shared one) needs no knowledge of
 * mappings. The own public address is in none of them (spec/mapper.md 6.4).
 *
 * Rules for an implementation:
 * - `commit` is atomic and durable when its promise resolves: after a crash at any moment either
 *   all changes of a batch are there or none. Batches are applied in the order of the calls.
 * - A rejected `commit` (disk full) leaves the store as it was; later calls may succeed.
 * - Keys are non-negative integers below 2^48 and unique within a shelf; values are 1 to 16384
 *   bytes.
 * - The values handed to `commit` belong to the store from then on; the mapper does not touch them.
 */

/**
 * `meta`: key META_KEY only. `owner`: by owner id. `source`: by owner id. `seen`: sets of records
 * that DNS sources delivered. `page`: RECORDS_PER_PAGE address records each, by page number.
 */
export type StoreShelf = "meta" | "owner" | "source" | "seen" | "page";

/** All shelves, in the order in which the mapper reads them. */
export const STORE_SHELVES: readonly StoreShelf[] = ["meta", "owner", "source", "seen", "page"];

/** Key of the one entry of the shelf `meta`. */
export const META_KEY = 1;

/** Puts `value` under `key`, replacing what is there; `undefined` removes the key. */
export interface StoreChange {
  readonly shelf: StoreShelf;
  readonly key: number;
  readonly value: Uint8Array | undefined;
}

/** One stored value; `value` is borrowed until the next one is asked for. */
export interface StoredEntry {
  readonly key: number;
  readonly value: Uint8Array;
}

/** What the store held when it was opened. Valid until the first `commit`. */
export interface StoredState {
  /** Entries of a shelf in ascending order of keys. */
  entries(shelf: StoreShelf): Iterable<StoredEntry>;
}

/** A durable store; one gateway process owns it exclusively. */
export interface MappingStore {
  load(): StoredState;
  commit(changes: readonly StoreChange[]): Promise<void>;
  close(): Promise<void>;
}

/*
 * Page: 8 bytes of header, then RECORDS_PER_PAGE records of STORED_RECORD_BYTES; big-endian.
 *
 *   header   0 format version, 1..7 zero
 *   record   0 kind (0 empty, 1 remote host, 2 local host)
 *            1 flags (1 provisional, 2 created by a packet from outside)
 *            2..3 zero
 *            4..7 mark: expiry in mapper seconds
 *            8..23 encoded or local address (IPv4 in the first 4 bytes, rest zero)
 *            24..39 context of a remote host; zero for a local host
 *            40..55 reference
 *
 * Record number n lies on page floor(n / RECORDS_PER_PAGE). A page whose records are all empty is
 * removed. Only records owned by the mapper itself are on pages: records of hosts files are read
 * from the file again, those of DNS sources are on the shelf `seen`.
 */

/** First byte of every value; a store with another version is not read. */
export const STORE_FORMAT_VERSION = 1;

/** Pages small enough for several to share one 4096-byte page of a B+tree. */
export const RECORDS_PER_PAGE = 16;
export const PAGE_HEADER_BYTES = 8;
export const STORED_RECORD_BYTES = 56;
export const PAGE_BYTES = PAGE_HEADER_BYTES + RECORDS_PER_PAGE * STORED_RECORD_BYTES;

export const STORED_KIND = 0;
export const STORED_FLAGS = 1;
export const STORED_MARK = 4;
export const STORED_LOCAL = 8;
export const STORED_CONTEXT = 24;
export const STORED_REFERENCE = 40;

export const STORED_PROVISIONAL = 1;
export const STORED_FROM_OUTSIDE = 2;
