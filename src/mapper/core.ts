/**
 * What the parts of the mapper share: records and their life, the batches that packets and clients
 * wait for, counters and events. Durability (spec/mapper.md 3.7, 6.3): a new or revived mapping is
 * hidden until the batch that holds it is stored; then it becomes active, or it is taken back.
 */

import type { DropReason } from "../base/drop-reason.js";
import type { RandomSource } from "../base/random.js";
import {
  FLAG_INACTIVE,
  FLAG_PROVISIONAL,
  KIND_LOCAL,
  KIND_REMOTE,
} from "../tables/address-table.js";
import type { EncodedAddressSpace } from "./allocator.js";
import {
  LIFETIME_SECONDS,
  type MapperConfig,
  type MapperEvent,
  type MapperLimits,
  PROVISIONAL_SECONDS,
  REFRESH_BELOW_SECONDS,
} from "./config.js";
import type { ContextBook } from "./contexts.js";
import type { LocalHosts } from "./local-hosts.js";
import type { Owners } from "./owners.js";
import type { Publications } from "./publications.js";
import type { RecordKey } from "./record-key.js";
import { MAPPER_OID, type RecordBook, STATE_FROM_OUTSIDE, STATE_HIDDEN } from "./records.js";

/** Counters since the start. */
export interface MapperCounters {
  created: number;
  revived: number;
  expired: number;
  recovered: number;
  reclaimed: number;
  refreshed: number;
  /** Batches of changes that the store has, and those that it refused. */
  storeCommits: number;
  storeFailures: number;
  refused: Map<DropReason, number>;
}

/** Parts and state shared inside the mapper. */
export interface MapperParts {
  readonly limits: MapperLimits;
  readonly records: RecordBook;
  readonly hosts: LocalHosts;
  readonly owners: Owners;
  readonly publications: Publications;
  readonly contexts: ContextBook;
  readonly space: EncodedAddressSpace;
  readonly random: RandomSource;
  readonly nowSeconds: () => number;
  readonly onEvent: (event: MapperEvent) => void;
}

/** The life of the mapper's own records. */
export class MapperCore {
  config: MapperConfig;
  readonly parts: MapperParts;
  readonly counters: MapperCounters = {
    created: 0,
    revived: 0,
    expired: 0,
    recovered: 0,
    reclaimed: 0,
    refreshed: 0,
    storeCommits: 0,
    storeFailures: 0,
    refused: new Map(),
  };
  /** Mappings of the mapper, resting ones included. */
  remoteCount = 0;
  localCount = 0;
  readonly #waiting = new Map<number, number[]>();
  /** Mark and flags that a revived record gets back if its batch fails. */
  readonly #before = new Map<number, { mark: number; flags: number }>();

  constructor(config: MapperConfig, parts: MapperParts) {
    this.config = config;
    this.parts = parts;
  }

  /** Most encoded addresses that can be in use at a time. */
  get spaceSize(): number {
    return Math.min(this.parts.space.size, this.parts.records.table.shape.recordsMax);
  }

  /** Makes somebody wait for the present state of a record to be stored. */
  hold(number: number): void {
    const { records } = this.parts;
    const { token } = records.changes;
    records.batches[number] = token;
    const numbers = this.#waiting.get(token);
    if (numbers === undefined) this.#waiting.set(token, [number]);
    else numbers.push(number);
    records.touch(number);
  }

  /** Adds a hidden record of the mapper; 0 when the table is full. */
  create(kind: 1 | 2, key: RecordKey, flags: number, state: number, context: number): number {
    const { records, contexts, nowSeconds } = this.parts;
    const now = nowSeconds();
    const number = records.insert(kind, flags | FLAG_INACTIVE, MAPPER_OID, key, now);
    if (number === 0) return 0;
    records.states[number] = state | STATE_HIDDEN;
    records.marks[number] = now + lifetimeOf(flags);
    records.contexts[number] = context;
    if (kind === KIND_REMOTE) {
      this.remoteCount++;
      contexts.add(context, (state & STATE_FROM_OUTSIDE) !== 0);
    } else this.localCount++;
    this.counters.created++;
    this.hold(number);
    return number;
  }

