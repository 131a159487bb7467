/**
 * When an egress worker reads its side queue: packets from the local network that are not simple,
 * sorted out by the kernel (platform/tun-steering.ts). While little else is forwarded, whenever it
 * has something; while the gateway is busy, within a budget, and what the queue cannot hold
 * meanwhile the kernel drops. Worker thread; the clock is a function, in milliseconds.
 */

import { type BudgetLimits, SlowPathBudget } from "./slow-path-budget.js";

/**
 * A burst is what a few hundred pings or first packets need (3 microseconds each, November 2026);
 * of a lasting flood 300 to 700 packets a second pass. The share is small because a packet costs
 * ten times what it costs here: it wakes the workers of both gateways and its receiver, and an
 * answer wakes them again. A long rest lets many of them travel together.
 */
const LIMITS: BudgetLimits = { burstMs: 2, share: 0.002, restMs: 20 };
/** What a budget needs to know of its worker. */
export interface SideQueueWorker {
  /** Elapsed time in milliseconds. */
  readonly nowMs: () => number;
  /** What the thread has worked in milliseconds: a ping must not pay for a processor's absence. */
  readonly workedMs: () => number;
  /** What all workers have forwarded (`totalLoad`). */
  readonly load: () => number;
  /** What this one has. */
  readonly ownLoad: () => number;
}

/** The budget of one worker. */
export class SideQueue {
  readonly #worker: SideQueueWorker;
  readonly #mainLoad = (): number => this.#worker.load() - this.#sideLoad;
  readonly #budget: SlowPathBudget;
  /** Load that the side queue has made. */
  #sideLoad = 0;
  #startedAtMs = 0;
  #startLoad = 0;
  #restUntilMs = 0;

  constructor(worker: SideQueueWorker) {
    this.#worker = worker;
    this.#budget = new SlowPathBudget(worker.nowMs(), worker.load(), LIMITS);
  }

  /** Milliseconds until the queue may be read; 0: now. */
  restMs(): number {
    if (this.#restUntilMs === 0) return 0;
    const leftMs = this.#restUntilMs - this.#worker.nowMs();
    if (leftMs > 0) return leftMs;
    this.#restUntilMs = 0;
    return 0;
  }

  /** The worker begins with packets of the queue. */
  begin(): void {
    this.#startedAtMs = this.#worker.workedMs();
    this.#startLoad = this.#worker.ownLoad();
  }

  /** It is done with them. */
  end(): void {
    const { nowMs, workedMs, ownLoad } = this.#worker;
    this.#sideLoad += ownLoad() - this.#startLoad;
    const now = nowMs();
    const restMs = this.#budget.spend(now, workedMs() - this.#startedAtMs, this.#mainLoad);
    if (restMs > 0) this.#restUntilMs = now + restMs;
  }
}
