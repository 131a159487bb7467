/**
 * The address mapper (spec/mapper.md): encoded addresses of remote hosts, references of our hosts,
 * published records, all in the shared address table. Pure: clock, randomness and events are handed
 * in; changes for the store are taken out in batches.
 *
 * Durability. A new mapping is `pending`. The mapper calls `onChangesWaiting`; the shell (or
 * Committer) takes a batch with `takeChanges`, stores it, and calls `committed` or `failed` with
 * its token; then the mapper calls `onSettled` with that token, and a repeated look-up finds the
 * mapping or tries anew. `onChangesWaiting` must not take a batch before it returns.
 */

import type { AddressLookup, Lookup } from "../base/address-lookup.js";
import type { DropReason } from "../base/drop-reason.js";
import { addressLength, type IpAddress, isPacketUnicast } from "../base/ip.js";
import type { RandomSource } from "../base/random.js";
import type { IprefAddress, Reference } from "../base/reference.js";
import { RECORD_LOCAL } from "../tables/address-table.js";
import type { AddressTableWriter } from "../tables/address-table-writer.js";
import { EncodedAddressSpace } from "./allocator.js";
import type { Batch } from "./change-log.js";
import { DEFAULT_LIMITS, type MapperConfig, type MapperEvent, PRECEDENCE_HOSTS } from "./config.js";
import { ContextBook } from "./contexts.js";
import { MapperCore } from "./core.js";
import { EventLimiter } from "./event-limiter.js";
import type { Complaint, HostsRecord } from "./hosts-file.js";
import { LocalHosts } from "./local-hosts.js";
import { LocalMappings } from "./local-mappings.js";
import {
  countMappings,
  type FoundMapping,
  findMappings,
  type MappingCounts,
  type MappingQuery,
  type RecordRange,
} from "./mapping-query.js";
import { Owners } from "./owners.js";
import { MapperPreview, type PreviewObserver } from "./preview.js";
import { refusalOf } from "./publication-rules.js";
import { Publications, publicationKey } from "./publications.js";
import { KEY_CONTEXT, KEY_REFERENCE, RecordKey } from "./record-key.js";
import { RecordBook } from "./records.js";
import { RemoteMappings } from "./remote-mappings.js";
import { type RestoreCounts, Restorer } from "./restore.js";
import { type DeliveryVerdict, type SourceStatus, Sources } from "./sources.js";
import {
  type MapperStatistics,
  type MappingVisitor,
  statisticsOf,
  visitMappings,
} from "./status.js";
import { META_KEY, type StoredState } from "./store.js";
import { Sweeper } from "./sweeper.js";
import { metaBytes } from "./time-base.js";

/** The seconds are stored at least this often, so that they cannot run backwards by more. */
const META_INTERVAL_SECONDS = 300;

export interface MapperOptions {
  readonly config: MapperConfig;
  readonly table: AddressTableWriter;
  readonly random: RandomSource;
  /** Mapper seconds (time-base.ts); never running backwards. */
  readonly nowSeconds: () => number;
  /** From `startTimeBase`. */
  readonly timeBaseMs: number;
  /** There is something to take; the shell takes it later, not inside the call. */
  readonly onChangesWaiting: () => void;
  /** A batch was stored or refused: what waited for it can go on. */
  readonly onSettled: (token: number, isStored: boolean) => void;
  readonly onEvent: (event: MapperEvent) => void;
}

/** Answers of `resolveInto`. */
export const RESOLVE_REFUSED = 0;
export const RESOLVE_FOUND = 1;
export const RESOLVE_PENDING = 2;

/** The mapper of one gateway. */
export class Mapper implements AddressLookup {
  /** Token that the last RESOLVE_PENDING waits for. */
  pendingToken = 0;
  readonly #options: MapperOptions;
  readonly #core: MapperCore;
  readonly #records: RecordBook;
  readonly #owners: Owners;
  readonly #publications: Publications;
  readonly #sources: Sources;
  readonly #sweeper: Sweeper;
  readonly #remote: RemoteMappings;
  readonly #local: LocalMappings;
  readonly #key = new RecordKey();
  readonly #localBytes: number;
  readonly #contextBytes: number;
  #metaSeconds = 0;
  #lastRefusal: DropReason = "tunnel-reference-unknown";

