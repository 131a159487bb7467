/**
 * When an egress worker pauses before it looks at its queue again, in place of waiting to be woken.
 *
 * Whoever puts a packet into an empty queue wakes the worker that waits for it. At high rates that
 * costs both sides more than the packet itself, most of all where an idle processor of a virtual
 * machine must be started for it. A worker that comes back by itself after a short pause needs no
 * waking, and finds several packets, which it moves together. What network adapters call interrupt
 * coalescing (ethtool(8), --coalesce).
 *
 * A pause delays packets, so it is made only while both hold: the gateway forwards much, and a
 * pause brings several reads. One connection that asks and waits for answers is never delayed.
 * The clock is a function, in milliseconds. Worker thread.
 */

/** Reads of the queue that a pause must bring, on average. */
const READS_MIN = 1.5;
/** How often the rates are looked at; after a silence they are low, and the worker waits. */
const LOOK_MS = 2;
/**
 * Load from which a pause may be worth it (`forwardingLoad`): 130 Mb/s of large packets, or 50,000
 * small ones a second.
 */
const LOAD_PER_MS_MIN = 20_000;

/** The pauses of one worker. */
export class Coalescing {
  readonly #pauseUs: number;
  readonly #nowMs: () => number;
  readonly #load: () => number;
  #lookedAtMs: number;
  #lookedAtLoad: number;
  #reads = 0;
  #isOn = false;

  /** `load`: what all workers of the gateway have forwarded (`totalLoad`). */
  constructor(pauseUs: number, nowMs: () => number, load: () => number) {
    this.#pauseUs = pauseUs;
    this.#nowMs = nowMs;
    this.#load = load;
    this.#lookedAtMs = nowMs();
    this.#lookedAtLoad = load();
  }

  /**
   * After so many reads of the queue: microseconds to pause before the next look; 0: wait to be
   * woken.
   */
  pauseUs(reads: number): number {
    this.#reads += reads;
    const nowMs = this.#nowMs();
    if (nowMs - this.#lookedAtMs >= LOOK_MS) this.#look(nowMs);
    return this.#isOn && reads > 0 ? this.#pauseUs : 0;
  }

  #look(nowMs: number): void {
    const elapsedMs = nowMs - this.#lookedAtMs;
    const load = this.#load();
    const readsOfPause = (this.#reads / elapsedMs) * (this.#pauseUs / 1_000);
    const loadPerMs = (load - this.#lookedAtLoad) / elapsedMs;
    this.#isOn = readsOfPause >= READS_MIN && loadPerMs >= LOAD_PER_MS_MIN;
    this.#reads = 0;
    this.#lookedAtMs = nowMs;
    this.#lookedAtLoad = load;
  }
}
