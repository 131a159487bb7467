/**
 * Finds the flight for a question. Entries come and go tens of thousands of times a second, which a
 * Map answers with a chain of discarded tables that keep each other alive until the next full
 * collection; here the entries are linked in fixed buckets (Node 20, November 2026: half of all
 * allocated memory survived with a Map, none does now).
 */

import type { UpstreamQuestion } from "../ports.js";
import { questionFlags } from "./question.js";

/** Four times the questions in flight of a group; more only make the chains longer. */
const BUCKETS = 4096;

/** What the table knows about an entry. */
export interface FlightKey {
  /** Lower-cased octets of the name. */
  readonly nameKey: string;
  readonly type: number;
  /** Header flags of the question, with DO in the unused lowest bit. */
  readonly flags: number;
  readonly hash: number;
}

/** The key of a question; questions with equal keys ask the same. */
export function flightKeyOf(question: UpstreamQuestion): FlightKey {
  const { type, isDnssecOk } = question;
  const nameKey = question.name.key;
  const flags = questionFlags(question) | (isDnssecOk ? 1 : 0);
  // FNV-1a; forged questions can at worst lengthen chains of at most 1,024 entries.
  let hash = (0x811c9dc5 ^ type) | 0;
  for (let at = 0; at < nameKey.length; at++) {
    hash = Math.imul(hash ^ nameKey.charCodeAt(at), 0x01000193);
  }
  return { nameKey, type, flags, hash: (hash ^ (hash >>> 15)) >>> 0 };
}

/** An entry of a table; in at most one. */
export interface FlightEntry {
  readonly key: FlightKey;
  nextInBucket: FlightEntry | undefined;
}

/** Entries by key. */
export class FlightTable<Entry extends FlightEntry> {
  readonly #buckets: (FlightEntry | undefined)[] = new Array<undefined>(BUCKETS).fill(undefined);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: FlightKey): Entry | undefined {
    let entry = this.#buckets[key.hash % BUCKETS];
    while (entry !== undefined && !isSame(entry.key, key)) entry = entry.nextInBucket;
    return entry as Entry | undefined;
  }

  /** Adds an entry whose key is not in the table. */
  add(entry: Entry): void {
    const bucket = entry.key.hash % BUCKETS;
    entry.nextInBucket = this.#buckets[bucket];
    this.#buckets[bucket] = entry;
    this.#size++;
  }

  /** Takes an entry out; it must be in. */
  delete(entry: Entry): void {
    const bucket = entry.key.hash % BUCKETS;
    let before: FlightEntry | undefined;
    let found = this.#buckets[bucket];
    while (found !== undefined && found !== entry) {
      before = found;
      found = found.nextInBucket;
    }
    if (found === undefined) return;
    if (before === undefined) this.#buckets[bucket] = entry.nextInBucket;
    else before.nextInBucket = entry.nextInBucket;
    entry.nextInBucket = undefined;
    this.#size--;
  }

  /** All entries, as a copy. */
  values(): Entry[] {
    const entries: Entry[] = [];
    for (let entry of this.#buckets) {
      for (; entry !== undefined; entry = entry.nextInBucket) entries.push(entry as Entry);
    }
    return entries;
  }
}

function isSame(a: FlightKey, b: FlightKey): boolean {
  return a.hash === b.hash && a.type === b.type && a.flags === b.flags && a.nameKey === b.nameKey;
}
