/**
 * Deadlines of many questions on one timer: a wheel of slots of 10 ms. Setting and cancelling move
 * a few references; one timer runs while anything waits.
 */

import type { Clock, Timers } from "../ports.js";

/** Attempts last 400 ms and more (spec/resolver.md 1.14), so 10 ms are exact enough. */
const SLOT_MS = 10;
/** 5.12 s, more than any query budget; longer waits go round again. */
const SLOT_COUNT = 512;

/** Something that waits for a moment; in at most one slot of a wheel. */
export abstract class Deadline {
  /** Monotonic clock; meaningful while the wheel holds the entry. */
  dueAtMs = 0;
  /** The wheel's own: slot, or -1 outside. */
  slot = -1;
  previous: Deadline | undefined = undefined;
  following: Deadline | undefined = undefined;

  /** Called once when the moment has come; the entry has left the wheel. */
  abstract expire(nowMs: number): void;
}

/** Holds deadlines and calls them in time. */
export class DeadlineWheel {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #heads: (Deadline | undefined)[] = new Array<Deadline | undefined>(SLOT_COUNT);
  #count = 0;
  /** Number of the last slot whose time is over, counted from the clock's zero. */
  #tick = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(clock: Clock, timers: Timers) {
    this.#clock = clock;
    this.#timers = timers;
    this.#heads.fill(undefined);
  }

  /** Entries that wait. */
  get size(): number {
    return this.#count;
  }

  /** Lets `entry` expire at `dueAtMs`, not earlier and at most some 20 ms later. */
  set(entry: Deadline, dueAtMs: number, nowMs: number): void {
    this.cancel(entry);
    if (this.#count === 0) this.#tick = Math.floor(nowMs / SLOT_MS);
    entry.dueAtMs = dueAtMs;
    const wanted = Math.ceil(dueAtMs / SLOT_MS);
    const tick = Math.max(this.#tick + 1, Math.min(wanted, this.#tick + SLOT_COUNT - 1));
    this.#insert(entry, tick % SLOT_COUNT);
    this.#cancelTimer ??= this.#timers.after(SLOT_MS, this.#turn);
  }

  /** Takes an entry out; nothing happens when it is not in. */
  cancel(entry: Deadline): void {
    const { slot, previous, following } = entry;
    if (slot < 0) return;
    if (previous === undefined) this.#heads[slot] = following;
    else previous.following = following;
    if (following !== undefined) following.previous = previous;
    entry.slot = -1;
    entry.previous = undefined;
    entry.following = undefined;
    this.#count--;
  }

  /** Ends the timer; entries never expire. */
  stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #insert(entry: Deadline, slot: number): void {
    const head = this.#heads[slot];
    entry.slot = slot;
    entry.following = head;
    if (head !== undefined) head.previous = entry;
    this.#heads[slot] = entry;
    this.#count++;
  }

  readonly #turn = (): void => {
    this.#cancelTimer = undefined;
    const nowMs = this.#clock.monotonicMs();
    const last = Math.floor(nowMs / SLOT_MS);
    // After a long pause every slot is looked at once.
    let tick = Math.max(this.#tick, last - SLOT_COUNT);
    while (tick < last) {
      tick++;
      this.#tick = tick;
      this.#empty(tick % SLOT_COUNT, nowMs);
    }
    if (this.#count > 0) this.#cancelTimer ??= this.#timers.after(SLOT_MS, this.#turn);
  };

  #empty(slot: number, nowMs: number): void {
    for (let entry = this.#heads[slot]; entry !== undefined; entry = this.#heads[slot]) {
      this.cancel(entry);
      if (entry.dueAtMs <= nowMs) entry.expire(nowMs);
      else this.set(entry, entry.dueAtMs, nowMs);
    }
  }
}
