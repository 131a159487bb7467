/**
 * The durable mapping store: LMDB behind a journal (spec/mapper.md 6; mapper/store.ts).
 * Main thread; disk writes happen on other threads.
 *
 * A commit is durable when its group is in the journal; commits handed in while a group is being
 * written go together into the next one. A journal half that is full is taken over into LMDB by a
 * checkpoint while the other half is written. After a crash the journal is replayed into LMDB.
 *
 * The disk full: the journal has its space already, so commits go on until both halves are full;
 * then they are rejected with StoreError until a checkpoint succeeds. Nothing acknowledged is lost.
 */

import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { MappingStore, StoreChange, StoredState } from "../mapper/store.js";
import {
  type DataDirectory,
  fileRefusal,
  lockDataDirectory,
  syncDirectory,
} from "./data-directory.js";
import { StoreDatabase } from "./store-database.js";
import { DamagedStore } from "./store-inspection.js";
import {
  changesLength,
  GROUP_HEADER_BYTES,
  JOURNAL_HALF_BYTES,
  JournalFile,
} from "./store-journal.js";

/** A group no larger than this keeps the wait of its members short. */
const GROUP_BYTES_MAX = 256 << 10;
/** After a failed checkpoint commits are rejected at once for this long. */
const CHECKPOINT_RETRY_MS = 1000;

/** A commit or checkpoint that the disk refused. `code` is the error name, such as "ENOSPC". */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: string;

  constructor(path: string, cause: unknown) {
    const code = storeErrorCode(cause);
    const what = code === "ENOSPC" ? "the disk is full; free some space" : String(cause);
    super(`Cannot store mappings in ${path}: ${what}`);
    this.code = code;
  }
}

function storeErrorCode(cause: unknown): string {
  const { code } = cause as NodeJS.ErrnoException;
  if (typeof code === "string") return code;
  return /No space left/i.test(String(cause)) ? "ENOSPC" : "EIO";
}

/** Where and what to open. */
export interface LmdbStoreOptions {
  readonly directory: string;
  /** IP versions of encoded addresses and of gateways: one store per pair (spec/mapper.md 6.1). */
  readonly encodedVersion: 4 | 6;
  readonly gatewayVersion: 4 | 6;
  /** Journal half; smaller values are for tests. */
  readonly journalHalfBytes?: number;
}

interface PendingCommit {
  readonly changes: readonly StoreChange[];
  readonly lengthBytes: number;
  resolve(): void;
  reject(error: Error): void;
}

type ChangeMap = Map<string, StoreChange>;

/** The store on disk. Open it with `openLmdbStore`. */
export class LmdbStore implements MappingStore {
  /** What happened while opening, one sentence each (a damaged file was moved aside). */
  readonly notices: readonly string[];
  private readonly path: string;
  private readonly lock: DataDirectory;
  private readonly database: StoreDatabase;
  private readonly journal: JournalFile;
  private queue: PendingCommit[] = [];
  private pump: Promise<void> | undefined;
  /** Changes of the epoch being written, not yet in LMDB. */
  private active: ChangeMap = new Map();
  private activeEpoch: number;
  /** Changes of the epoch before, while a checkpoint takes them over. */
  private sealed: ChangeMap | undefined;
  private checkpoint: Promise<void> | undefined;
  private failure: { readonly error: StoreError; readonly atMs: number } | undefined;
  private isClosed = false;

  constructor(parts: StoreParts) {
    this.notices = parts.notices;
    this.path = parts.path;
    this.lock = parts.lock;
    this.database = parts.database;
    this.journal = parts.journal;
    this.activeEpoch = parts.database.epoch + 1;
    this.journal.begin(this.activeEpoch);
  }

  /** What was stored when the store was opened. */
  load(): StoredState {
    return this.database;
  }

  /** Hands in one atomic batch; durable when the promise resolves, rejected with StoreError. */
  commit(changes: readonly StoreChange[]): Promise<void> {
    if (this.isClosed) return Promise.reject(new StoreError(this.path, "the store is closed"));
    return new Promise((resolve, reject) => {
      this.queue.push({ changes, lengthBytes: changesLength(changes), resolve, reject });
      this.pump ??= this.startPump();
    });
  }

  /** Writes what is queued, takes everything over into LMDB and releases the directory. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    while (this.pump !== undefined) await this.pump;
    await this.checkpoint;
    this.failure = undefined;
    try {
      if (this.sealed !== undefined) await this.takeOver(this.sealed, this.activeEpoch - 1);
      if (this.active.size > 0) await this.takeOver(this.active, this.activeEpoch);
    } catch {
      // The journal still has everything; the next start replays it.
    }
    this.journal.close();
    await this.database.close();
    this.lock.release();
  }

  /** Starts after the present callback, so that all commits of one turn share a group. */
  private startPump(): Promise<void> {
    return new Promise((done) => {
      process.nextTick(async () => {
        while (this.queue.length > 0) await this.writeGroup();
        this.pump = undefined;
        done();
      });
    });
  }

  private async writeGroup(): Promise<void> {
    if (this.queue[0]!.lengthBytes > this.journal.halfBytes - GROUP_HEADER_BYTES) {
      return this.writeOversized(this.queue.shift()!);
    }
    if (this.queue[0]!.lengthBytes > this.journal.roomBytes) {
      const error = await this.rotate();
      if (error !== undefined) return this.rejectAll(error);
    }
    const group = this.takeGroup();
    try {
      await this.journal.append(group.map(({ changes }) => changes));
    } catch (error) {
      const refusal = new StoreError(this.path, error);
      for (const commit of group) commit.reject(refusal);
      return;
    }
    for (const { changes } of group) remember(this.active, changes);
    for (const commit of group) commit.resolve();
  }

