/**
 * The cache of a block. A hit is answered at once, from one table look-up in the octets of the
 * request; nothing is allocated but one answer object an entry and second.
 *
 * - Equal questions in flight are one (spec/resolver.md 4.4).
 * - The key is name, type, DO and CD; the class is always IN. Spelling is the client's, because
 *   owners in packed sections point to the question.
 * - Whatever is marked as not storable, as everything from `ipref` is, passes through.
 */

import type { Name } from "../../../wire/dns/name.js";
import { FLAG_AA, FLAG_CD, RCODE_SERVFAIL } from "../../../wire/dns/numbers.js";
import type { Answer, Reply } from "../../answer.js";
import type { BuildContext, Handler, Next } from "../../plugin.js";
import type { Metrics } from "../../ports.js";
import type { Query } from "../../query.js";
import { type CacheEntry, type EntryKind, entryFor } from "./entry.js";
import { NameTable } from "./name-table.js";
import type { CacheSettings, TableSettings } from "./settings.js";

const NAME_START = 12;
const TAG_DNSSEC_OK = 0x1_0000;
const TAG_CHECKING_DISABLED = 0x2_0000;
const TAG_RECURSION_DESIRED = 0x4_0000;
/** An average entry of 3 KiB; a table of large answers holds fewer. */
const BYTES_PER_ENTRY_MAX = 3072;
/** Questions in flight that others may join. */
const IN_FLIGHT_MAX = 65_536;

/** Answers from memory, or asks the rest of the chain and remembers. */
export class CacheHandler implements Handler {
  readonly name = "cache";
  readonly #settings: CacheSettings;
  readonly #metrics: Metrics;
  readonly #now: () => number;
  readonly #success: NameTable<CacheEntry>;
  readonly #denial: NameTable<CacheEntry>;
  readonly #inFlight: NameTable<Promise<Answer>>;
  readonly #isEverything: boolean;
  readonly #labels: Readonly<Record<"server" | "zones" | "view", string>>;
  readonly #hitLabels: Readonly<Record<EntryKind, Readonly<Record<string, string>>>>;

