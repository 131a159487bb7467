/**
 * The thread that writes checkpoints into LMDB, so that the main thread never waits for the disk.
 * It shares the environment with the main thread, which only reads (one writer, LMDB's own rule).
 *
 * In: a journal group (store-journal.ts) with the changes and the epoch, or undefined to end.
 * Out: a CheckpointResult for each group. The transaction is synchronous here because lmdb-js
 * reports a failed asynchronous one (disk full) by a promise that nobody can catch.
 */

import { parentPort, workerData } from "node:worker_threads";
import { applyChanges, type CheckpointResult, openEnvironment } from "./store-database.js";
import { parseHalf } from "./store-journal.js";

const port = parentPort!;
const environment = openEnvironment((workerData as { path: string }).path);

function write(group: Uint8Array): CheckpointResult {
  try {
    const { epoch, changes } = parseHalf(group)!;
    environment.transactionSync(() => applyChanges(environment, changes, epoch));
    return { ok: true };
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : String(error) };
  }
}

port.on("message", (group: Uint8Array | undefined) => {
  if (group !== undefined) port.postMessage(write(group));
  else void environment.close().then(() => port.close());
});
