/**
 * Time passing over the records (spec/mapper.md 3.1, 3.7): a walk in small steps that refreshes
 * used records, hides expired ones and frees those that have rested long enough; and, when values
 * run out, the search for the records that expired longest ago (3.6).
 */

import { FLAG_INACTIVE, KIND_LOCAL, KIND_PAIR, KIND_REMOTE } from "../tables/address-table.js";
import { QUARANTINE_SECONDS } from "./config.js";
import type { MapperCore } from "./core.js";
import { MAPPER_OID } from "./records.js";

/** Bounds the work of one step. */
const VISITS_MAX = 65_536;
const VISITS_MIN = 1024;
/** One pass over all records in this many steps: the tick of spec/mapper.md 3.1. */
const STEPS_PER_PASS = 16;
/** Candidates kept by the search for reclaimable records, and its shortest interval. */
const CANDIDATES_MAX = 4096;
const SEARCH_INTERVAL_SECONDS = 10;

/** Walks over the records; one object per mapper. */
export class Sweeper {
  readonly #core: MapperCore;
  #cursor = 1;
  #candidates: number[] = [];
  #searchedSeconds = Number.NEGATIVE_INFINITY;

  constructor(core: MapperCore) {
    this.#core = core;
  }

  /** One step, at most VISITS_MAX records. Call about once a second. */
  step(now: number): void {
    const { highest } = this.#core.parts.records.table;
    const share = Math.ceil(highest / STEPS_PER_PASS);
    const visits = Math.min(highest, VISITS_MAX, Math.max(VISITS_MIN, share));
    for (let count = 0; count < visits; count++) {
      if (this.#cursor > highest) this.#cursor = 1;
      this.#visit(this.#cursor++, now);
    }
  }

  /** Frees the value of the record that expired longest ago, in `context` unless that is 0. */
  reclaim(kind: number, context: number, now: number): boolean {
    if (this.#isSearchDue(now)) this.#search(now);
    const fits = this.#reclaimable(kind, context, now);
    const place = this.#candidates.findIndex(fits);
    if (place < 0) return false;
    const [number] = this.#candidates.splice(place, 1);
    this.#core.forget(number!);
    this.#core.counters.reclaimed++;
    return true;
  }

  /** True when there is a value that `reclaim` could free; changes nothing. */
  mayReclaim(kind: number, context: number, now: number): boolean {
    const fits = this.#reclaimable(kind, context, now);
    if (!this.#isSearchDue(now)) return this.#candidates.some(fits);
    const { highest } = this.#core.parts.records.table;
    for (let number = 1; number <= highest; number++) {
      if (fits(number)) return true;
    }
    return false;
  }

  #isSearchDue(now: number): boolean {
    return now - this.#searchedSeconds >= SEARCH_INTERVAL_SECONDS;
  }

  /** Tells of each record whether its value could be used again. */
  #reclaimable(kind: number, context: number, now: number): (number: number) => boolean {
    const { records } = this.#core.parts;
    return (number) =>
      records.isResting(number, now) &&
      records.kind(number) === kind &&
      records.batches[number] === 0 &&
      (context === 0 || records.contexts[number] === context);
  }

  #visit(number: number, now: number): void {
    const { records, hosts } = this.#core.parts;
    const owner = records.owners[number]!;
    if (owner === 0 && hosts.pairCount > 0 && records.kind(number) === KIND_PAIR) {
      hosts.sweepPair(number, now);
    }
    if (owner !== MAPPER_OID || records.isHidden(number)) return;
    const flags = records.flags(number);
    if ((flags & FLAG_INACTIVE) === 0) {
      const record = records.table.offsetOf(number);
      this.#core.refresh(number, Math.min(now, records.table.lastUsed(record)), now);
    }
    if (records.marks[number]! >= now) return;
    if ((flags & FLAG_INACTIVE) === 0) {
      records.changeFlags(number, FLAG_INACTIVE, 0);
      if (records.kind(number) === KIND_LOCAL) hosts.activityChanged(number);
      this.#core.counters.expired++;
      return;
    }
    if (records.marks[number]! + QUARANTINE_SECONDS >= now || records.batches[number] !== 0) return;
    this.#core.forget(number);
    this.#core.counters.recovered++;
  }

  /** Collects the records that expired longest ago, oldest first. */
  #search(now: number): void {
    const { records } = this.#core.parts;
    this.#searchedSeconds = now;
    let found: number[] = [];
    let newest = now;
    const prune = () => {
      found.sort((a, b) => records.marks[a]! - records.marks[b]!);
      found = found.slice(0, CANDIDATES_MAX);
      if (found.length === CANDIDATES_MAX) newest = records.marks[found.at(-1)!]!;
    };
    for (let number = 1; number <= records.table.highest; number++) {
      if (records.marks[number]! >= newest || !records.isResting(number, now)) continue;
      const kind = records.kind(number);
      if (kind !== KIND_REMOTE && kind !== KIND_LOCAL) continue;
      found.push(number);
      if (found.length >= 2 * CANDIDATES_MAX) prune();
    }
    prune();
    this.#candidates = found;
  }
}
