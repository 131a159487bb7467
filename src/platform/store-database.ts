/**
 * The LMDB file of the mapping store: opening with a check of everything in it, checkpoints, and
 * reading. Main thread; checkpoints commit on LMDB's writer thread.
 *
 * Keys are numbers: shelf index times 2^48 plus the key of the change, so that a shelf is one range
 * and the order is that of mapper/store.ts. Values carry a CRC-32 in front. One more entry, beyond
 * all shelves, holds the last journal epoch that the file contains.
 *
 * `overlappingSync: false` makes a commit durable when it resolves: the pages are written and
 * synchronised, then the meta page is written with O_DSYNC (seen with strace, lmdb-js 3.5).
 */

import {
  chmodSync,
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
} from "node:fs";
import { crc32 } from "node:zlib";
import { open, type RootDatabase } from "lmdb";
import {
  STORE_SHELVES,
  type StoreChange,
  type StoredEntry,
  type StoredState,
  type StoreShelf,
} from "../mapper/store.js";

const SHELF_STEP = 2 ** 48;
const EPOCH_KEY = 30 * SHELF_STEP;
const CRC_BYTES = 4;
const FILE_MODE = 0o660; // spec/mapper.md 6.1

// Two meta pages at the start of the file; only what is needed to know how long it should be.
const PAGE_BYTES = 4096;
const META_MAGIC = 24;
const META_LAST_PAGE = 144;
const META_TRANSACTION = 152;
const LMDB_MAGIC = 0xbeefc0de;

/** The file is not what this program wrote. */
export class DamagedStore extends Error {
  override readonly name = "DamagedStore";
}

/** The LMDB half of the store. */
export class StoreDatabase implements StoredState {
  private readonly environment: RootDatabase<Uint8Array, number>;

  private constructor(environment: RootDatabase<Uint8Array, number>) {
    this.environment = environment;
  }

  /**
   * Opens or creates the file. The caller holds the lock of the data directory. Throws
   * DamagedStore, or Node's file errors.
   */
  static open(path: string): StoreDatabase {
    repairLength(path);
    rmSync(`${path}-lock`, { force: true }); // readers of a process that has ended
    const environment = openEnvironment(path);
    try {
      chmodSync(path, FILE_MODE);
      const database = new StoreDatabase(environment);
      database.verify();
      return database;
    } catch (error) {
      void environment.close();
      throw isDamage(error) ? new DamagedStore(String(error)) : error;
    }
  }

  /** Last journal epoch that the file contains. */
  get epoch(): number {
    const value = this.environment.get(EPOCH_KEY);
    return value === undefined ? 0 : viewOf(value).getUint32(CRC_BYTES, true);
  }

  /** Entries of a shelf in ascending order of keys. */
  *entries(shelf: StoreShelf): Iterable<StoredEntry> {
    const start = STORE_SHELVES.indexOf(shelf) * SHELF_STEP;
    for (const { key, value } of this.environment.getRange({ start, end: start + SHELF_STEP })) {
      yield { key: key - start, value: value.subarray(CRC_BYTES) };
    }
  }

  /** Writes changes and the epoch in one transaction; durable when it resolves. */
  async checkpoint(changes: Iterable<StoreChange>, epoch: number): Promise<void> {
    await this.environment.transaction(() => this.apply(changes, epoch));
  }

  /** As `checkpoint`, at once. */
  checkpointNow(changes: Iterable<StoreChange>, epoch: number): void {
    this.environment.transactionSync(() => this.apply(changes, epoch));
  }

  close(): Promise<void> {
    return this.environment.close();
  }

  private apply(changes: Iterable<StoreChange>, epoch: number): void {
    for (const { shelf, key, value } of changes) {
      const full = STORE_SHELVES.indexOf(shelf) * SHELF_STEP + key;
      if (value === undefined) this.environment.removeSync(full);
      else this.environment.putSync(full, guarded(value));
    }
    const stamp = new Uint8Array(4);
    viewOf(stamp).setUint32(0, epoch, true);
    this.environment.putSync(EPOCH_KEY, guarded(stamp));
  }

  private verify(): void {
    for (const { key, value } of this.environment.getRange({})) {
      if (typeof key !== "number" || value.length <= CRC_BYTES) throw new DamagedStore("bad entry");
      if (viewOf(value).getUint32(0, true) !== crc32(value.subarray(CRC_BYTES))) {
        throw new DamagedStore(`wrong checksum of entry ${key}`);
      }
    }
  }
}

function openEnvironment(path: string): RootDatabase<Uint8Array, number> {
  try {
    return open<Uint8Array, number>({
      path,
      noSubdir: true,
      encoding: "binary",
      compression: false,
      overlappingSync: false,
      pageSize: PAGE_BYTES,
    });
  } catch (error) {
    throw isDamage(error) ? new DamagedStore(String(error)) : error;
  }
}

/** LMDB's own names for a file that it cannot make sense of (lmdb.h). */
function isDamage(error: unknown): boolean {
  return (
    error instanceof DamagedStore || /MDB_(INVALID|CORRUPTED|PAGE|VERSION)/.test(String(error))
  );
}

/**
 * A file shorter than its meta page says would end the process with SIGBUS, since LMDB maps it
 * into memory: fill it up with zeros, which the check then finds. Throws DamagedStore when the
 * file has no meta page at all.
 */
function repairLength(path: string): void {
  const fd = openSync(path, "a+", FILE_MODE);
  try {
    const size = fstatSync(fd).size;
    if (size === 0) return;
    const head = new Uint8Array(2 * PAGE_BYTES);
    readSync(fd, head, 0, head.length, 0);
    const wanted = (lastPage(viewOf(head)) + 1) * PAGE_BYTES;
    if (!(wanted <= 2 ** 46)) throw new DamagedStore("impossible length");
    if (size < wanted) ftruncateSync(fd, wanted);
  } finally {
    closeSync(fd);
  }
}

function lastPage(view: DataView): number {
  let page: bigint | undefined;
  let newest = -1n;
  for (const start of [0, PAGE_BYTES]) {
    if (view.getUint32(start + META_MAGIC, true) !== LMDB_MAGIC) continue;
    const transaction = view.getBigUint64(start + META_TRANSACTION, true);
    if (transaction <= newest) continue;
    newest = transaction;
    page = view.getBigUint64(start + META_LAST_PAGE, true);
  }
  if (page === undefined) throw new DamagedStore("no meta page");
  return Number(page);
}

function guarded(value: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafe(CRC_BYTES + value.length);
  bytes.writeUInt32LE(crc32(value), 0);
  bytes.set(value, CRC_BYTES);
  return bytes;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