  constructor(options: MapperOptions) {
    this.#options = options;
    const { config, table, random, nowSeconds } = options;
    const limiter = new EventLimiter(nowSeconds, options.onEvent);
    const onEvent = (event: MapperEvent) => limiter.emit(event);
    const limits = { ...DEFAULT_LIMITS, ...config.limits };
    const records = new RecordBook(table, options.onChangesWaiting);
    const put = records.changes.put.bind(records.changes);
    const owners = new Owners(put);
    const hosts = new LocalHosts(records, (oid) => owners.precedenceOf(oid), limits.pairsMax);
    const publications = new Publications({ records, hosts, owners }, (text) =>
      onEvent({ level: "warning", kind: "conflict", text }),
    );
    const contexts = new ContextBook(limits, nowSeconds());
    const space = new EncodedAddressSpace(config.encodeNet, config.ownEncoded, random);
    const shared = { limits, records, hosts, owners, publications, contexts, space };
    this.#core = new MapperCore(config, { ...shared, random, nowSeconds, onEvent });
    this.#records = records;
    this.#owners = owners;
    this.#publications = publications;
    const { localVersion, tunnelVersion } = table.shape;
    const versions = { localVersion, tunnelVersion };
    this.#sources = new Sources({
      config,
      limits,
      owners,
      publications,
      put,
      onEvent,
      ...versions,
    });
    this.#sweeper = new Sweeper(this.#core);
    this.#remote = new RemoteMappings(this.#core, this.#sweeper);
    this.#local = new LocalMappings(this.#core, this.#sweeper);
    this.#localBytes = addressLength(localVersion);
    this.#contextBytes = addressLength(tunnelVersion);
  }

  /** Reads a store. Once, before anything else; an empty store is a valid one. */
  restore(state: StoredState): RestoreCounts {
    const now = this.#options.nowSeconds();
    this.#owners.restore(state);
    const counts = new Restorer(this.#core).run(state, now);
    this.#sources.restore(state, now);
    if (counts.restored + counts.dropped > 0) {
      const text = `${counts.restored} mappings restored, ${counts.dropped} dropped`;
      this.#options.onEvent({ level: "info", kind: "restored", text });
    }
    return counts;
  }

  // ---- packets (base/address-lookup.ts)

  oursToIpref(host: IpAddress, mayCreate: boolean, peer?: IpAddress): Lookup<IprefAddress> {
    return this.#local.ours(host, mayCreate, peer);
  }

  theirsToIpref(encoded: IpAddress): Lookup<IprefAddress> {
    return this.#remote.theirs(encoded);
  }

  iprefToTheirs(remote: IprefAddress, mayCreate: boolean): Lookup<IpAddress> {
    return this.#remote.encodedForPacket(remote, mayCreate);
  }

  iprefToOurs(address: IprefAddress): Lookup<IpAddress> {
    return this.#local.host(address.reference);
  }

  /** A peer (its encoded address) reached one of our hosts by `reference` (spec/mapper.md 3.8). */
  noteContact(host: IpAddress, encoded: IpAddress, reference: Reference): void {
    this.#local.noteContact(host, encoded, reference);
  }

  /** The same look-ups, which create and change nothing and tell `observe` what they found. */
  preview(observe: PreviewObserver): MapperPreview {
    return new MapperPreview(this.#core, this.#sweeper, observe);
  }

  // ---- resolvers and DNS agents

  /** Encoded address for a resolver, MC_GET_EA (spec/mapper.md 2.6). */
  getEncodedAddress(gateway: IpAddress, reference: Reference): Lookup<IpAddress> {
    const key = new RecordKey().set(undefined, gateway, reference);
    const target = new Uint8Array(this.#localBytes);
    const status = this.resolveInto(key.view, KEY_CONTEXT, KEY_REFERENCE, target, 0);
    if (status === RESOLVE_PENDING) return { status: "pending" };
    if (status === RESOLVE_REFUSED) return { status: "refused", reason: this.#lastRefusal };
    const { localVersion } = this.#records.table.shape;
    return { status: "found", value: { version: localVersion, bytes: target } };
  }

  /**
   * The same on bytes, without garbage for known mappings. Gateway and reference are read from
   * `view`; RESOLVE_FOUND fills the address into `target`. RESOLVE_PENDING sets `pendingToken`.
   * Without `mayCreate` a missing mapping is refused.
   */
  resolveInto(
    view: DataView,
    gatewayOffset: number,
    referenceOffset: number,
    target: Uint8Array,
    targetOffset: number,
    mayCreate = true,
  ): number {
    const key = this.#key;
    key.bytes.fill(0, 0, KEY_REFERENCE);
    for (let index = 0; index < this.#contextBytes; index += 4) {
      key.view.setInt32(KEY_CONTEXT + index, view.getInt32(gatewayOffset + index));
    }
    for (let index = 0; index < 16; index += 4) {
      key.view.setInt32(KEY_REFERENCE + index, view.getInt32(referenceOffset + index));
    }
    if (this.#isOwnContext()) return this.#resolveOwn(target, targetOffset);
    const { table } = this.#records;
    const known = table.findRemote(key.view, KEY_CONTEXT, KEY_REFERENCE);
    if (known === 0 && !this.#isResolvable()) return RESOLVE_REFUSED;
    const number = this.#remote.resolve(key, mayCreate);
    if (typeof number !== "number") {
      this.#lastRefusal = number;
      this.#core.refuse(number);
      return RESOLVE_REFUSED;
    }
    if (this.#records.batches[number] !== 0) {
      this.pendingToken = this.#records.batches[number]!;
      return RESOLVE_PENDING;
    }
    const start = table.offsetOf(number) + RECORD_LOCAL;
    for (let index = 0; index < this.#localBytes; index++) {
      target[targetOffset + index] = table.view.getUint8(start + index);
    }
    return RESOLVE_FOUND;
  }

  /** MC_HOST_DATA (spec/mapper.md 2.7); records in the canonical form of source-state.ts. */
  deliver(
    source: string,
    hash: string,
    records: readonly string[],
    connection: number,
  ): DeliveryVerdict {
    const now = this.#options.nowSeconds();
    return this.#sources.deliver(source, hash, records, connection, now);
  }

  /** MC_HOST_DATA_HASH (spec/mapper.md 2.8): true for ACK. */
  confirm(source: string, hash: string, count: number, connection: number): boolean {
    const now = this.#options.nowSeconds();
    return this.#sources.confirm(source, hash, count, connection, now);
  }

  /** A connection of the mapper socket is gone. */
  disconnected(connection: number): void {
    this.#sources.disconnected(connection);
  }

  // ---- hosts file

  /**
   * Makes `records` the ones in force of the hosts file at `path` (spec/mapper.md 5.2, 5.4):
   * repeated ones stay without a gap, missing ones go. Complaints of the installation stage.
   */
  installHosts(path: string, records: readonly HostsRecord[]): Complaint[] {
    const now = this.#options.nowSeconds();
    const owner = this.#owners.ownerOf(path, PRECEDENCE_HOSTS);
    if (owner === undefined) {
      return [{ line: 1, found: path, wanted: "a path of 1 to 255 characters" }];
    }
    const complaints: Complaint[] = [];
    const good = records.filter((record) => {
      const refusal = refusalOf(record, this.#core.config);
      if (refusal !== undefined) complaints.push({ ...placeOf(record), ...refusal });
      return refusal === undefined;
    });
    const wanted = new Set(good.map(publicationKey));
    const gone = this.#publications.keysOf(owner.oid).filter((key) => !wanted.has(key));
    this.#publications.remove(owner.oid, gone, now);
    for (const record of good) {
      const refusal = this.#publications.add(owner.oid, record, now);
      if (refusal !== undefined) complaints.push({ ...placeOf(record), ...refusal });
    }
    return complaints;
  }

  // ---- time and store

  /** One bounded step of expiry, refresh and recovery. Call about once a second. */
  sweep(): void {
    const now = this.#options.nowSeconds();
    this.#sweeper.step(now);
    this.#sources.sweep(now);
    if (now - this.#metaSeconds >= META_INTERVAL_SECONDS) this.#putMeta();
    const { changes } = this.#records;
    if (changes.isWaiting && !changes.isInFlight) this.#options.onChangesWaiting();
  }

  /** All changes since the last call, as one batch to store; undefined when there are none. */
  takeChanges(): Batch | undefined {
    if (!this.#records.changes.isWaiting) return undefined;
    this.#putMeta();
    return this.#records.changes.take();
  }

  /** The batch is in the store for good. */
  committed(token: number): void {
    this.#core.committed(token);
    this.#options.onSettled(token, true);
  }

  /** The store refused the batch; it is as if the batch had not been tried. */
  failed(token: number, reason: string): void {
    this.#core.failed(token);
    const text = `New mappings cannot be stored: ${reason}`;
    this.#options.onEvent({ level: "error", kind: "store-failed", text });
    this.#options.onSettled(token, false);
  }

  /** Token of the batch that holds everything changed so far. */
  get currentToken(): number {
    const { changes } = this.#records;
    return changes.isWaiting ? changes.token : changes.token - 1;
  }

  /** True when everything changed so far is stored. */
  get isAllStored(): boolean {
    const { changes } = this.#records;
    return !changes.isWaiting && !changes.isInFlight;
  }

  // ---- status

  statistics(): MapperStatistics {
    return statisticsOf(this.#core);
  }

  sourceStatus(): SourceStatus[] {
    return this.#sources.status();
  }

  /** Calls `visit` for each mapping, published ones included. */
  forEachMapping(visit: MappingVisitor): void {
    visitMappings(this.#core, visit);
  }

  /** Visits the fitting mappings of a part of the records; see mapping-query.ts. */
  findMappings(
    range: RecordRange,
    query: MappingQuery,
    visit: (mapping: FoundMapping) => void,
  ): number {
    return findMappings(this.#core, range, query, visit);
  }

  /** Counts the mappings of a part of the records; see mapping-query.ts. */
  countMappings(range: Omit<RecordRange, "foundMax">, counts: MappingCounts): number {
    return countMappings(this.#core, range, counts);
  }

  #putMeta(): void {
    const now = this.#options.nowSeconds();
    const { localVersion, tunnelVersion } = this.#records.table.shape;
    this.#metaSeconds = now;
    const value = metaBytes(this.#options.timeBaseMs, now, localVersion, tunnelVersion);
    this.#records.changes.put("meta", META_KEY, value);
  }

  /** True when the key names the own public address. */
  #isOwnContext(): boolean {
    const own = this.#core.config.publicAddress.bytes;
    for (let index = 0; index < own.length; index++) {
      if (own[index] !== this.#key.bytes[KEY_CONTEXT + index]) return false;
    }
    return true;
  }

  /** Own gateway, own hosts, or nothing (spec/mapper.md 2.6, last table). */
  #resolveOwn(target: Uint8Array, targetOffset: number): number {
    this.#lastRefusal = "tunnel-reference-unknown";
    const { config } = this.#core;
    if (!isPacketUnicast(config.publicAddress)) return RESOLVE_REFUSED;
    const reference = this.#key.reference();
    if (reference === config.gatewayReference) {
      target.set(config.ownEncoded.bytes, targetOffset);
      return RESOLVE_FOUND;
    }
    const host = this.#local.host(reference);
    if (host.status !== "found") return RESOLVE_REFUSED;
    target.set(host.value.bytes, targetOffset);
    return RESOLVE_FOUND;
  }

  /** A unicast gateway and a reference other than 0. */
  #isResolvable(): boolean {
    this.#lastRefusal = "tunnel-reference-unknown";
    const { tunnelVersion } = this.#records.table.shape;
    const bytes = this.#key.bytes.slice(KEY_CONTEXT, KEY_CONTEXT + this.#contextBytes);
    if (!isPacketUnicast({ version: tunnelVersion, bytes })) return false;
    return this.#key.reference() !== 0n;
  }
}

function placeOf(record: HostsRecord): { line: number; column: number } {
  return { line: record.line, column: record.column };
}
