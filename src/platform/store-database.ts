/**
 * The LMDB file of the mapping store: opening with a check of everything in it, checkpoints, and
 * reading. Main thread; checkpoints are written by store-checkpoint-worker.ts.
 *
 * Keys are numbers: shelf index times 2^48 plus the key of the change, so that a shelf is one range
 * and the order is that of mapper/store.ts. Values carry a CRC-32 and their key in front. One more
 * entry, beyond all shelves, holds the last journal epoch that the file contains.
 *
 * `overlappingSync: false` makes a commit durable when it resolves: the pages are written and
 * synchronised, then the meta page is written with O_DSYNC (seen with strace, lmdb-js 3.5).
 */

import { chmodSync, rmSync, statfsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { open, type RootDatabase } from "lmdb";
import {
  STORE_SHELVES,
  type StoreChange,
  type StoredEntry,
  type StoredState,
  type StoreShelf,
} from "../mapper/store.js";
import {
  DamagedStore,
  GUARD_BYTES,
  guardValue,
  inspectStoreFile,
  PAGE_BYTES,
} from "./store-inspection.js";
import { buildGroup } from "./store-journal.js";

const SHELF_STEP = 2 ** 48;
const EPOCH_KEY = 30 * SHELF_STEP;
/** A checkpoint of two megabytes writes each changed page anew, and those above it. */
const FREE_BYTES_MIN = 256 << 10;
const FILE_MODE = 0o660; // spec/mapper.md 6.1

/** The LMDB half of the store. */
export class StoreDatabase implements StoredState {
  private readonly environment: RootDatabase<Uint8Array, number>;

  private readonly path: string;
  private worker: Worker | undefined;

  private constructor(environment: RootDatabase<Uint8Array, number>, path: string) {
    this.environment = environment;
    this.path = path;
  }

  /**
   * Opens or creates the file. The caller holds the lock of the data directory. Throws
   * DamagedStore, or Node's file errors.
   */
  static open(path: string): StoreDatabase {
    inspectStoreFile(path);
    rmSync(`${path}-lock`, { force: true }); // readers of a process that has ended
    const environment = openEnvironment(path);
    try {
      chmodSync(path, FILE_MODE);
      return new StoreDatabase(environment, path);
    } catch (error) {
      void environment.close();
      throw error;
    }
  }

  /** Last journal epoch that the file contains. */
  get epoch(): number {
    const value = this.environment.get(EPOCH_KEY);
    return value === undefined ? 0 : viewOf(value).getUint32(GUARD_BYTES, true);
  }

  /** Entries of a shelf in ascending order of keys. */
  *entries(shelf: StoreShelf): Iterable<StoredEntry> {
    const start = STORE_SHELVES.indexOf(shelf) * SHELF_STEP;
    for (const { key, value } of this.environment.getRange({ start, end: start + SHELF_STEP })) {
      yield { key: key - start, value: value.subarray(GUARD_BYTES) };
    }
  }

  /** Writes changes and the epoch in one transaction; durable when it resolves. */
  async checkpoint(changes: readonly StoreChange[], epoch: number): Promise<void> {
    this.needSpace();
    this.worker ??= startWorker(this.path);
    const { worker } = this;
    const group = buildGroup(epoch, 0, [changes]);
    worker.ref();
    const result = await new Promise<CheckpointResult>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", (error) => {
        this.worker = undefined; // the next checkpoint starts another one
        reject(error);
      });
      worker.postMessage(group, [group.buffer as ArrayBuffer]);
    });
    worker.removeAllListeners("error");
    worker.unref();
    if (!result.ok) this.fail(result.message);
  }

  /** As `checkpoint`, at once on this thread. */
  checkpointNow(changes: readonly StoreChange[], epoch: number): void {
    this.needSpace();
    try {
      this.environment.transactionSync(() => applyChanges(this.environment, changes, epoch));
    } catch (error) {
      this.fail(String(error));
    }
  }

  /** Ends the worker and closes the file. */
  async close(): Promise<void> {
    const { worker } = this;
    if (worker !== undefined) {
      worker.ref();
      const ended = new Promise((resolve) => worker.once("exit", resolve));
      worker.postMessage(undefined);
      await ended;
    }
    await this.environment.close();
  }

  /** LMDB tells a full disk only as "input/output error", so the space is looked at here. */
  private fail(message: string): never {
    this.needSpace();
    throw new Error(message);
  }

  private needSpace(): void {
    const { bavail, bsize } = statfsSync(this.path);
    if (bavail * bsize >= FREE_BYTES_MIN) return;
    throw Object.assign(new Error("no space left on the device"), { code: "ENOSPC" });
  }
}

/** What became of a checkpoint. */
export type CheckpointResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly message: string };

function startWorker(path: string): Worker {
  const worker = new Worker(new URL("./store-checkpoint-worker.js", import.meta.url), {
    workerData: { path },
  });
  worker.unref();
  return worker;
}

/** Puts changes and the epoch into the transaction that is open. */
export function applyChanges(
  environment: RootDatabase<Uint8Array, number>,
  changes: readonly StoreChange[],
  epoch: number,
): void {
  for (const { shelf, key, value } of changes) {
    const full = STORE_SHELVES.indexOf(shelf) * SHELF_STEP + key;
    if (value === undefined) environment.removeSync(full);
    else environment.putSync(full, guardValue(full, value));
  }
  const stamp = new Uint8Array(4);
  viewOf(stamp).setUint32(0, epoch, true);
  environment.putSync(EPOCH_KEY, guardValue(EPOCH_KEY, stamp));
}

/** Opens LMDB itself. Throws DamagedStore. */
export function openEnvironment(path: string): RootDatabase<Uint8Array, number> {
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

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
