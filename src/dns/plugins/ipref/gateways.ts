/**
 * Addresses of gateways (spec/resolver.md 1.7): literals as they are, names through the upstream,
 * never through the server's own chain. Monotonic clock.
 */

import {
  type IpAddress,
  type IpPrefix,
  type IpVersion,
  isGlobalUnicast,
  isIpv4Mapped,
  prefixContains,
} from "../../../base/ip.js";
import type { Name } from "../../../wire/dns/name.js";
import { TYPE_A, TYPE_AAAA } from "../../../wire/dns/numbers.js";
import type { UpstreamPort } from "../../ports.js";
import type { AaAddress } from "./aa-string.js";
import { type Deadline, KEPT_SECONDS_MIN, lookUp } from "./lookup.js";
import { LruMap } from "./lru-map.js";
import {
  FAILED_KEPT_SECONDS,
  GATEWAY_ADDRESSES_MAX,
  GATEWAY_TABLE_BYTES_MAX,
  KEPT_SECONDS_MAX,
  PREFETCH_HITS_MIN,
  PREFETCH_SHARE,
  QUERY_BUDGET_MS,
  TABLE_ENTRIES_MAX,
} from "./settings.js";

/** True for an address that may stand for a gateway; private ones may. */
export function isGatewayAddress(address: IpAddress, encodeNet: readonly IpPrefix[]): boolean {
  if (!isGlobalUnicast(address) || isIpv4Mapped(address)) return false;
  return !encodeNet.some((net) => prefixContains(net, address));
}

/** What is known of a gateway name. */
export class GatewayEntry {
  readonly addresses: readonly IpAddress[];
  /** Why there are none; undefined when the upstream said so. */
  readonly failure: string | undefined;
  readonly storedAtMs: number;
  readonly expiresAtMs: number;
  readonly #ttlSeconds: number;
  hitCount = 0;
  isRefreshing = false;

  constructor(
    addresses: readonly IpAddress[],
    failure: string | undefined,
    ttlSeconds: number,
    keptSeconds: number,
    nowMs: number,
  ) {
    this.addresses = addresses;
    this.failure = failure;
    this.#ttlSeconds = ttlSeconds;
    this.storedAtMs = nowMs;
    this.expiresAtMs = nowMs + 1000 * keptSeconds;
  }

  /** What is left of the smallest TTL. */
  ttlSecondsAt(nowMs: number): number {
    return Math.max(0, this.#ttlSeconds - Math.floor((nowMs - this.storedAtMs) / 1000));
  }
}

/** Parts of the table of gateways. */
export interface GatewayParts {
  readonly upstream: () => UpstreamPort | undefined;
  readonly version: IpVersion;
  readonly encodeNet: readonly IpPrefix[];
  readonly now: () => number;
}

export class Gateways {
  readonly #parts: GatewayParts;
  readonly #table = new LruMap<GatewayEntry>(TABLE_ENTRIES_MAX, GATEWAY_TABLE_BYTES_MAX);
  readonly #inFlight = new Map<string, Promise<GatewayEntry>>();

  constructor(parts: GatewayParts) {
    this.#parts = parts;
  }

  /** A literal of the right version, or a name: it may lead to an encoded address. */
  isUsable({ gateway }: AaAddress): boolean {
    return gateway.kind === "name" || gateway.address.version === this.#parts.version;
  }

  /** A literal that is never a gateway, whatever its version. */
  isForbidden({ gateway }: AaAddress): boolean {
    return gateway.kind === "address" && !isGatewayAddress(gateway.address, this.#parts.encodeNet);
  }

  /** What is known of a name; refreshes it when it is popular. */
  cached(name: Name, nowMs: number): GatewayEntry | undefined {
    const entry = this.#table.get(name.key);
    if (entry === undefined || entry.expiresAtMs <= nowMs) return undefined;
    entry.hitCount++;
    if (entry.hitCount >= PREFETCH_HITS_MIN && !entry.isRefreshing && !entry.failure) {
      const lifetimeMs = entry.expiresAtMs - entry.storedAtMs;
      if (entry.expiresAtMs - nowMs < PREFETCH_SHARE * lifetimeMs) this.#refresh(name, entry);
    }
    return entry;
  }

  /** Asks for a name, together with everybody who asks for it now. */
  ask(name: Name, deadline: Deadline): Promise<GatewayEntry> {
    const known = this.#inFlight.get(name.key);
    if (known !== undefined) return known;
    const question = this.#resolve(name, deadline).finally(() => {
      this.#inFlight.delete(name.key);
    });
    this.#inFlight.set(name.key, question);
    return question;
  }

  #refresh(name: Name, entry: GatewayEntry): void {
    entry.isRefreshing = true;
    const endsAtMs = this.#parts.now() + QUERY_BUDGET_MS;
    const deadline = { remainingMs: () => endsAtMs - this.#parts.now() };
    const done = () => {
      entry.isRefreshing = false;
    };
    this.ask(name, deadline).then(done, done);
  }

  async #resolve(name: Name, deadline: Deadline): Promise<GatewayEntry> {
    const entry = await this.#look(name, deadline);
    const old = this.#table.peek(name.key);
    const nowMs = this.#parts.now();
    if (entry.failure !== undefined && old !== undefined && old.expiresAtMs > nowMs) return old;
    this.#table.set(name.key, entry, 100 * entry.addresses.length + 200);
    return entry;
  }

  async #look(name: Name, deadline: Deadline): Promise<GatewayEntry> {
    const { version, encodeNet, now } = this.#parts;
    const upstream = this.#parts.upstream();
    const type = version === 4 ? TYPE_A : TYPE_AAAA;
    const lookup =
      upstream === undefined
        ? ({ kind: "failed", detail: "the upstream is not known yet" } as const)
        : await lookUp(upstream, name, type, deadline);
    if (lookup.kind === "failed") {
      return new GatewayEntry([], lookup.detail, 0, FAILED_KEPT_SECONDS, now());
    }
    if (lookup.kind === "none") {
      return new GatewayEntry([], undefined, 0, lookup.keptSeconds, now());
    }
    // Reading a reply has checked that the data has 4 or 16 octets.
    const addresses = lookup.records
      .map(({ data }): IpAddress => ({ version, bytes: data }))
      .filter((address) => isGatewayAddress(address, encodeNet))
      .slice(0, GATEWAY_ADDRESSES_MAX);
    const keptSeconds = Math.max(KEPT_SECONDS_MIN, Math.min(KEPT_SECONDS_MAX, lookup.ttlSeconds));
    return new GatewayEntry(addresses, undefined, lookup.ttlSeconds, keptSeconds, now());
  }
}
