/**
 * Counters and log lines of one `ipref` block (spec/resolver.md 1.10, 1.15). Label objects are made
 * once and frozen, so that counting a query makes no garbage and finds its series at once.
 */

import type { Name } from "../../../wire/dns/name.js";
import { rcodeName } from "../../../wire/dns/numbers.js";
import type { Clock, Log, LogLevel, Metrics } from "../../ports.js";
import { type AaFault, escapeString } from "./aa-string.js";
import { LruMap } from "./lru-map.js";

/** How a query ended; values of a label. */
export type IprefOutcome =
  | "mapped"
  | "nodata"
  | "none"
  | "upstream_failed"
  | "map_failed"
  | "limited"
  | "ptr"
  | "special";

export type CacheKind = "aa" | "none" | "failed" | "gateway" | "ea" | "answer";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const REMEMBERED_MAX = 4096;
const REMEMBERED_BYTES_MAX = 1 << 20;
const UNREPORTED = Number.NEGATIVE_INFINITY;

export class IprefReport {
  readonly #metrics: Metrics;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #server: Readonly<Record<string, string>>;
  readonly #outcomes = new Map<IprefOutcome, Readonly<Record<string, string>>>();
  readonly #rcodes = new Map<number, Readonly<Record<string, string>>>();
  readonly #hits = new Map<CacheKind, Readonly<Record<string, string>>>();
  readonly #warnedAtMs = new Map<string, number>();
  /** Invalid strings that were logged within the hour. */
  readonly #invalidAtMs = new LruMap<number>(REMEMBERED_MAX, REMEMBERED_BYTES_MAX);

  constructor(server: string, metrics: Metrics, log: Log, clock: Clock) {
    this.#server = Object.freeze({ server });
    this.#metrics = metrics;
    this.#log = log;
    this.#clock = clock;
  }

  /** Counts how a query ended. */
  outcome(outcome: IprefOutcome): void {
    let labels = this.#outcomes.get(outcome);
    if (labels === undefined) {
      labels = Object.freeze({ ...this.#server, outcome });
      this.#outcomes.set(outcome, labels);
    }
    this.#metrics.count("coredns_ipref_outcome_total", labels);
  }

  /** Counts a response that is not left to the next plugin. */
  response(rcode: number, durationMs: number): void {
    let labels = this.#rcodes.get(rcode);
    if (labels === undefined) {
      labels = Object.freeze({ ...this.#server, rcode: rcodeName(rcode) });
      this.#rcodes.set(rcode, labels);
    }
    this.#metrics.count("coredns_ipref_response_rcode_count_total", labels);
    this.#metrics.observe(
      "coredns_ipref_request_duration_seconds",
      this.#server,
      durationMs / 1000,
    );
  }

  cacheHit(kind: CacheKind): void {
    let labels = this.#hits.get(kind);
    if (labels === undefined) {
      labels = Object.freeze({ kind });
      this.#hits.set(kind, labels);
    }
    this.#metrics.count("coredns_ipref_cache_hits_total", labels);
  }

  /** An AA string that is none: counted, and logged once a name and hour. */
  invalid(name: Name, octets: Uint8Array, reason: AaFault): void {
    this.#metrics.count("coredns_ipref_aa_invalid_total", { reason });
    if (!this.#log.isDebug) return;
    const text = escapeString(octets);
    const key = `${name.key} ${text}`;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - (this.#invalidAtMs.peek(key) ?? UNREPORTED) < HOUR_MS) return;
    this.#invalidAtMs.set(key, nowMs);
    this.#write("DEBUG", `${name}: "${text}" is not an IPREF address: ${reason}`);
  }

  /** A literal gateway address that can be none: loopback, multicast, the encoding network. */
  forbidden(): void {
    this.#metrics.count("coredns_ipref_aa_invalid_total", { reason: "gateway-address" });
  }

  /** Traffic is leaving IPREF: logged once a minute and cause. */
  warn(cause: string, text: string): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - (this.#warnedAtMs.get(cause) ?? UNREPORTED) < MINUTE_MS) return;
    this.#warnedAtMs.set(cause, nowMs);
    this.#write("WARNING", text);
  }

  get isDebug(): boolean {
    return this.#log.isDebug;
  }

  debug(text: string): void {
    this.#write("DEBUG", text);
  }

  #write(level: LogLevel, text: string): void {
    this.#log.write(level, "ipref", text);
  }
}
