/**
 * Bounds what one source may ask (spec/resolver.md 5.2): 200 questions a second with a burst of
 * 1,000, IPv6 by /64; and how many REFUSED it is told (5.1): 5 a second.
 */

import { type IpAddress, isLoopback } from "../../base/ip.js";
import { type BucketRate, LruMap, TokenBucket } from "../../base/limits.js";

const QUESTION_RATE: BucketRate = { ratePerSecond: 200, burst: 1000 };
const REFUSAL_RATE: BucketRate = { ratePerSecond: 5, burst: 5 };

/** spec/resolver.md 8: entries of a table. */
const SOURCES_MAX = 65_536;

/** Octets of an IPv6 source that count. */
const IPV6_PREFIX_BYTES = 8;

/** Token buckets by source. Loopback is never limited: it has nobody to spoof. */
export class SourceLimits {
  readonly #questions: BucketTable;
  readonly #refusals: BucketTable;

  constructor(questionRate: BucketRate = QUESTION_RATE) {
    this.#questions = new BucketTable(questionRate);
    this.#refusals = new BucketTable(REFUSAL_RATE);
  }

  /** False: the question exceeds the source's share. */
  mayAsk(source: IpAddress, nowMs: number): boolean {
    return isLoopback(source) || this.#questions.take(source, nowMs);
  }

  /** False: the source was refused often enough to hear no more of it. */
  mayRefuse(source: IpAddress, nowMs: number): boolean {
    return this.#refusals.take(source, nowMs);
  }
}

class BucketTable {
  readonly #buckets = new LruMap<string, TokenBucket>(SOURCES_MAX);
  readonly #rate: BucketRate;

  constructor(rate: BucketRate) {
    this.#rate = rate;
  }

  take(source: IpAddress, nowMs: number): boolean {
    const key = sourceKey(source);
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      bucket = new TokenBucket(this.#rate, nowMs);
      this.#buckets.set(key, bucket);
    }
    return bucket.take(nowMs);
  }
}

function sourceKey({ version, bytes }: IpAddress): string {
  const used = version === 4 ? bytes : bytes.subarray(0, IPV6_PREFIX_BYTES);
  let key = "";
  for (const octet of used) key += String.fromCharCode(octet);
  return key;
}
