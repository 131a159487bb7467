/**
 * Encoded addresses of names (spec/resolver.md 1.8, 1.9, 1.13): asks the mapper for every pair of
 * gateway address and reference, and makes the answer. Monotonic clock.
 *
 * Encoded addresses are kept for five seconds, only to absorb bursts; each later query asks again,
 * which keeps the mapping alive. When the mapper's connection is lost all of them are void, answers
 * that were made from them included.
 */

import { addressKey, type IpAddress, type IpVersion } from "../../../base/ip.js";
import type { Reference } from "../../../base/reference.js";
import type { Name } from "../../../wire/dns/name.js";
import { TYPE_A, TYPE_AAAA } from "../../../wire/dns/numbers.js";
import type { MapperPort } from "../../ports.js";
import type { AaEntry } from "./discovery.js";
import type { GatewayEntry, Gateways } from "./gateways.js";
import type { Deadline } from "./lookup.js";
import { LruMap } from "./lru-map.js";
import type { NewAddressLimit } from "./new-address-limit.js";
import {
  type MapFailed,
  type MappedAnswer,
  type MapResult,
  READY_MS,
  readyAnswer,
} from "./ready-answer.js";
import { addressRecord } from "./records.js";
import type { IprefReport } from "./report.js";
import type { ReverseTable } from "./reverse.js";
import {
  EA_KEPT_MS,
  EA_TABLE_BYTES_MAX,
  MAPPER_REQUESTS_MAX,
  TABLE_ENTRIES_MAX,
} from "./settings.js";

/** One IPREF address to be mapped. */
interface Target {
  readonly key: string;
  readonly context: IpAddress;
  readonly reference: Reference;
}

/** All targets of a name and until when the gateways behind them are known. */
interface Targets {
  readonly list: readonly Target[];
  readonly ttlSeconds: number;
  readonly expiresAtMs: number;
  /** Why a gateway name gave no address. */
  readonly failure: string | undefined;
}

interface Encoded {
  readonly address: IpAddress;
  readonly expiresAtMs: number;
}

type Mapped = { readonly kind: "address"; readonly encoded: Encoded } | MapFailed;

/** Parts of the step that maps. */
export interface MappingParts {
  readonly gateways: Gateways;
  readonly mapper: MapperPort;
  readonly limit: NewAddressLimit | undefined;
  readonly reverse: ReverseTable;
  readonly report: IprefReport;
  readonly now: () => number;
  readonly encodedVersion: IpVersion;
  readonly ttlSecondsMax: number;
  readonly recordsMax: number;
}

const NO_ADDRESS = "the gateway's name has no usable address";

export class Mappings {
  readonly #parts: MappingParts;
  readonly #encoded = new LruMap<Encoded>(TABLE_ENTRIES_MAX, EA_TABLE_BYTES_MAX);
  /** Counts losses of the mapper. */
  #generation = 0;

  constructor(parts: MappingParts) {
    this.#parts = parts;
    parts.mapper.onLost(() => {
      this.#generation++;
      this.#encoded.clear();
      parts.reverse.clear();
    });
  }

  /** Differs after the mapper was lost; answers of before must not be used. */
  get generation(): number {
    return this.#generation;
  }

  /** The answer from memory alone; undefined when somebody has to be asked. */
  fromMemory(entry: AaEntry, nowMs: number): MappedAnswer | undefined {
    const targets = this.#cachedTargets(entry, nowMs);
    if (targets === undefined || targets.list.length === 0) return undefined;
    const encoded: Encoded[] = [];
    for (const { key } of targets.list) {
      const known = this.#encoded.peek(key);
      if (known === undefined || known.expiresAtMs <= nowMs) return undefined;
      encoded.push(known);
    }
    this.#parts.report.cacheHit("ea");
    return this.#answer(entry, targets, encoded, nowMs);
  }

