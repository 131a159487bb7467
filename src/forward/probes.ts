/**
 * Echo requests that the gateway sends to reference 1 of a remote gateway, to prove that a new
 * port belongs to it (spec/tunnel.md 7.3). An answer counts only when the address, the port and 16
 * random octets are those of the probe.
 */

import { addressKey, type IpAddress } from "../base/ip.js";
import { LruMap } from "../base/limits.js";
import type { RandomSource } from "../base/random.js";

/** Probes remembered at a time; the oldest is forgotten first. */
const PROBES_MAX = 256;
/** An answer later than this does not count. */
const PROBE_LIFE_MS = 5_000;
/** At most one probe to one gateway in this time. */
const PROBE_INTERVAL_MS = 1_000;
/** Random octets in a probe (spec/tunnel.md 8.3). */
export const PROBE_NONCE_BYTES = 16;

interface Probe {
  readonly port: number;
  readonly nonce: Uint8Array;
  readonly sentMs: number;
}

/** The probes under way. */
export class Probes {
  readonly #random: RandomSource;
  #probes = new LruMap<string, Probe>(PROBES_MAX);

  constructor(random: RandomSource) {
    this.#random = random;
  }

  /** Another table with the same probes. */
  copy(random: RandomSource): Probes {
    const copy = new Probes(random);
    copy.#probes = this.#probes.copy();
    return copy;
  }

  /** A nonce to send to `port` of the gateway; undefined when a probe went out a moment ago. */
  start(gateway: IpAddress, port: number, nowMs: number): Uint8Array | undefined {
    const key = addressKey(gateway);
    const earlier = this.#probes.peek(key);
    if (earlier !== undefined && nowMs - earlier.sentMs < PROBE_INTERVAL_MS) return undefined;
    const nonce = new Uint8Array(PROBE_NONCE_BYTES);
    for (let index = 0; index < nonce.length; index++) nonce[index] = this.#random.word() & 0xff;
    this.#probes.set(key, { port, nonce, sentMs: nowMs });
    return nonce;
  }

  /** True when the data of an echo reply answers the probe; the probe is used up. */
  answer(gateway: IpAddress, port: number, data: Uint8Array, nowMs: number): boolean {
    const key = addressKey(gateway);
    const probe = this.#probes.peek(key);
    if (probe === undefined || probe.port !== port) return false;
    if (nowMs - probe.sentMs > PROBE_LIFE_MS) return false;
    if (!probe.nonce.every((byte, index) => byte === data[index])) return false;
    this.#probes.delete(key);
    return true;
  }
}
