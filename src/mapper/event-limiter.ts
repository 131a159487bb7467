/** Keeps events of a kind from filling the log (spec/mapper.md 3.6: once a minute, with counts). */

import type { MapperEvent } from "./config.js";

const WINDOW_SECONDS = 60;

/** Events of a kind that pass in a window; the conflicts of one file should all be seen. */
const PER_WINDOW: Partial<Record<MapperEvent["kind"], number>> = {
  conflict: 20,
  "refused-record": 20,
  "source-stale": 64,
  "source-dropped": 64,
  "source-new": 64,
  "source-writer": 4,
};

interface Window {
  startSeconds: number;
  passed: number;
  held: number;
}

/** Passes the first events of each kind in a window and counts the others. */
export class EventLimiter {
  readonly #nowSeconds: () => number;
  readonly #onEvent: (event: MapperEvent) => void;
  readonly #windows = new Map<MapperEvent["kind"], Window>();

  constructor(nowSeconds: () => number, onEvent: (event: MapperEvent) => void) {
    this.#nowSeconds = nowSeconds;
    this.#onEvent = onEvent;
  }

  emit(event: MapperEvent): void {
    const now = this.#nowSeconds();
    const window = this.#windows.get(event.kind);
    if (window === undefined || now - window.startSeconds >= WINDOW_SECONDS) {
      const held = window?.held ?? 0;
      this.#windows.set(event.kind, { startSeconds: now, passed: 1, held: 0 });
      const text = held === 0 ? event.text : `${event.text} (${held} more before)`;
      this.#onEvent({ ...event, text });
    } else if (window.passed < (PER_WINDOW[event.kind] ?? 1)) {
      window.passed++;
      this.#onEvent(event);
    } else window.held++;
  }
}
