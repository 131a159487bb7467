/**
 * How much time the slow path may take while the fast path is busy: a flood of packets that only
 * the slow path can handle must leave established flows their throughput.
 *
 * A bucket of milliseconds: it fills with a share of the time that passes, and work empties it.
 * While it holds something, or nothing much is forwarded, the slow path works as it can. Pure; the
 * clock is an argument, in milliseconds.
 */

/** A burst of about 500 packets of 60 microseconds goes through at once (November 2026). */
const BURST_MS = 30;
/** Share of one processor that a lasting flood gets. */
const SHARE = 0.08;
/** Time to rest when the bucket is empty: what then fills in is worth a wake-up. */
const REST_MS = 10;
/** The fast path counts as busy above this rate, about 25 Mb/s of large packets. */
const BUSY_PACKETS_PER_SECOND = 2_000;

/** Decides when the main thread rests. */
export class SlowPathBudget {
  #leftMs = BURST_MS;
  #filledAtMs: number;
  #lookedAtMs: number;
  #lookedAtPackets: number;

  /** `fastPackets`: packets that the fast path has forwarded since the start. */
  constructor(nowMs: number, fastPackets: number) {
    this.#filledAtMs = nowMs;
    this.#lookedAtMs = nowMs;
    this.#lookedAtPackets = fastPackets;
  }

  /**
   * After a piece of work from `startMs` to `nowMs`: milliseconds to rest, 0 to go on. Asks for
   * `fastPackets` only when the bucket is empty.
   */
  spend(startMs: number, nowMs: number, fastPackets: () => number): number {
    const filled = this.#leftMs + SHARE * (nowMs - this.#filledAtMs);
    this.#filledAtMs = nowMs;
    this.#leftMs = Math.min(BURST_MS, filled) - (nowMs - startMs);
    if (this.#leftMs > 0) return 0;
    if (this.#isFastPathBusy(nowMs, fastPackets())) return REST_MS;
    this.#leftMs = BURST_MS;
    return 0;
  }

  #isFastPathBusy(nowMs: number, packets: number): boolean {
    const seconds = Math.max(nowMs - this.#lookedAtMs, 1) / 1_000;
    const rate = (packets - this.#lookedAtPackets) / seconds;
    this.#lookedAtMs = nowMs;
    this.#lookedAtPackets = packets;
    return rate > BUSY_PACKETS_PER_SECOND;
  }
}
