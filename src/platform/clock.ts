/**
 * Clocks. Elapsed time is CLOCK_MONOTONIC (clock_gettime(2)), which all threads of the machine
 * share and which no administrator can set; wall time is only for storing and for logs.
 */

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

/** Wall clock in milliseconds since 1970. */
export function wallClockMs(): number {
  return Date.now();
}
