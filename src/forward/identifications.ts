/**
 * Identifications for packets that the gateway makes fragmentable: a counter per destination with
 * a random start, since an IPv4 network behind the peer sees only the low 16 bits
 * (spec/tunnel.md 3.4, 7.5).
 */

import { addressKey, type IpAddress } from "../base/ip.js";
import { LruMap } from "../base/limits.js";
import type { RandomSource } from "../base/random.js";

const DESTINATIONS_MAX = 1024;

/** The counters; the destination used longest ago gets a new random start. */
export class Identifications {
  readonly #random: RandomSource;
  #next = new LruMap<string, number>(DESTINATIONS_MAX);

  constructor(random: RandomSource) {
    this.#random = random;
  }

  /** Other counters with the same values; new ones start at values of `random`. */
  copy(random: RandomSource): Identifications {
    const copy = new Identifications(random);
    copy.#next = this.#next.copy();
    return copy;
  }

  /** A fresh 32-bit identification for packets to this address. */
  next(destination: IpAddress): number {
    const key = addressKey(destination);
    const value = this.#next.get(key) ?? this.#random.word();
    this.#next.set(key, (value + 1) >>> 0);
    return value;
  }
}
