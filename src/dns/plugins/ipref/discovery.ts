/**
 * AA discovery: which names have IPREF addresses (spec/resolver.md 1.4, 1.5, 1.13). One table holds
 * what is known of a name, one question at a time is asked for it, and popular entries are asked
 * for again before they end. Monotonic clock.
 */

import { formatKey, Name, octetsOfKey } from "../../../wire/dns/name.js";
import type { ResourceRecord } from "../../../wire/dns/record.js";
import type { UpstreamPort } from "../../ports.js";
import { NameTable } from "../cache/name-table.js";
import type { AaAddress } from "./aa-string.js";
import { type AaCarrier, CARRIERS } from "./carrier.js";
import {
  type Deadline,
  KEPT_SECONDS_MIN,
  type Lookup,
  lookUp,
  NONE_SECONDS_MAX,
} from "./lookup.js";
import type { MappedAnswer, MapResult, ReadyAnswer } from "./ready-answer.js";
import type { IprefReport } from "./report.js";
import {
  AA_TABLE_BYTES_MAX,
  AA_USED_MAX,
  FAILED_KEPT_SECONDS,
  KEPT_SECONDS_MAX,
  PREFETCH_HITS_MIN,
  PREFETCH_SHARE,
  QUERY_BUDGET_MS,
  TABLE_ENTRIES_MAX,
} from "./settings.js";

export type AaState = "has" | "none" | "failed";

/** What is known of one name. */
export class AaEntry {
  /** In lower case. */
  readonly name: Name;
  readonly state: AaState;
  /** Usable IPREF addresses in published order; not empty exactly for "has". */
  readonly addresses: readonly AaAddress[];
  /** CNAMEs from the name to the owner of the addresses. */
  readonly links: readonly ResourceRecord[];
  /** Why discovery failed. */
  readonly detail: string;
  readonly #ttlSeconds: number;
  readonly storedAtMs: number;
  readonly expiresAtMs: number;
  hitCount = 0;
  isRefreshing = false;
  /** Answers for this second, and the one that is being made. */
  mapped: MappedAnswer | undefined;
  nodata: ReadyAnswer | undefined;
  mapping: Promise<MapResult> | undefined;

  constructor(name: Name, found: Finding, nowMs: number) {
    this.name = name;
    this.state = found.state;
    this.addresses = found.addresses;
    this.links = found.links;
    this.detail = found.detail;
    this.#ttlSeconds = found.ttlSeconds;
    this.storedAtMs = nowMs;
    this.expiresAtMs = nowMs + 1000 * found.keptSeconds;
  }

  /** Owner of the address records: the end of the chain. */
  get owner(): Name {
    const last = this.links.at(-1);
    return last === undefined ? this.name : new Name(last.data);
  }

  /** What is left of the smallest TTL. */
  ttlSecondsAt(nowMs: number): number {
    const ageSeconds = Math.floor((nowMs - this.storedAtMs) / 1000);
    return Math.max(0, this.#ttlSeconds - ageSeconds);
  }

  /** About how many octets the entry holds. */
  get sizeBytes(): number {
    let links = 0;
    for (const { owner, data } of this.links) links += 4 * owner.wire.length + data.length + 200;
    return 3 * this.name.wire.length + 200 * this.addresses.length + links + 800;
  }
}

/** Result of one discovery. */
interface Finding {
  readonly state: AaState;
  readonly addresses: readonly AaAddress[];
  readonly links: readonly ResourceRecord[];
  readonly ttlSeconds: number;
  readonly keptSeconds: number;
  readonly detail: string;
}

const NO_FINDING = { addresses: [], links: [], ttlSeconds: 0, detail: "" };

/** Parts of a discovery. */
export interface DiscoveryParts {
  readonly upstream: () => UpstreamPort | undefined;
  readonly report: IprefReport;
  readonly now: () => number;
  readonly seed: number;
  /** Gateway part and reference can be used here (version, classes of addresses). */
  isUsable(address: AaAddress): boolean;
  /** Complains about literals that are never gateways; true when it is one. */
  isForbidden(address: AaAddress): boolean;
}

export class Discovery {
  readonly #parts: DiscoveryParts;
  readonly #table: NameTable<AaEntry>;
  readonly #inFlight = new Map<string, Promise<AaEntry>>();

  constructor(parts: DiscoveryParts) {
    this.#parts = parts;
    const limits = { entriesMax: TABLE_ENTRIES_MAX, bytesMax: AA_TABLE_BYTES_MAX };
    this.#table = new NameTable(limits, parts.seed);
  }

