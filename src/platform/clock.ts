/**
 * Clocks. Elapsed time is CLOCK_MONOTONIC (clock_gettime(2)), which all threads of the machine
 * share and which no administrator can set; wall time is only for storing and for logs; what a
 * thread has worked is CLOCK_THREAD_CPUTIME_ID.
 */

import * as libc from "./libc.js";
import { allocateMemory, getSize } from "./memory.js";

// time.h
const CLOCK_THREAD_CPUTIME_ID = 3;
// linux/prctl.h
const PR_SET_TIMERSLACK = 29;
/** How late the kernel may end a pause; 50 microseconds unless told. */
const TIMER_SLACK_NANOSECONDS = 1_000;

/** struct timespec: seconds 8, nanoseconds 8. */
const timespec = allocateMemory(16);

/** Monotonic time in seconds with fraction; equal in all threads and processes of this boot. */
export function monotonicSeconds(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds + nanoseconds / 1e9;
}

/** Monotonic time in milliseconds with fraction. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}

/**
 * Milliseconds with fraction for which a processor has worked for this thread, in the kernel as
 * well. It stands still while the thread sleeps or waits for a processor.
 */
export function threadCpuMs(): number {
  libc.clockGettime(CLOCK_THREAD_CPUTIME_ID, timespec.address);
  return getSize(timespec.view, 0) * 1e3 + getSize(timespec.view, 8) / 1e6;
}

/** Wall clock in milliseconds since 1970. */
export function wallClockMs(): number {
  return Date.now();
}

let hasShortSlack = false;

/** Stops this thread for some microseconds, and a few more. For worker threads. */
export function pauseThread(microseconds: number): void {
  if (!hasShortSlack) {
    // A refusal makes pauses 50 microseconds longer.
    libc.prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NANOSECONDS, 0, 0, 0);
    hasShortSlack = true;
  }
  libc.usleep(microseconds);
}
