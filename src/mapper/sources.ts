/**
 * DNS sources (spec/mapper.md 2.7, 2.8 and the recommended behaviour 1 to 6 of section 4): new
 * generations without a gap, expiry of sources that fell silent, restart without a resend.
 */

import { formatIp, type IpVersion } from "../base/ip.js";
import { formatReference } from "../base/reference.js";
import {
  type MapperConfig,
  type MapperEvent,
  type MapperLimits,
  PRECEDENCE_SOURCE,
} from "./config.js";
import type { Owners } from "./owners.js";
import { refusalOf } from "./publication-rules.js";
import { type Publications, publicationKey } from "./publications.js";
import { recordOfSeen, SourceState, splitSeenKey } from "./source-state.js";
import type { StoredState, StoreShelf } from "./store.js";

/** Section 4, 1: without a HASH, the previous records go this long after the last DATA. */
const RETIRE_SECONDS = 30;
/** Section 4, 2: silence after which a source is stale, at least. */
const STALE_SECONDS = 14_400;
const STALE_INTERVALS = 3;
/** The stored time of the last message may be this much older than the real one. */
const HEARD_GRAIN_SECONDS = 600;

/** Verdict on a delivery: `ignored` messages get no answer. */
export type DeliveryVerdict = "accepted" | "ignored";

/** What a source has, for status. */
export interface SourceStatus {
  readonly name: string;
  readonly recordCount: number;
  readonly isLoading: boolean;
  readonly isStale: boolean;
  readonly lastHeardSeconds: number;
  /** Last message with records, mapper seconds; 0 before the first. */
  readonly lastDataSeconds: number;
  /** A connection delivers it. */
  readonly isConnected: boolean;
}

interface Parts {
  readonly config: MapperConfig;
  readonly limits: MapperLimits;
  readonly owners: Owners;
  readonly publications: Publications;
  readonly localVersion: IpVersion;
  readonly tunnelVersion: IpVersion;
  readonly put: (shelf: StoreShelf, key: number, value: Uint8Array | undefined) => void;
  readonly onEvent: (event: MapperEvent) => void;
}