  get size(): number {
    return this.#table.size;
  }

  /** What is known of the name at bytes[start, end); refreshes it when it is popular. */
  cached(bytes: Uint8Array, start: number, end: number, nowMs: number): AaEntry | undefined {
    const entry = this.#table.find(bytes, start, end, 0);
    if (entry === undefined || entry.expiresAtMs <= nowMs) return undefined;
    entry.hitCount++;
    if (entry.hitCount >= PREFETCH_HITS_MIN && !entry.isRefreshing && entry.state !== "failed") {
      const lifetimeMs = entry.expiresAtMs - entry.storedAtMs;
      if (entry.expiresAtMs - nowMs < PREFETCH_SHARE * lifetimeMs) this.#refresh(entry);
    }
    return entry;
  }

  /** Asks for a name, together with everybody who asks for it now. */
  ask(name: Name, deadline: Deadline): Promise<AaEntry> {
    const known = this.#inFlight.get(name.key);
    if (known !== undefined) return known;
    const question = this.#discover(name, deadline).finally(() => {
      this.#inFlight.delete(name.key);
    });
    this.#inFlight.set(name.key, question);
    return question;
  }

  #refresh(entry: AaEntry): void {
    entry.isRefreshing = true;
    const endsAtMs = this.#parts.now() + QUERY_BUDGET_MS;
    const deadline = { remainingMs: () => endsAtMs - this.#parts.now() };
    const done = () => {
      entry.isRefreshing = false;
    };
    this.ask(entry.name, deadline).then(done, done);
  }

  async #discover(asked: Name, deadline: Deadline): Promise<AaEntry> {
    const name = new Name(octetsOfKey(asked.key), asked.key);
    const upstream = this.#parts.upstream();
    const finding =
      upstream === undefined
        ? failed("the upstream is not known yet")
        : await this.#askCarriers(upstream, name, deadline);
    const nowMs = this.#parts.now();
    const entry = new AaEntry(name, finding, nowMs);
    const { wire } = name;
    const old = this.#table.find(wire, 0, wire.length, 0);
    // A refresh that failed does not take away what is still valid.
    const isOldBetter = finding.state === "failed" && old !== undefined && old.expiresAtMs > nowMs;
    if (!isOldBetter) this.#table.set(wire, 0, wire.length, 0, entry, entry.sizeBytes);
    return isOldBetter ? old : entry;
  }

  /** Asks for all types that carry IPREF addresses at once. */
  async #askCarriers(upstream: UpstreamPort, name: Name, deadline: Deadline): Promise<Finding> {
    const findings = await Promise.all(
      CARRIERS.map(async (carrier) =>
        this.#read(name, carrier, await lookUp(upstream, name, carrier.type, deadline)),
      ),
    );
    const has = findings.find((finding) => finding.state === "has");
    return has ?? findings.find((finding) => finding.state === "failed") ?? findings[0]!;
  }

  #read(name: Name, carrier: AaCarrier, lookup: Lookup): Finding {
    if (lookup.kind === "failed") return failed(lookup.detail);
    if (lookup.kind === "none") {
      return { ...NO_FINDING, state: "none", keptSeconds: lookup.keptSeconds };
    }
    const { report } = this.#parts;
    if (lookup.isAuthentic && report.isDebug) {
      report.debug(`${formatKey(name.key)}: the upstream has validated the reply`);
    }
    const all: AaAddress[] = [];
    for (const record of lookup.records) {
      carrier.readInto(all, record, (octets, reason) => report.invalid(name, octets, reason));
    }
    const usable = all.filter((address) => {
      if (!this.#parts.isForbidden(address)) return this.#parts.isUsable(address);
      report.forbidden();
      return false;
    });
    const keptSeconds = Math.max(KEPT_SECONDS_MIN, Math.min(KEPT_SECONDS_MAX, lookup.ttlSeconds));
    if (usable.length === 0) {
      // Other TXT records may get an AA string soon.
      return { ...NO_FINDING, state: "none", keptSeconds: Math.min(NONE_SECONDS_MAX, keptSeconds) };
    }
    return {
      state: "has",
      addresses: usable.slice(0, AA_USED_MAX),
      links: lookup.links,
      ttlSeconds: lookup.ttlSeconds,
      keptSeconds,
      detail: "",
    };
  }
}

function failed(detail: string): Finding {
  return { ...NO_FINDING, state: "failed", keptSeconds: FAILED_KEPT_SECONDS, detail };
}
