/**
 * Rate limits for everything that the gateway itself answers (spec/tunnel.md 6.4). Each answer
 * takes a token of a bucket for all and of one for the peer; without both it is not sent.
 */

import { addressKey, type IpAddress } from "../base/ip.js";
import { type BucketRate, LruMap, TokenBucket } from "../base/limits.js";

/** spec/tunnel.md 6.4: per-peer buckets kept, least recently used out first. */
const PEER_BUCKETS_MAX = 1024;

interface LimitRates {
  readonly all: BucketRate;
  readonly each: BucketRate;
}

/** spec/tunnel.md 6.4. Errors to local hosts share one bucket for all, "too big" included. */
const RATES = {
  errorToRemote: {
    all: { ratePerSecond: 100, burst: 50 },
    each: { ratePerSecond: 10, burst: 20 },
  },
  errorToLocal: {
    all: { ratePerSecond: 200, burst: 100 },
    each: { ratePerSecond: 10, burst: 20 },
  },
  tooBigToLocal: {
    all: { ratePerSecond: 200, burst: 100 },
    each: { ratePerSecond: 20, burst: 50 },
  },
  echoReply: {
    all: { ratePerSecond: 200, burst: 100 },
    each: { ratePerSecond: 20, burst: 20 },
  },
} as const satisfies Record<string, LimitRates>;

/** What kind of answer asks for a token. */
export type AnswerKind = keyof typeof RATES;

/** The buckets of one gateway. */
export class IcmpLimits {
  #all: Record<"remote" | "local" | "echo", TokenBucket>;
  #each = new LruMap<string, TokenBucket>(PEER_BUCKETS_MAX);

  constructor(nowMs: number) {
    this.#all = {
      remote: new TokenBucket(RATES.errorToRemote.all, nowMs),
      local: new TokenBucket(RATES.errorToLocal.all, nowMs),
      echo: new TokenBucket(RATES.echoReply.all, nowMs),
    };
  }

  /** Other buckets with the same tokens. */
  copy(nowMs: number): IcmpLimits {
    const copy = new IcmpLimits(nowMs);
    const { remote, local, echo } = this.#all;
    copy.#all = { remote: remote.copy(), local: local.copy(), echo: echo.copy() };
    copy.#each = this.#each.copy((bucket) => bucket.copy());
    return copy;
  }

  /** Takes a token for one answer to `peer`; false: stay silent and count. */
  allow(kind: AnswerKind, peer: IpAddress, nowMs: number): boolean {
    const all = this.#all[SHARED_BUCKET[kind]];
    const key = kind + bucketKey(peer);
    let each = this.#each.get(key);
    if (each === undefined) {
      each = new TokenBucket(RATES[kind].each, nowMs);
      this.#each.set(key, each);
    }
    if (!each.has(nowMs) || !all.take(nowMs)) return false;
    return each.take(nowMs);
  }
}

const SHARED_BUCKET = {
  errorToRemote: "remote",
  errorToLocal: "local",
  tooBigToLocal: "local",
  echoReply: "echo",
} as const;

/** One bucket per IPv4 address or IPv6 /64 (spec/tunnel.md 6.4). */
function bucketKey(peer: IpAddress): string {
  const key = addressKey(peer);
  return peer.version === 4 ? key : key.slice(0, 8);
}