/** All sources by name. */
export class Sources {
  readonly #parts: Parts;
  readonly #sources = new Map<string, SourceState>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Reads stored sources and brings their records into force. Owners are restored before. */
  restore(state: StoredState, nowSeconds: number): void {
    const byOid = new Map<number, SourceState>();
    for (const { key, value } of state.entries("source")) {
      const owner = this.#parts.owners.byOid(key);
      if (owner === undefined) continue;
      const source = new SourceState(key, owner.name, this.#parts.put);
      if (!source.restore(value)) continue;
      byOid.set(key, source);
      this.#sources.set(owner.name, source);
    }
    for (const { key, value } of state.entries("seen")) {
      const { oid, half } = splitSeenKey(key);
      byOid.get(oid)?.restoreChunk(half, value);
    }
    for (const source of this.#sources.values()) {
      this.#install(source, [...source.previous, ...source.current], nowSeconds, true);
    }
  }

  /** Status of all sources. */
  status(): SourceStatus[] {
    return [...this.#sources.values()].map((source) => ({
      name: source.name,
      recordCount: source.current.size,
      isLoading: source.previous.size > 0,
      isStale: source.isStale,
      lastHeardSeconds: source.lastHeardSeconds,
      lastDataSeconds: source.lastDataSeconds,
      isConnected: source.connection !== 0,
    }));
  }

  /** MC_HOST_DATA: `records` in canonical form (source-state.ts); a zero gateway is the own one. */
  deliver(
    name: string,
    hash: string,
    records: readonly string[],
    connection: number,
    nowSeconds: number,
  ): DeliveryVerdict {
    const source = this.#sources.get(name) ?? this.#create(name);
    if (source === undefined) return "ignored";
    this.#noteWriter(source, connection);
    if (source.hash !== hash) {
      source.startGeneration(hash);
      source.ownAddress.set(this.#parts.config.publicAddress.bytes);
    }
    const room = this.#parts.limits.sourceRecordsMax - source.current.size;
    const fresh = [...new Set(records)].filter((record) => !source.current.has(record));
    if (fresh.length > room) {
      const most = this.#parts.limits.sourceRecordsMax;
      const text = `DNS source ${name} has more than ${most} records`;
      this.#parts.onEvent({ level: "warning", kind: "source-limit", text });
      fresh.length = Math.max(0, room);
    }
    source.addRecords(fresh);
    source.lastDataSeconds = nowSeconds;
    this.#noteHeard(source, nowSeconds);
    source.save();
    this.#install(source, fresh, nowSeconds, false);
    return "accepted";
  }

  /** MC_HOST_DATA_HASH: true when the set is complete (ACK). */
  confirm(
    name: string,
    hash: string,
    count: number,
    connection: number,
    nowSeconds: number,
  ): boolean {
    const source = this.#sources.get(name);
    if (source === undefined) return false;
    this.#noteWriter(source, connection);
    const isSteady = source.lastHashSeconds > 0 && source.lastHashSeconds < nowSeconds;
    if (isSteady) source.hashIntervalSeconds = nowSeconds - source.lastHashSeconds;
    source.lastHashSeconds = nowSeconds;
    const before = source.lastHeardSeconds;
    this.#noteHeard(source, nowSeconds);
    const isMatching = source.hash === hash && source.current.size === count;
    const isRetiring = isMatching && source.previous.size > 0;
    if (isRetiring) this.#retire(source, nowSeconds);
    if (isRetiring || nowSeconds - before >= HEARD_GRAIN_SECONDS) source.save();
    return isMatching;
  }

  /** Retires old generations and silent sources. Call about once a second. */
  sweep(nowSeconds: number): void {
    for (const source of this.#sources.values()) {
      if (source.previous.size > 0 && source.lastDataSeconds + RETIRE_SECONDS <= nowSeconds) {
        this.#retire(source, nowSeconds);
        source.save();
      }
      this.#checkSilence(source, nowSeconds);
    }
  }

  #create(name: string): SourceState | undefined {
    if (this.#sources.size >= this.#parts.limits.sourcesMax) {
      const text = `DNS source ${name} is refused: there are ${this.#sources.size} sources`;
      this.#parts.onEvent({ level: "warning", kind: "source-limit", text });
      return undefined;
    }
    const owner = this.#parts.owners.ownerOf(name, PRECEDENCE_SOURCE);
    if (owner === undefined) return undefined;
    const source = new SourceState(owner.oid, name, this.#parts.put);
    this.#sources.set(name, source);
    this.#parts.onEvent({ level: "info", kind: "source-new", text: `New DNS source ${name}` });
    return source;
  }

  /** Section 4, 5. A connection delivers for a source until another one does. */
  #noteWriter(source: SourceState, connection: number): void {
    if (source.connection !== 0 && source.connection !== connection) {
      const text = `DNS source ${source.name} is now delivered by another connection`;
      this.#parts.onEvent({ level: "warning", kind: "source-writer", text });
    }
    source.connection = connection;
  }

  /** A connection is gone; the next one takes its sources over silently. */
  disconnected(connection: number): void {
    for (const source of this.#sources.values()) {
      if (source.connection === connection) source.connection = 0;
    }
  }

  #noteHeard(source: SourceState, nowSeconds: number): void {
    source.lastHeardSeconds = nowSeconds;
    source.isStale = false;
  }

  #retire(source: SourceState, nowSeconds: number): void {
    source.retirePrevious();
    const wanted = new Set<string>();
    for (const seen of source.current) {
      const record = recordOfSeen(seen, this.#parts.localVersion, this.#parts.tunnelVersion);
      if (record !== undefined) wanted.add(publicationKey(record));
    }
    const { publications } = this.#parts;
    const gone = publications.keysOf(source.oid).filter((key) => !wanted.has(key));
    publications.remove(source.oid, gone, nowSeconds);
  }

  #checkSilence(source: SourceState, nowSeconds: number): void {
    const silence = nowSeconds - source.lastHeardSeconds;
    const limit = Math.max(STALE_SECONDS, STALE_INTERVALS * source.hashIntervalSeconds);
    if (silence <= limit) return;
    if (!source.isStale) {
      source.isStale = true;
      const text = `DNS source ${source.name} was silent for ${limit} seconds`;
      this.#parts.onEvent({ level: "warning", kind: "source-stale", text });
    }
    if (silence <= limit + this.#parts.limits.sourceDropSeconds) return;
    const { publications } = this.#parts;
    publications.remove(source.oid, publications.keysOf(source.oid), nowSeconds);
    source.forget();
    this.#sources.delete(source.name);
    const text = `DNS source ${source.name} stayed silent; its records are no longer in force`;
    this.#parts.onEvent({ level: "warning", kind: "source-dropped", text });
  }

  #install(
    source: SourceState,
    records: readonly string[],
    nowSeconds: number,
    isRestore: boolean,
  ): void {
    const { config, publications, localVersion, tunnelVersion } = this.#parts;
    // After a change of the public address the stored records name the old one (6.4).
    const rules = isRestore ? { ...config, publicAddress: addressThen(source, config) } : config;
    for (const seen of records) {
      const record = recordOfSeen(seen, localVersion, tunnelVersion);
      const refusal =
        record === undefined
          ? { found: "not exactly a local address", wanted: "records of local hosts" }
          : (refusalOf(record, rules) ?? publications.add(source.oid, record, nowSeconds));
      if (refusal === undefined || isRestore) continue;
      const what =
        record === undefined
          ? "a record"
          : `${formatIp(record.address)} + ${formatReference(record.reference!)}`;
      const text =
        `DNS source ${source.name}: ${what} is not in force: ` +
        `found ${refusal.found}, expected ${refusal.wanted}`;
      this.#parts.onEvent({ level: "warning", kind: "refused-record", text });
    }
  }
}

/** The own public address under which a source delivered. */
function addressThen(source: SourceState, config: MapperConfig): MapperConfig["publicAddress"] {
  const { version, bytes } = config.publicAddress;
  return { version, bytes: source.ownAddress.slice(0, bytes.length) };
}
