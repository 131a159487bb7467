/**
 * Scheduling priority of threads: setpriority(2), sched(7). On Linux the value belongs to one
 * thread, and the first thread of a process has the process's number.
 */

import { setPriority } from "node:os";

/**
 * Niceness of the main thread while workers forward: a fifth of a processor when they and the
 * hosts want all of it, and all that is left otherwise (sched(7), 15 per cent a step are 1.25^-7).
 */
const MAIN_THREAD_NICENESS = 7;

/** Lets everything else go before the main thread when there is more work than processor time. */
export function yieldToWorkers(): void {
  try {
    setPriority(process.pid, MAIN_THREAD_NICENESS);
  } catch {
    // A sandbox that forbids setpriority(2): threads are equal, as without it.
  }
}
