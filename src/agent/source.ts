/**
 * One source, LOCAL:PUBLIC (spec/dns-agent.md 2): polls its servers, counts their votes, looks up
 * the hosts and hands accepted sets to the delivery. Only a set that differs from the accepted one
 * is delivered; whatever fails changes nothing.
 */

import type { IpAddress, IpPrefix, IpVersion } from "../base/ip.js";
import { readOffer, type ZoneOffer } from "./candidates.js";
import type { Delivery } from "./delivery.js";
import { HostLookup } from "./host-lookup.js";
import { type HostSet, hostSetOf } from "./host-set.js";
import { hashText } from "./mapper-publication.js";
import { type Fetcher, type FetchResult, Poller, retryDelaySeconds } from "./poller.js";
import type { AgentWorld } from "./ports.js";
import type { SourceSpec } from "./source-spec.js";
import { FRESH_INTERVALS, vote } from "./vote.js";

/** Lines about records that are left out, of one look-up. */
const WARNINGS_SHOWN_MAX = 50;

/** The first set is published although names could not be looked up at the latest now: 75 s. */
const FIRST_TRIES_MAX = 5;

/** What all sources of an agent share. */
export interface SourceSettings {
  readonly intervalSeconds: number;
  readonly localVersion: IpVersion;
  readonly gatewayVersion: IpVersion;
  /** See `LookupSettings`. */
  readonly encodeNet: IpPrefix | undefined;
  readonly ownGateway: IpAddress | undefined;
}

/** Answers of the servers since the start. */
export interface TransferCounts {
  content: number;
  unchanged: number;
  failed: number;
}

/** State of one place that content comes from. */
interface Place {
  readonly fetcher: Fetcher;
  readonly poller: Poller;
  hasVoted: boolean;
  confirmedAtMs: number | undefined;
  serial: number | undefined;
  offer: ZoneOffer | undefined;
  lastFailure: string | undefined;
}

/** State of one place, for status displays. */
export interface PlaceStatus {
  /** A server with its port, a file, a list of names. */
  readonly label: string;
  readonly serial: number | undefined;
  /** AA records in its content; undefined before there is any. */
  readonly recordCount: number | undefined;
  /** When it last confirmed its content, by the monotonic clock. */
  readonly confirmedAtMs: number | undefined;
  /** Why the last try failed; undefined when it did not. */
  readonly failure: string | undefined;
}

/** One source. */
export class Source {
  readonly spec: SourceSpec;
  readonly delivery: Delivery;
  readonly transfers: TransferCounts = { content: 0, unchanged: 0, failed: 0 };
  readonly #settings: SourceSettings;
  readonly #world: AgentWorld;
  readonly #places: readonly Place[];
  readonly #lookup: HostLookup;
  #confirmedAtSeconds: number | undefined;
  #disagreementAtMs: number | undefined;
  #isEvaluating = false;
  #isEvaluationAsked = false;
  /** What was looked up last, and when. */
  #lookedUp: { readonly fingerprint: string; readonly atMs: number } | undefined;
  /** Look-ups in a row of which a part failed. */
  #failedLookups = 0;
  #cancelLookup = () => {};
  #warned = new Set<string>();
  #isClosed = false;

  constructor(
    spec: SourceSpec,
    fetchers: readonly Fetcher[],
    settings: SourceSettings,
    world: AgentWorld,
    delivery: Delivery,
  ) {
    this.spec = spec;
    this.delivery = delivery;
    this.#settings = settings;
    this.#world = world;
    const keepMs = FRESH_INTERVALS * this.#intervalMs;
    this.#lookup = new HostLookup({ ...settings, keepMs }, spec.localZone);
    this.#places = fetchers.map((fetcher, index) => this.#placeOf(fetcher, index, fetchers.length));
  }