  constructor(settings: CacheSettings, context: BuildContext) {
    const { clock, metrics, random } = context.environment;
    this.#settings = settings;
    this.#metrics = metrics;
    this.#now = () => clock.monotonicMs();
    const seed = random.word();
    const server = context.serverLabel;
    const zones = settings.zones.map((zone) => zone.toString()).join(",");
    this.#labels = Object.freeze({ server, zones, view: "" });
    this.#hitLabels = {
      success: Object.freeze({ server, type: "success", zones, view: "" }),
      denial: Object.freeze({ server, type: "denial", zones, view: "" }),
      failure: Object.freeze({ server, type: "servfail", zones, view: "" }),
    };
    this.#success = this.#table(settings.success, seed);
    this.#denial = this.#table(settings.denial, seed);
    const bounds = { entriesMax: IN_FLIGHT_MAX, bytesMax: Number.POSITIVE_INFINITY };
    this.#inFlight = new NameTable(bounds, seed);
    this.#isEverything = settings.zones.some((zone) => zone.isRoot);
  }

  #table({ entriesMax }: TableSettings, seed: number): NameTable<CacheEntry> {
    const bytesMax = BYTES_PER_ENTRY_MAX * entriesMax;
    return new NameTable({ entriesMax, bytesMax }, seed, () =>
      this.#metrics.count("coredns_cache_evictions_total", this.#labels),
    );
  }

  /** Answers that are kept now. */
  get entryCount(): number {
    return this.#success.size + this.#denial.size;
  }

  handle(query: Query, next: Next): Reply {
    const tag = tagOf(query);
    const { bytes, nameEnd, receivedAtMs: nowMs } = query;
    let entry = this.#success.find(bytes, NAME_START, nameEnd, tag);
    if (entry === undefined || entry.expiresAtMs <= nowMs) {
      entry = this.#denial.find(bytes, NAME_START, nameEnd, tag) ?? entry;
    }
    if (entry !== undefined) {
      if (entry.expiresAtMs > nowMs) return this.#hit(query, next, tag, entry, nowMs);
      if (this.#isStaleUsable(entry, nowMs)) return this.#stale(query, next, tag, entry, nowMs);
    } else if (!this.#isEverything && !isWithinAny(query.name, this.#settings.zones)) {
      return next(query);
    }
    this.#metrics.count("coredns_cache_misses_total", this.#labels);
    return this.#ask(query, next, tag);
  }

  #hit(query: Query, next: Next, tag: number, entry: CacheEntry, nowMs: number): Answer {
    const { prefetch } = this.#settings;
    if (prefetch !== undefined) {
      entry.hitCount = nowMs - entry.lastHitMs > prefetch.durationMs ? 1 : entry.hitCount + 1;
      entry.lastHitMs = nowMs;
      const leftMs = entry.expiresAtMs - nowMs;
      const isDue = leftMs < 10 * prefetch.percent * entry.ttlSeconds;
      if (isDue && entry.hitCount >= prefetch.hitsMin && entry.kind !== "failure") {
        this.#refresh(query, next, tag, entry);
      }
    }
    this.#metrics.count("coredns_cache_hits_total", this.#hitLabels[entry.kind]);
    return entry.answerAt(nowMs);
  }

  /** Asks in the background on behalf of nobody; the entry stays until an answer replaces it. */
  #refresh(query: Query, next: Next, tag: number, entry: CacheEntry): void {
    if (entry.isRefreshing) return;
    entry.isRefreshing = true;
    this.#metrics.count("coredns_cache_prefetch_total", this.#labels);
    const copy = query.derive(query.name, query.type);
    copy.receivedAtMs = query.receivedAtMs;
    const done = () => {
      entry.isRefreshing = false;
    };
    const reply = this.#ask(copy, next, tag);
    if (reply instanceof Promise) reply.then(done, done);
    else done();
  }

  #isStaleUsable(entry: CacheEntry, nowMs: number): boolean {
    const { stale } = this.#settings;
    if (stale === undefined || entry.kind === "failure") return false;
    return nowMs - entry.expiresAtMs < stale.durationMs;
  }

  #stale(query: Query, next: Next, tag: number, entry: CacheEntry, nowMs: number): Reply {
    const old = { ...entry.answerAt(nowMs), ttlSecondsMax: 0 };
    if (this.#settings.stale?.isVerified !== true) {
      this.#refresh(query, next, tag, entry);
      this.#metrics.count("coredns_cache_served_stale_total", this.#labels);
      return old;
    }
    const reply = this.#ask(query, next, tag);
    const choose = (answer: Answer): Answer => {
      if (answer.rcode !== RCODE_SERVFAIL) return answer;
      this.#metrics.count("coredns_cache_served_stale_total", this.#labels);
      return old;
    };
    return reply instanceof Promise ? reply.then(choose) : choose(reply);
  }

  /** Asks the rest of the chain, together with whoever asks the same. */
  #ask(query: Query, next: Next, tag: number): Reply {
    const { bytes, nameEnd } = query;
    // Upstream servers answer differently without RD, so only alike questions are joined.
    const flightTag = tag | (query.isRecursionDesired ? TAG_RECURSION_DESIRED : 0);
    if (this.#inFlight.size > 0) {
      const joined = this.#inFlight.find(bytes, NAME_START, nameEnd, flightTag);
      if (joined !== undefined) return joined;
    }
    const reply = next(query);
    if (!(reply instanceof Promise)) return this.#keep(query, tag, reply);
    // The request's memory is used again after this call; the name is a copy.
    const { wire } = query.name;
    const finish = () => this.#inFlight.delete(wire, 0, wire.length, flightTag);
    const shared = reply.then(
      (answer) => {
        finish();
        return this.#keep(query, tag, answer);
      },
      (error: unknown) => {
        finish();
        throw error;
      },
    );
    this.#inFlight.set(wire, 0, wire.length, flightTag, shared, 0);
    return shared;
  }

  /** Stores the answer if it may be kept; returns what the client gets. */
  #keep(query: Query, tag: number, answer: Answer): Answer {
    if (!answer.isStorable) return answer;
    // Without RD a recursive server answers from its memory only: nothing to remember.
    if (!query.isRecursionDesired && (answer.flags & FLAG_AA) === 0) return answer;
    const { name, type } = query;
    const entry = entryFor(this.#settings, name, type, answer, this.#now());
    if (entry === undefined || this.#isDisabled(entry, name)) return answer;
    const { wire } = name;
    const isSuccess = entry.kind === "success";
    const table = isSuccess ? this.#success : this.#denial;
    const other = isSuccess ? this.#denial : this.#success;
    if (entry.kind !== "failure") other.delete(wire, 0, wire.length, tag);
    else if (this.#success.find(wire, 0, wire.length, tag) !== undefined) {
      // A failure does not push out what may still be served stale.
      if (this.#settings.stale !== undefined) return answer;
      other.delete(wire, 0, wire.length, tag);
    }
    table.set(wire, 0, wire.length, tag, entry, entry.sizeBytes);
    this.#gauge(isSuccess);
    return { ...answer, ttlSecondsMax: Math.min(answer.ttlSecondsMax, entry.ttlSeconds) };
  }

  #isDisabled(entry: CacheEntry, name: Name): boolean {
    const { successDisabled, denialDisabled } = this.#settings;
    return isWithinAny(name, entry.kind === "success" ? successDisabled : denialDisabled);
  }

  #gauge(isSuccess: boolean): void {
    const labels = this.#hitLabels[isSuccess ? "success" : "denial"];
    const { size } = isSuccess ? this.#success : this.#denial;
    this.#metrics.gauge("coredns_cache_entries", labels, size);
  }
}

function tagOf(query: Query): number {
  return (
    query.type |
    (query.isDnssecOk ? TAG_DNSSEC_OK : 0) |
    ((query.flags & FLAG_CD) !== 0 ? TAG_CHECKING_DISABLED : 0)
  );
}

function isWithinAny(name: Name, zones: readonly Name[]): boolean {
  return zones.some((zone) => name.isWithin(zone));
}
