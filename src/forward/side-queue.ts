/**
 * When an egress worker reads its side queue: packets from the local network that are not simple,
 * sorted out by the kernel (platform/tun-steering.ts). While little else is forwarded, whenever it
 * has something; while the gateway is busy, within a budget, and what the queue cannot hold
 * meanwhile the kernel drops. Worker thread; the clock is a function, in milliseconds.
 */

import { type BudgetLimits, SlowPathBudget } from "./slow-path-budget.js";

/**
 * In packets of up to 1,500 octets, longer ones count for more: 500 pings or first packets go
 * through at once, and 1,000 a second. A long rest lets the packets of a flood travel together; a
 * packet by itself costs ten times as much, because it wakes the workers of both gateways and its
 * receiver, and its answer wakes them again (November 2026).
 */
const LIMITS: BudgetLimits = { burst: 500, perMs: 1, restMs: 30 };
/** Octets that cost as much as a packet of none. */
const OCTETS_OF_PACKET = 1_500;

/** What a budget needs to know of its worker. */
export interface SideQueueWorker {
  /** Elapsed time in milliseconds. */
  readonly nowMs: () => number;
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
    this.#startLoad = this.#worker.ownLoad();
  }

  /** It is done with so many packets of so many octets. */
  end(packets: number, octets: number): void {
    const { nowMs, ownLoad } = this.#worker;
    this.#sideLoad += ownLoad() - this.#startLoad;
    const now = nowMs();
    const restMs = this.#budget.spend(now, packets + octets / OCTETS_OF_PACKET, this.#mainLoad);
    if (restMs > 0) this.#restUntilMs = now + restMs;
  }
}
