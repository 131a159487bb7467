/**
 * How much time packets that are not simple may take while the fast path is busy: a flood of them
 * must leave established flows their throughput. The main thread has a budget for the slow path,
 * and each egress worker one for its side queue (side-queue.ts).
 *
 * A bucket: time fills it, and work empties it. While it holds something, or nothing much is
 * forwarded, the slow path works as it can. Pure; the clock is an argument, in milliseconds.
 */

import type { CounterReader } from "../tables/counters.js";

/** How much, in milliseconds of work or in packets. */
export interface BudgetLimits {
  /** What the bucket holds. */
  readonly burst: number;
  /** What a lasting flood gets: this much in each millisecond. */
  readonly perMs: number;
  /** Shortest rest when the bucket is empty: what then fills in is worth a wake-up. */
  readonly restMs: number;
}

/**
 * Milliseconds of the main thread. A burst of 200 to 500 packets of 60 to 150 microseconds goes
 * through at once (November 2026), the storing of new mappings included; of a lasting flood 100 to
 * 200 packets a second do.
 */
const SLOW_PATH: BudgetLimits = { burst: 30, perMs: 0.015, restMs: 20 };
/** Longest rest. */
const REST_MS_MAX = 200;
/** What a packet costs beside its octets, in octets (November 2026). */
const LOAD_OF_PACKET = 300;
/** The fast path counts as busy above this load: 200 Mb/s of large packets, or 80,000 small ones. */
const BUSY_LOAD_PER_SECOND = 30_000_000;
/**
 * And so long after it was: a connection that has lost packets is silent for a while, at first
 * 200 ms (RFC 6298, Linux), and must not find the way taken when it goes on.
 */
const BUSY_MS = 2_000;

/** What forwarding so many packets of so many octets costs, as a number to compare. */
export function forwardingLoad(packets: number, octets: number): number {
  return octets + LOAD_OF_PACKET * packets;
}

/** What all workers have forwarded since their start. */
export function totalLoad(totals: Pick<CounterReader, "total">): number {
  const packets = totals.total("egress-packets") + totals.total("ingress-packets");
  return forwardingLoad(packets, totals.total("egress-bytes") + totals.total("ingress-bytes"));
}

/** Decides when a thread rests. */
export class SlowPathBudget {
  readonly #limits: BudgetLimits;
  #left: number;
  #filledAtMs: number;
  #lookedAtMs: number;
  #lookedAtLoad: number;
  #busyAtMs = Number.NEGATIVE_INFINITY;

  /** `load`: what the fast path has forwarded since the start (`totalLoad`). */
  constructor(nowMs: number, load: number, limits: BudgetLimits = SLOW_PATH) {
    this.#limits = limits;
    this.#left = limits.burst;
    this.#filledAtMs = nowMs;
    this.#lookedAtMs = nowMs;
    this.#lookedAtLoad = load;
  }

  /**
   * After so much work: milliseconds to rest, 0 to go on. Asks for `load` only when the bucket is
   * empty.
   */
  spend(nowMs: number, work: number, load: () => number): number {
    const { burst, perMs, restMs } = this.#limits;
    const filled = this.#left + perMs * (nowMs - this.#filledAtMs);
    this.#filledAtMs = nowMs;
    this.#left = Math.min(burst, filled) - work;
    if (this.#left > 0) return 0;
    if (this.#isFastPathBusy(nowMs, load())) {
      return Math.min(REST_MS_MAX, Math.max(restMs, -this.#left / perMs));
    }
    this.#left = burst;
    return 0;
  }

  #isFastPathBusy(nowMs: number, load: number): boolean {
    const seconds = Math.max(nowMs - this.#lookedAtMs, 1) / 1_000;
    const rate = (load - this.#lookedAtLoad) / seconds;
    this.#lookedAtMs = nowMs;
    this.#lookedAtLoad = load;
    if (rate > BUSY_LOAD_PER_SECOND) this.#busyAtMs = nowMs;
    return nowMs - this.#busyAtMs < BUSY_MS;
  }
}