  /** Gives an expired record a new life with the same value (spec/mapper.md 8, 19). */
  revive(number: number, isProvisional: boolean): void {
    const { records, nowSeconds } = this.parts;
    const flags = records.flags(number);
    this.#before.set(number, { mark: records.marks[number]!, flags });
    records.changeFlags(
      number,
      FLAG_INACTIVE | (isProvisional ? FLAG_PROVISIONAL : 0),
      isProvisional ? 0 : FLAG_PROVISIONAL,
    );
    records.states[number] = records.states[number]! | STATE_HIDDEN;
    records.marks[number] = nowSeconds() + lifetimeOf(isProvisional ? FLAG_PROVISIONAL : 0);
    this.counters.revived++;
    this.hold(number);
  }

  /** Somebody inside uses a provisional record: it gets the full lifetime. */
  confirm(number: number): void {
    const { records, nowSeconds } = this.parts;
    records.changeFlags(number, 0, FLAG_PROVISIONAL);
    records.marks[number] = nowSeconds() + LIFETIME_SECONDS;
    records.touch(number);
  }

  /** Notes the use of an active record; refreshes it when that is due (spec/mapper.md 3.1). */
  use(number: number): void {
    const { records, nowSeconds } = this.parts;
    const now = nowSeconds();
    records.table.stamp(records.table.offsetOf(number), now);
    if (records.owners[number] === MAPPER_OID) this.refresh(number, now, now);
  }

  /** Extends the life of a record that was used at `usedSeconds`, when that is due. */
  refresh(number: number, usedSeconds: number, now: number): void {
    const { records } = this.parts;
    const mark = records.marks[number]!;
    const wanted = usedSeconds + LIFETIME_SECONDS;
    if (mark >= now + REFRESH_BELOW_SECONDS || wanted <= mark) return;
    if ((records.flags(number) & FLAG_PROVISIONAL) !== 0 || records.isDetached(number)) return;
    records.marks[number] = wanted;
    this.counters.refreshed++;
    records.touch(number);
  }

  /** Takes a record of the mapper out of everything; its value is free then. */
  forget(number: number): void {
    const { records, contexts, hosts, publications } = this.parts;
    publications.forgetDetached(number);
    if (records.kind(number) === KIND_LOCAL) {
      this.localCount--;
      hosts.leaving(number);
    } else {
      this.remoteCount--;
      const isFromOutside = (records.states[number]! & STATE_FROM_OUTSIDE) !== 0;
      contexts.remove(records.contexts[number]!, isFromOutside);
    }
    records.remove(number);
  }

  /** The store has a batch: its records are active now. */
  committed(token: number): void {
    const { records, hosts, nowSeconds } = this.parts;
    records.changes.committed(token);
    this.counters.storeCommits++;
    for (const number of this.#take(token)) {
      records.batches[number] = 0;
      if (!records.isHidden(number)) continue;
      this.#before.delete(number);
      records.states[number] = records.states[number]! & ~STATE_HIDDEN;
      records.syncActivity(number, nowSeconds());
      if (records.kind(number) === KIND_LOCAL) hosts.activityChanged(number);
    }
  }

  /** The store refused a batch: what it would have made active is taken back. */
  failed(token: number): void {
    const { records } = this.parts;
    for (const number of this.#take(token)) {
      records.batches[number] = 0;
      if (!records.isHidden(number)) continue;
      const before = this.#before.get(number);
      if (before === undefined) {
        this.forget(number);
        continue;
      }
      this.#before.delete(number);
      records.states[number] = records.states[number]! & ~STATE_HIDDEN;
      records.marks[number] = before.mark;
      const restored = before.flags & FLAG_PROVISIONAL;
      records.changeFlags(number, FLAG_INACTIVE | restored, FLAG_PROVISIONAL ^ restored);
    }
    records.changes.failed(token);
    this.counters.storeFailures++;
  }

  /** Counts a refusal and returns it as a lookup result. */
  refuse(reason: DropReason): { readonly status: "refused"; readonly reason: DropReason } {
    this.counters.refused.set(reason, (this.counters.refused.get(reason) ?? 0) + 1);
    return { status: "refused", reason };
  }

  /** Records that wait for exactly this batch. */
  #take(token: number): number[] {
    const numbers = this.#waiting.get(token) ?? [];
    this.#waiting.delete(token);
    return numbers.filter((number) => this.parts.records.batches[number] === token);
  }
}

function lifetimeOf(flags: number): number {
  return flags & FLAG_PROVISIONAL ? PROVISIONAL_SECONDS : LIFETIME_SECONDS;
}
