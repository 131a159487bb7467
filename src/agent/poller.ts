/**
 * The loop around one place that zone content comes from (spec/dns-agent.md 3 and 9, 5): when to
 * ask, and how soon again after a failure.
 */

import { type RandomSource, randomBelow } from "../base/random.js";
import type { Timers } from "./ports.js";
import type { ZoneCopy } from "./zone-copy.js";

/** spec/dns-agent.md 3. */
export const FIRST_POLL_MS = 5000;
const FUZZ_PERCENT = 23;
/** spec/dns-agent.md 9, 5: 5, 10, 20, ... 300 s. */
const RETRY_MIN_SECONDS = 5;
const RETRY_MAX_SECONDS = 300;
/** NOTIFY and changes of files that come together cause one poll. */
const HINT_DELAY_MS = 100;

/** One answer of a place. */
export type FetchResult =
  | { readonly kind: "content"; readonly copy: ZoneCopy; readonly how: string }
  /** The content given last still holds. */
  | { readonly kind: "unchanged" }
  | { readonly kind: "failed"; readonly reason: string };

/** A place that content comes from. */
export interface Fetcher {
  /** For the log: a server with its port, a file, a list of names. */
  readonly label: string;
  /** Asks once; one call at a time. */
  fetch(): Promise<FetchResult>;
  /** Watches for changes; the returned function ends the watch. */
  watch?(onChange: () => void): () => void;
}

/** Seconds until the next regular poll (spec/dns-agent.md 3); `count` places share a source. */
export function pollDelaySeconds(
  intervalSeconds: number,
  count: number,
  random: RandomSource,
): number {
  const share = Math.floor(intervalSeconds / count) * FUZZ_PERCENT;
  const fuzz = Math.max(1, Math.floor(share / 100));
  return intervalSeconds - fuzz + randomBelow(random, 2 * fuzz);
}

/** Seconds until the next try after `failures` (1 or more) failures in a row. */
export function retryDelaySeconds(failures: number, intervalSeconds: number): number {
  const doubled = RETRY_MIN_SECONDS * 2 ** Math.min(failures - 1, 10);
  return Math.min(doubled, RETRY_MAX_SECONDS, intervalSeconds);
}

/** Settings and ports of a poller. */
export interface PollerParts {
  readonly fetcher: Fetcher;
  readonly intervalSeconds: number;
  /** Places of the same source. */
  readonly count: number;
  readonly timers: Timers;
  readonly random: RandomSource;
  onResult(result: FetchResult): void;
}

/** Polls until closed. */
export class Poller {
  readonly #parts: PollerParts;
  #failures = 0;
  #cancel = () => {};
  #endWatch = () => {};
  #isBusy = false;
  #isAskedAgain = false;
  #isClosed = false;

  constructor(parts: PollerParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#endWatch = this.#parts.fetcher.watch?.(() => this.hint()) ?? (() => {});
    this.#plan(FIRST_POLL_MS);
  }

  /** Something may have changed: polls soon. */
  hint(): void {
    if (this.#isBusy) this.#isAskedAgain = true;
    else this.#plan(HINT_DELAY_MS);
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel();
    this.#endWatch();
  }

  #plan(delayMs: number): void {
    this.#cancel();
    this.#cancel = this.#parts.timers.after(delayMs, () => void this.#poll());
  }

  async #poll(): Promise<void> {
    const { fetcher, intervalSeconds, count, random } = this.#parts;
    this.#isBusy = true;
    const result = await fetcher.fetch();
    this.#isBusy = false;
    if (this.#isClosed) return;
    this.#failures = result.kind === "failed" ? this.#failures + 1 : 0;
    const isHinted = this.#isAskedAgain;
    this.#isAskedAgain = false;
    if (isHinted) this.#plan(HINT_DELAY_MS);
    else if (this.#failures > 0) {
      this.#plan(1000 * retryDelaySeconds(this.#failures, intervalSeconds));
    } else this.#plan(1000 * pollDelaySeconds(intervalSeconds, count, random));
    this.#parts.onResult(result);
  }
}
