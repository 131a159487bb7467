/**
 * When an egress worker reads its side queue: packets from the local network that are not simple,
 * sorted out by the kernel (platform/tun-steering.ts). While little else is forwarded, whenever it
 * has something; while the gateway is busy, within a budget, and what the queue cannot hold
 * meanwhile the kernel drops. Worker thread; the clock is a function, in milliseconds.
 */

import { type BudgetLimits, SlowPathBudget } from "./slow-path-budget.js";

/**
 * A burst is what a few hundred pings or first packets need (3 microseconds each, November 2026);
 * of a lasting flood 1,000 to 3,000 packets a second pass. Each costs both gateways and, with
 * an answer, both directions.
 */
const LIMITS: BudgetLimits = { burstMs: 2, share: 0.01, restMs: 5 };
/**
 * At most this counts for a packet and for each of its octets: three times what a small packet and
 * twice what a super-packet takes (November 2026). The clock may show a thousand times as much when
 * the thread had to wait for a processor, and a ping must not pay for that.
 */
const PACKET_MS_MAX = 0.01;
const OCTET_MS_MAX = 0.000_01;

/** The budget of one worker. */
export class SideQueue {
  readonly #nowMs: () => number;
  readonly #load: () => number;
  readonly #ownLoad: () => number;
  readonly #mainLoad = (): number => this.#load() - this.#sideLoad;
  readonly #budget: SlowPathBudget;
  /** Load that the side queue has made. */
  #sideLoad = 0;
  #startMs = 0;
  #startLoad = 0;
  #restUntilMs = 0;

  /** `load`: what all workers have forwarded (`totalLoad`); `ownLoad`: what this one has. */
  constructor(nowMs: () => number, load: () => number, ownLoad: () => number) {
    this.#nowMs = nowMs;
    this.#load = load;
    this.#ownLoad = ownLoad;
    this.#budget = new SlowPathBudget(nowMs(), load(), LIMITS);
  }

  /** Milliseconds until the queue may be read; 0: now. */
  restMs(): number {
    if (this.#restUntilMs === 0) return 0;
    const leftMs = this.#restUntilMs - this.#nowMs();
    if (leftMs > 0) return leftMs;
    this.#restUntilMs = 0;
    return 0;
  }

  /** The worker begins with packets of the queue. */
  begin(): void {
    this.#startMs = this.#nowMs();
    this.#startLoad = this.#ownLoad();
  }

  /** It is done with so many packets of so many octets. */
  end(packets: number, octets: number): void {
    const nowMs = this.#nowMs();
    const workMaxMs = packets * PACKET_MS_MAX + octets * OCTET_MS_MAX;
    this.#sideLoad += this.#ownLoad() - this.#startLoad;
    const restMs = this.#budget.spend({ startMs: this.#startMs, nowMs, workMaxMs }, this.#mainLoad);
    if (restMs > 0) this.#restUntilMs = nowMs + restMs;
  }
}