  /** The commits at the head of the queue that fit into the next group; at least one. */
  private takeGroup(): PendingCommit[] {
    const room = Math.min(
      this.journal.roomBytes,
      Math.max(GROUP_BYTES_MAX, this.queue[0]!.lengthBytes),
    );
    let lengthBytes = 0;
    let count = 0;
    for (const commit of this.queue) {
      lengthBytes += commit.lengthBytes;
      if (lengthBytes > room) break;
      count++;
    }
    return this.queue.splice(0, count);
  }

  /** Begins the next epoch; waits for the checkpoint of the one before. */
  private async rotate(): Promise<StoreError | undefined> {
    await this.checkpoint;
    if (this.sealed !== undefined) {
      if (this.failure !== undefined && Date.now() - this.failure.atMs < CHECKPOINT_RETRY_MS) {
        return this.failure.error;
      }
      await this.startCheckpoint();
      if (this.sealed !== undefined) return this.failure!.error;
    }
    this.sealed = this.active;
    this.active = new Map();
    this.activeEpoch++;
    this.journal.begin(this.activeEpoch);
    void this.startCheckpoint();
    return undefined;
  }

  /** Takes the sealed epoch over into LMDB; keeps it on failure. Never rejects. */
  private startCheckpoint(): Promise<void> {
    this.checkpoint = this.takeOver(this.sealed!, this.activeEpoch - 1).then(
      () => {
        this.sealed = undefined;
        this.failure = undefined;
        this.checkpoint = undefined;
      },
      (error: unknown) => {
        this.failure = { error: new StoreError(this.path, error), atMs: Date.now() };
        this.checkpoint = undefined;
      },
    );
    return this.checkpoint;
  }

  private takeOver(changes: ChangeMap, epoch: number): Promise<void> {
    return this.database.checkpoint([...changes.values()], epoch);
  }

  /** A batch larger than a journal half goes into LMDB with everything before it. */
  private async writeOversized(commit: PendingCommit): Promise<void> {
    const error = await this.rotate();
    if (error !== undefined) return commit.reject(error);
    await this.checkpoint;
    if (this.sealed !== undefined) return commit.reject(this.failure!.error);
    const all: ChangeMap = new Map();
    remember(all, commit.changes);
    try {
      await this.takeOver(all, this.activeEpoch);
    } catch (cause) {
      return commit.reject(new StoreError(this.path, cause));
    }
    this.activeEpoch++;
    this.journal.begin(this.activeEpoch);
    commit.resolve();
  }

  private rejectAll(error: StoreError): void {
    const rejected = this.queue;
    this.queue = [];
    for (const commit of rejected) commit.reject(error);
  }
}

/** Later changes of one key replace earlier ones; the order of insertion does not matter. */
function remember(map: ChangeMap, changes: readonly StoreChange[]): void {
  for (const change of changes) map.set(`${change.shelf}/${change.key}`, change);
}

interface StoreParts {
  readonly path: string;
  readonly lock: DataDirectory;
  readonly database: StoreDatabase;
  readonly journal: JournalFile;
  readonly notices: readonly string[];
}

/**
 * Opens the store: locks the directory, moves a damaged file aside, replays the journal. Throws
 * SystemCallError when the directory is taken, unreadable or full.
 */
export function openLmdbStore(options: LmdbStoreOptions): LmdbStore {
  const name = `mapper_ea${options.encodedVersion}_gw${options.gatewayVersion}`;
  const path = join(options.directory, `${name}.mdb`);
  const journalPath = join(options.directory, `${name}.journal`);
  const lock = lockDataDirectory(options.directory);
  try {
    const { database, notices } = openDatabase(path, journalPath);
    const halfBytes = options.journalHalfBytes ?? JOURNAL_HALF_BYTES;
    const journal = openJournal(journalPath, halfBytes, database);
    syncDirectory(options.directory);
    return new LmdbStore({ path, lock, database, journal, notices });
  } catch (error) {
    lock.release();
    throw fileRefusal(`open the store ${path}`, error);
  }
}

function openDatabase(
  path: string,
  journalPath: string,
): { database: StoreDatabase; notices: string[] } {
  try {
    return { database: StoreDatabase.open(path), notices: [] };
  } catch (error) {
    if (!(error instanceof DamagedStore)) throw error;
    const suffix = `.bad-${new Date().toISOString().replaceAll(/[:.]/g, "-")}`;
    renameSync(path, path + suffix);
    if (existsSync(journalPath)) renameSync(journalPath, journalPath + suffix);
    rmSync(`${path}-lock`, { force: true });
    const notice =
      `The store ${path} is damaged (${error.message}); moved it to ${path}${suffix} and ` +
      "started with an empty one";
    return { database: StoreDatabase.open(path), notices: [notice] };
  }
}

/** Opens the journal and takes over what LMDB does not have yet. */
function openJournal(path: string, halfBytes: number, database: StoreDatabase): JournalFile {
  try {
    const journal = new JournalFile(path, halfBytes);
    for (const { epoch, changes } of journal.readEpochs()) {
      if (epoch > database.epoch) database.checkpointNow(changes, epoch);
    }
    return journal;
  } catch (error) {
    void database.close();
    throw error;
  }
}