  get #intervalMs(): number {
    return 1000 * this.#settings.intervalSeconds;
  }

  get fetchers(): readonly Fetcher[] {
    return this.#places.map(({ fetcher }) => fetcher);
  }

  /** Seconds since 1970 when a server last confirmed its content; undefined: never. */
  get confirmedAtSeconds(): number | undefined {
    return this.#confirmedAtSeconds;
  }

  /** The highest serial that a server has shown. */
  get serial(): number | undefined {
    const serials = this.#places.flatMap(({ serial }) => serial ?? []);
    return serials.length === 0 ? undefined : Math.max(...serials);
  }

  /** State of all places. */
  places(): PlaceStatus[] {
    return this.#places.map(({ fetcher, serial, offer, confirmedAtMs, lastFailure }) => ({
      label: fetcher.label,
      serial,
      recordCount: offer?.candidates.length,
      confirmedAtMs,
      failure: lastFailure,
    }));
  }

  start(): void {
    for (const { poller } of this.#places) poller.start();
  }

  /** Somebody says that the zone has changed: all servers are asked soon. */
  hint(): void {
    for (const { poller } of this.#places) poller.hint();
  }

  close(): void {
    this.#isClosed = true;
    for (const { poller } of this.#places) poller.close();
    this.#cancelLookup();
    this.delivery.close();
  }

  #placeOf(fetcher: Fetcher, index: number, count: number): Place {
    const { timers, random } = this.#world;
    const { intervalSeconds } = this.#settings;
    const onResult = (result: FetchResult) => this.#onResult(index, result);
    const poller = new Poller({ fetcher, intervalSeconds, count, timers, random, onResult });
    return {
      fetcher,
      poller,
      hasVoted: false,
      confirmedAtMs: undefined,
      serial: undefined,
      offer: undefined,
      lastFailure: undefined,
    };
  }

  #onResult(index: number, result: FetchResult): void {
    const place = this.#places[index]!;
    place.hasVoted = true;
    this.transfers[result.kind]++;
    if (result.kind === "failed") this.#failed(place, result.reason);
    else {
      place.lastFailure = undefined;
      place.confirmedAtMs = this.#world.clock.monotonicMs();
      this.#confirmedAtSeconds = this.#world.clock.unixSeconds();
      if (result.kind === "content") this.#content(place, result);
      this.delivery.start();
    }
    void this.#evaluate();
  }

  #failed(place: Place, reason: string): void {
    const { log } = this.#world;
    const text = `${this.spec.name}: ${place.fetcher.label}: ${reason}`;
    if (place.lastFailure === reason) log.debug(text);
    else log.error(text, "agent-transfer-failed");
    place.lastFailure = reason;
  }

  #content(place: Place, result: FetchResult & { kind: "content" }): void {
    const { soa } = result.copy;
    place.offer = readOffer(result.copy, this.spec.publicZone, this.#settings.gatewayVersion);
    place.serial = soa?.serial;
    const serial = soa === undefined ? "" : `, serial ${soa.serial}`;
    const count = place.offer.candidates.length;
    const label = `${this.spec.name}: ${place.fetcher.label}`;
    const text = `${label}: ${result.how}${serial}, ${count} AA records`;
    this.#world.log.info(text, "agent-transfer");
  }

  /** Votes and looks up, one at a time. */
  async #evaluate(): Promise<void> {
    this.#isEvaluationAsked = true;
    if (this.#isEvaluating) return;
    this.#isEvaluating = true;
    while (this.#isEvaluationAsked) {
      this.#isEvaluationAsked = false;
      const offer = this.#elected();
      if (offer !== undefined) await this.#lookUp(offer);
    }
    this.#isEvaluating = false;
  }

  /** The content that the servers agree on. */
  #elected(): ZoneOffer | undefined {
    const nowMs = this.#world.clock.monotonicMs();
    const ballots = this.#places.map(({ hasVoted, confirmedAtMs, offer, serial }) => ({
      hasVoted,
      confirmedAtMs: offer === undefined ? undefined : confirmedAtMs,
      fingerprint: offer?.fingerprint ?? "",
      serial,
    }));
    const result = vote(ballots, nowMs, this.#intervalMs, this.#disagreementAtMs);
    if (result.kind === "disagreement") {
      if (this.#disagreementAtMs === undefined) this.#tellDisagreement();
      this.#disagreementAtMs ??= nowMs;
      return undefined;
    }
    if (result.kind === "waiting") return undefined;
    const offer = this.#places[result.index]!.offer!;
    const isUnanimous = ballots.every(
      ({ confirmedAtMs, fingerprint }) =>
        confirmedAtMs === undefined || fingerprint === offer.fingerprint,
    );
    if (isUnanimous) this.#disagreementAtMs = undefined;
    return offer;
  }

  #tellDisagreement(): void {
    const states = this.#places.map(
      ({ fetcher, serial }) => `${fetcher.label} serial ${serial ?? "unknown"}`,
    );
    const text = `${this.spec.name}: the servers disagree and none has a majority`;
    const all = `${text}; nothing is changed: ${states.join(", ")}`;
    this.#world.log.warning(all, "agent-disagreement");
  }

  /** Look-ups are repeated once a round, whatever the serial (spec/dns-agent.md 9, 1). */
  async #lookUp(offer: ZoneOffer): Promise<void> {
    const { clock, publicResolver, localResolver } = this.#world;
    const atMs = clock.monotonicMs();
    const last = this.#lookedUp;
    const isRecent = last !== undefined && atMs - last.atMs < this.#intervalMs / 2;
    if (isRecent && last.fingerprint === offer.fingerprint) return;
    this.#lookedUp = { fingerprint: offer.fingerprint, atMs };
    const result = await this.#lookup.run(offer, publicResolver, localResolver, atMs);
    if (this.#isClosed) return;
    this.#warn([...offer.warnings, ...result.warnings]);
    this.#failedLookups = result.hasFailures ? this.#failedLookups + 1 : 0;
    if (result.hasFailures) this.#planLookup();
    // After a start there is no earlier address to keep: a resolver that starts later than the
    // agent must not withdraw what the gateway still has from before.
    const isTooEarly = this.delivery.set === undefined && this.#failedLookups < FIRST_TRIES_MAX;
    if (!result.hasFailures || !isTooEarly) this.#accept(hostSetOf(result.records));
  }

  /** Asks for the same names again, after 5, 10, 20, ... 300 s. */
  #planLookup(): void {
    const delayMs = 1000 * retryDelaySeconds(this.#failedLookups, this.#settings.intervalSeconds);
    this.#cancelLookup();
    this.#cancelLookup = this.#world.timers.after(delayMs, () => {
      this.#lookedUp = undefined;
      void this.#evaluate();
    });
  }

  #accept(set: HostSet): void {
    const before = this.delivery.set;
    if (before !== undefined && hashText(before.hash) === hashText(set.hash)) return;
    const text = `${this.spec.name}: ${set.records.length} hosts to publish`;
    this.#world.log.info(text, "agent-hosts");
    this.delivery.accept(set);
  }

  /** Each record that is left out is named once, until it is in order again. */
  #warn(warnings: readonly string[]): void {
    const fresh = warnings.filter((text) => !this.#warned.has(text));
    const { log } = this.#world;
    for (const text of fresh.slice(0, WARNINGS_SHOWN_MAX)) {
      log.warning(`${this.spec.name}: ${text}`, "agent-record-left-out");
    }
    const rest = fresh.length - WARNINGS_SHOWN_MAX;
    const more = `${this.spec.name}: ${rest} more records are left out`;
    if (rest > 0) log.warning(more, "agent-record-left-out");
    this.#warned = new Set(warnings);
  }
}