  /** The answer after asking whoever has to be asked. */
  async ask(entry: AaEntry, client: IpAddress, deadline: Deadline): Promise<MapResult> {
    const targets = await this.#targets(entry, deadline);
    if (targets.list.length === 0) {
      const detail = targets.failure ?? NO_ADDRESS;
      return { kind: "failed", cause: "upstream", detail };
    }
    const { generation } = this;
    const name = entry.name.toString();
    const results = await Promise.all(
      targets.list.map((target) => this.#map(target, name, client)),
    );
    // The mapper restarted meanwhile: what it said before may be wrong now.
    if (generation !== this.#generation) {
      return { kind: "failed", cause: "unavailable", detail: "the mapper was restarted" };
    }
    const encoded: Encoded[] = [];
    let failed: MapFailed | undefined;
    for (const result of results) {
      if (result.kind === "address") encoded.push(result.encoded);
      else failed ??= result;
    }
    if (encoded.length === 0) return failed!;
    return this.#answer(entry, targets, encoded, this.#parts.now());
  }

  async #map(target: Target, name: string, client: IpAddress): Promise<Mapped> {
    const { mapper, limit, encodedVersion, now } = this.#parts;
    const nowMs = now();
    const known = this.#encoded.peek(target.key);
    if (known !== undefined && known.expiresAtMs > nowMs) {
      return { kind: "address", encoded: known };
    }
    const scope = limit?.admit(target.key, target.context, client, nowMs);
    if (scope !== undefined) {
      return { kind: "failed", cause: "limited", detail: `too many new addresses (${scope})` };
    }
    const { context, reference } = target;
    const { generation } = this;
    const result = await mapper.getEncodedAddress(context, reference, name, encodedVersion);
    if (result.kind === "refused") {
      return { kind: "failed", cause: "refused", detail: "mapping refused" };
    }
    if (result.kind === "unavailable") {
      return { kind: "failed", cause: "unavailable", detail: result.detail };
    }
    const encoded = { address: result.address, expiresAtMs: now() + EA_KEPT_MS };
    if (generation === this.#generation) this.#encoded.set(target.key, encoded, 120);
    return { kind: "address", encoded };
  }

  #answer(
    entry: AaEntry,
    targets: Targets,
    encoded: readonly Encoded[],
    nowMs: number,
  ): MappedAnswer {
    const { recordsMax, ttlSecondsMax, reverse, encodedVersion } = this.#parts;
    const ttlSeconds = Math.min(entry.ttlSecondsAt(nowMs), targets.ttlSeconds, ttlSecondsMax);
    const addresses = distinct(encoded.map(({ address }) => address)).slice(0, recordsMax);
    const { owner, links, name } = entry;
    for (const address of addresses) reverse.learn(address, name, nowMs);
    const records = [
      ...links.map((link) => ({ ...link, ttlSeconds })),
      ...addresses.map((address) => addressRecord(owner, ttlSeconds, address)),
    ];
    let validUntilMs = Math.min(nowMs + READY_MS, entry.expiresAtMs, targets.expiresAtMs);
    for (const { expiresAtMs } of encoded) validUntilMs = Math.min(validUntilMs, expiresAtMs);
    const type = encodedVersion === 4 ? TYPE_A : TYPE_AAAA;
    const answer = readyAnswer(name, type, records, []);
    return { kind: "answer", answer, validUntilMs, generation: this.#generation };
  }

  /** Targets whose gateways are all known. */
  #cachedTargets(entry: AaEntry, nowMs: number): Targets | undefined {
    const gateways = new Map<string, GatewayEntry>();
    for (const { gateway } of entry.addresses) {
      if (gateway.kind === "address" || gateways.has(gateway.name.key)) continue;
      const known = this.#parts.gateways.cached(gateway.name, nowMs);
      if (known === undefined) return undefined;
      this.#parts.report.cacheHit("gateway");
      gateways.set(gateway.name.key, known);
    }
    return collect(entry, gateways, nowMs);
  }

  /** Resolves all gateway names at once. */
  async #targets(entry: AaEntry, deadline: Deadline): Promise<Targets> {
    const names = new Map<string, Name>();
    for (const { gateway } of entry.addresses) {
      if (gateway.kind === "name") names.set(gateway.name.key, gateway.name);
    }
    const { gateways, now } = this.#parts;
    const found = await Promise.all(
      [...names].map(async ([key, name]) => {
        const known = gateways.cached(name, now()) ?? (await gateways.ask(name, deadline));
        return [key, known] as const;
      }),
    );
    return collect(entry, new Map(found), now());
  }
}

/** Pairs of gateway address and reference in published order, each once, at most eight. */
function collect(
  entry: AaEntry,
  gateways: ReadonlyMap<string, GatewayEntry>,
  nowMs: number,
): Targets {
  const list = new Map<string, Target>();
  let ttlSeconds = Number.POSITIVE_INFINITY;
  let expiresAtMs = Number.POSITIVE_INFINITY;
  let failure: string | undefined;
  for (const { gateway, reference } of entry.addresses) {
    const known = gateway.kind === "name" ? gateways.get(gateway.name.key) : undefined;
    failure ??= known?.failure;
    const contexts = gateway.kind === "address" ? [gateway.address] : (known?.addresses ?? []);
    for (const context of contexts) {
      if (list.size >= MAPPER_REQUESTS_MAX) break;
      const key = `${addressKey(context)}+${reference.toString(36)}`;
      list.set(key, { key, context, reference });
    }
    if (known === undefined || known.addresses.length === 0) continue;
    ttlSeconds = Math.min(ttlSeconds, known.ttlSecondsAt(nowMs));
    expiresAtMs = Math.min(expiresAtMs, known.expiresAtMs);
  }
  return { list: [...list.values()], ttlSeconds, expiresAtMs, failure };
}

/** Each address once, in order. */
function distinct(addresses: readonly IpAddress[]): IpAddress[] {
  const byKey = new Map<string, IpAddress>();
  for (const address of addresses) {
    const key = addressKey(address);
    if (!byKey.has(key)) byKey.set(key, address);
  }
  return [...byKey.values()];
}
