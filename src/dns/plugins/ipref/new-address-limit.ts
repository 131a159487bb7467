/**
 * Bounds how many new IPREF addresses are mapped (spec/resolver.md 5.3). Each takes an encoded
 * address for four hours; a name server that answers random names with ever new references could
 * exhaust the pool through any browser. Addresses seen within four hours are always served.
 * Monotonic clock.
 *
 * Bursts: a client 200; a gateway as many as may be alive, 4,096, so that a large site can be met
 * at once; all together 1 % of the pool of a /12 (983,040 addresses). Clients on the loopback are
 * stubs and caches that ask for many, so the client's bound is not theirs.
 */

import { addressKey, type IpAddress, isLoopback } from "../../../base/ip.js";
import { LruMap } from "./lru-map.js";
import { type NewAddressLimits, TABLE_ENTRIES_MAX } from "./settings.js";

const SEEN_MS = 14_400_000;
const CLIENT_BURST = 200;
const GATEWAY_ALIVE_MAX = 4096;
const TOTAL_BURST = 9830;
const CLIENTS_MAX = 16_384;
const CLIENTS_BYTES_MAX = 4 << 20;

/** A token bucket; full at first. */
interface Bucket {
  tokens: number;
  filledAtMs: number;
}

/** Which bound was exceeded. */
export type LimitScope = "client" | "gateway" | "total";

interface Gateway extends Bucket {
  /** Addresses of this gateway that were seen within four hours. */
  aliveCount: number;
}

interface Seen {
  atMs: number;
  readonly gateway: string;
}

export class NewAddressLimit {
  readonly #limits: NewAddressLimits;
  /** In order of their last use, so that the oldest are found first. */
  readonly #seen = new Map<string, Seen>();
  readonly #clients = new LruMap<Bucket>(CLIENTS_MAX, CLIENTS_BYTES_MAX);
  /** Each has at least one address in `#seen`. */
  readonly #gateways = new Map<string, Gateway>();
  readonly #total: Bucket = { tokens: TOTAL_BURST, filledAtMs: 0 };

  constructor(limits: NewAddressLimits) {
    this.#limits = limits;
  }

  /** Admits an IPREF address with this key; the scope that refuses it otherwise. */
  admit(key: string, context: IpAddress, client: IpAddress, nowMs: number): LimitScope | undefined {
    this.#forget(nowMs);
    const seen = this.#seen.get(key);
    if (seen !== undefined) {
      this.#seen.delete(key);
      this.#seen.set(key, { ...seen, atMs: nowMs });
      return undefined;
    }
    return this.#take(key, networkKey(context, 6), client, nowMs);
  }

  #take(key: string, gatewayKey: string, client: IpAddress, nowMs: number): LimitScope | undefined {
    const { clientPerMinute, gatewayPerSecond, totalPerSecond } = this.#limits;
    const isLocal = isLoopback(client);
    const byClient = this.#client(networkKey(client, 8), nowMs);
    refill(byClient, clientPerMinute / 60_000, CLIENT_BURST, nowMs);
    if (!isLocal && byClient.tokens < 1) return "client";
    const gateway = this.#gateways.get(gatewayKey) ?? newGateway(nowMs);
    refill(gateway, gatewayPerSecond / 1000, GATEWAY_ALIVE_MAX, nowMs);
    if (gateway.tokens < 1 || gateway.aliveCount >= GATEWAY_ALIVE_MAX) return "gateway";
    refill(this.#total, totalPerSecond / 1000, TOTAL_BURST, nowMs);
    if (this.#total.tokens < 1) return "total";
    if (!isLocal) byClient.tokens--;
    gateway.tokens--;
    gateway.aliveCount++;
    this.#total.tokens--;
    this.#gateways.set(gatewayKey, gateway);
    this.#seen.set(key, { atMs: nowMs, gateway: gatewayKey });
    return undefined;
  }

  #client(key: string, nowMs: number): Bucket {
    const known = this.#clients.get(key);
    if (known !== undefined) return known;
    const bucket: Bucket = { tokens: CLIENT_BURST, filledAtMs: nowMs };
    this.#clients.set(key, bucket, 48);
    return bucket;
  }

  /** Removes what was not seen for four hours, and the oldest beyond the table's bound. */
  #forget(nowMs: number): void {
    for (const [key, { atMs, gateway }] of this.#seen) {
      if (nowMs - atMs < SEEN_MS && this.#seen.size < TABLE_ENTRIES_MAX) return;
      this.#seen.delete(key);
      const state = this.#gateways.get(gateway);
      if (state !== undefined && --state.aliveCount === 0) this.#gateways.delete(gateway);
    }
  }
}

function newGateway(nowMs: number): Gateway {
  return { tokens: GATEWAY_ALIVE_MAX, filledAtMs: nowMs, aliveCount: 0 };
}

/** IPv4 addresses whole; of IPv6 the first `ipv6Bytes` octets. */
function networkKey(address: IpAddress, ipv6Bytes: number): string {
  const key = addressKey(address);
  return address.version === 4 ? key : key.slice(0, ipv6Bytes);
}

function refill(bucket: Bucket, tokensPerMs: number, burst: number, nowMs: number): void {
  const elapsedMs = Math.max(0, nowMs - bucket.filledAtMs);
  bucket.tokens = Math.min(burst, bucket.tokens + elapsedMs * tokensPerMs);
  bucket.filledAtMs = nowMs;
}
