/**
 * No event fills the disk: beyond a number of lines a second the rest is counted and reported as a
 * number (spec/tunnel.md S17). Time is an argument.
 */

import { type EventId, linesPerSecondMax } from "../base/event.js";
import { LruMap } from "../base/limits.js";

/** Events remembered at once; one that is pushed out starts afresh. */
const EVENTS_MAX = 256;
const WINDOW_MS = 1000;

interface Window {
  startMs: number;
  lines: number;
  suppressed: number;
}

/** Takes what was held back: the key of the event, how many lines. */
export type SuppressedReport = (event: EventId, count: number) => void;

/** Decides about each line. */
export class LogLimiter {
  readonly #report: SuppressedReport;
  readonly #windows = new LruMap<EventId, Window>(EVENTS_MAX);
  /** Lines held back since the start. */
  suppressed = 0;

  constructor(report: SuppressedReport) {
    this.#report = report;
  }

  /** True when the line shall be written. */
  admit(event: EventId, nowMs: number): boolean {
    const most = linesPerSecondMax(event);
    if (most === Number.POSITIVE_INFINITY) return true;
    let window = this.#windows.get(event);
    if (window === undefined || nowMs - window.startMs >= WINDOW_MS || nowMs < window.startMs) {
      if (window !== undefined) this.#tell(event, window);
      window = { startMs: nowMs, lines: 0, suppressed: 0 };
      const evicted = this.#windows.set(event, window);
      if (evicted !== undefined) this.#tell(evicted[0], evicted[1]);
    }
    if (window.lines < most) {
      window.lines++;
      return true;
    }
    window.suppressed++;
    this.suppressed++;
    return false;
  }

  /** Reports windows that have ended; call about once a second. `isLast`: all of them. */
  flush(nowMs: number, isLast: boolean): void {
    for (const [event, window] of [...this.#windows.entries()]) {
      if (!isLast && nowMs - window.startMs < WINDOW_MS) continue;
      this.#tell(event, window);
      this.#windows.delete(event);
    }
  }

  #tell(event: EventId, window: Window): void {
    if (window.suppressed === 0) return;
    const count = window.suppressed;
    window.suppressed = 0;
    this.#report(event, count);
  }
}
