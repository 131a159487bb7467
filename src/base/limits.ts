/**
 * Rate limits and bounded caches. Times are milliseconds of one monotonic clock, given by callers.
 */

/** A token bucket: `ratePerSecond` tokens flow in, at most `burst` are kept. */
export interface BucketRate {
  readonly ratePerSecond: number;
  readonly burst: number;
}

/** One bucket; starts full. */
export class TokenBucket {
  readonly #rate: BucketRate;
  #tokens: number;
  #filledAtMs: number;

  constructor(rate: BucketRate, nowMs: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#filledAtMs = nowMs;
  }

  /** Another bucket with the same tokens. */
  copy(): TokenBucket {
    const copy = new TokenBucket(this.#rate, this.#filledAtMs);
    copy.#tokens = this.#tokens;
    return copy;
  }

  /** Takes one token; false when there is none. */
  take(nowMs: number): boolean {
    this.#fill(nowMs);
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** True when a token could be taken. */
  has(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.#tokens >= 1;
  }

  #fill(nowMs: number): void {
    const passedMs = Math.max(0, nowMs - this.#filledAtMs);
    const grown = this.#tokens + (passedMs * this.#rate.ratePerSecond) / 1000;
    this.#tokens = Math.min(this.#rate.burst, grown);
    this.#filledAtMs = nowMs;
  }
}

/** A map of at most `entriesMax` entries; the least recently used one goes first. */
export class LruMap<Key, Value> {
  readonly #entries = new Map<Key, Value>();
  readonly #entriesMax: number;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Another map with the same entries in the same order; values that change need a copy each. */
  copy(copyValue: (value: Value) => Value = (value) => value): LruMap<Key, Value> {
    const copy = new LruMap<Key, Value>(this.#entriesMax);
    for (const [key, value] of this.#entries) copy.#entries.set(key, copyValue(value));
    return copy;
  }

  /** The value of a key, which becomes the most recently used one. */
  get(key: Key): Value | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  /** The value of a key; its place in the order stays. */
  peek(key: Key): Value | undefined {
    return this.#entries.get(key);
  }

  /** Stores a value as most recently used; returns the entry that had to go. */
  set(key: Key, value: Value): [Key, Value] | undefined {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#entriesMax) return undefined;
    const oldest = this.#entries.entries().next().value!;
    this.#entries.delete(oldest[0]);
    return oldest;
  }

  delete(key: Key): boolean {
    return this.#entries.delete(key);
  }

  /** Entries from the least to the most recently used one. */
  entries(): IterableIterator<[Key, Value]> {
    return this.#entries.entries();
  }
}
