/**
 * Several references of one of our hosts (spec/mapper.md 3.8): which one is primary, and which one
 * a peer used. The primary record of a host is the one of the best owner (hosts file over DNS over
 * mapper), then the one with the lowest reference; the others are SECONDARY. Choices of peers are
 * PAIR records in the table; they are not stored.
 */

import { addressKey, type IpAddress } from "../base/ip.js";
import type { Reference } from "../base/reference.js";
import { readReference } from "../base/reference.js";
import {
  FLAG_INACTIVE,
  FLAG_MULTIPLE,
  FLAG_SECONDARY,
  KIND_LOCAL,
  KIND_PAIR,
  RECORD_LOCAL,
  RECORD_REFERENCE,
} from "../tables/address-table.js";
import { LIFETIME_SECONDS } from "./config.js";
import { RecordKey } from "./record-key.js";
import type { RecordBook } from "./records.js";

/** Precedence of an owner id. */
export type Precedence = (oid: number) => number;

/** Hosts with more than one record, and the pairs. */
export class LocalHosts {
  readonly #records: RecordBook;
  readonly #precedence: Precedence;
  readonly #pairsMax: number;
  /** Records of hosts that have two or more, by address. */
  readonly #groups = new Map<string, number[]>();
  readonly #pairs = new Set<number>();
  readonly #key = new RecordKey();

  constructor(records: RecordBook, precedence: Precedence, pairsMax: number) {
    this.#records = records;
    this.#precedence = precedence;
    this.#pairsMax = pairsMax;
  }

  /** Remembered choices. */
  get pairCount(): number {
    return this.#pairs.size;
  }

  /** Primary record of a host, active or not; 0 when it has none. */
  primary(host: IpAddress): number {
    const { table } = this.#records;
    const record = table.findAnyByLocal(this.#key.set(host, undefined, 0n).view, 0);
    return record !== 0 && table.kind(record) === KIND_LOCAL ? table.numberOf(record) : 0;
  }

  /** A new record of `host` was inserted with the flag SECONDARY: makes it part of its host. */
  joined(host: IpAddress, number: number): void {
    const key = addressKey(host);
    const primary = this.primary(host);
    const group = this.#groups.get(key) ?? (primary === 0 ? [] : [primary]);
    group.push(number);
    if (group.length > 1) this.#groups.set(key, group);
    this.#choose(group);
  }

  /** A record is about to be removed: chooses another primary. */
  leaving(number: number): void {
    this.#dropPairsOf(number);
    const key = addressKey(this.hostOf(number));
    const group = this.#groups.get(key);
    if (group === undefined) return;
    const rest = group.filter((other) => other !== number);
    this.#records.changeFlags(number, FLAG_SECONDARY, 0);
    if (rest.length > 1) this.#groups.set(key, rest);
    else this.#groups.delete(key);
    this.#choose(rest);
  }

  /** A record became active or inactive. */
  activityChanged(number: number): void {
    if (this.#records.flags(number) & FLAG_INACTIVE) this.#dropPairsOf(number);
    const group = this.#groups.get(addressKey(this.hostOf(number)));
    if (group !== undefined) this.#choose(group);
  }

  /** The host of a LOCAL record. */
  hostOf(number: number): IpAddress {
    const version = this.#records.table.shape.localVersion;
    const bytes = this.#records.copyBytes(number, RECORD_LOCAL, version === 4 ? 4 : 16);
    return { version, bytes };
  }

  referenceOf(number: number): Reference {
    return readReference(this.#records.copyBytes(number, RECORD_REFERENCE, 16), 0);
  }

  /** The LOCAL record that `peer` last used to reach `host`; 0 when it is not known. */
  choiceOf(host: IpAddress, peer: IpAddress): number {
    const pair = this.#findPair(host, peer);
    if (pair === 0) return 0;
    const number = this.#records.table.hint(this.#records.table.offsetOf(pair));
    return this.#records.flags(number) & FLAG_INACTIVE ? 0 : number;
  }

  /** Remembers that `peer` used the record `number` of `host`. */
  setChoice(host: IpAddress, peer: IpAddress, number: number, nowSeconds: number): void {
    const { table } = this.#records;
    const known = this.#findPair(host, peer);
    if (known !== 0) {
      if (table.hint(table.offsetOf(known)) === number) {
        table.stamp(table.offsetOf(known), nowSeconds);
        return;
      }
      this.#dropPair(known);
    }
    if (this.#pairs.size >= this.#pairsMax) this.#dropOldestPair();
    this.#key.set(host, peer, this.referenceOf(number));
    const fields = { kind: KIND_PAIR, flags: 0, lastUsedSeconds: nowSeconds, hint: number };
    const pair = table.insert({ ...fields, kind: KIND_PAIR }, this.#key.view, 0);
    if (pair !== 0) this.#pairs.add(pair);
  }

  /** Forgets a pair that was not used for a lifetime. */
  sweepPair(number: number, nowSeconds: number): void {
    const { table } = this.#records;
    if (table.lastUsed(table.offsetOf(number)) + LIFETIME_SECONDS < nowSeconds) {
      this.#dropPair(number);
    }
  }

  #findPair(host: IpAddress, peer: IpAddress): number {
    const { table } = this.#records;
    const record = table.findPair(this.#key.set(host, peer, 0n).view, 0, 16);
    return record === 0 ? 0 : table.numberOf(record);
  }

  #dropPair(pair: number): void {
    this.#pairs.delete(pair);
    this.#records.table.remove(pair);
  }

  /** Sets keep their order: the first one was made first. */
  #dropOldestPair(): void {
    for (const pair of this.#pairs) {
      this.#dropPair(pair);
      return;
    }
  }

  #dropPairsOf(number: number): void {
    const { table } = this.#records;
    for (const pair of this.#pairs) {
      if (table.hint(table.offsetOf(pair)) === number) this.#dropPair(pair);
    }
  }

  /** Primary first in sight: demotes all others before the new primary enters the index. */
  #choose(group: readonly number[]): void {
    if (group.length === 0) return;
    const best = group.reduce((a, b) => (this.#isBetter(b, a) ? b : a));
    const active = group.filter((number) => (this.#records.flags(number) & FLAG_INACTIVE) === 0);
    const multiple = active.length > 1 ? FLAG_MULTIPLE : 0;
    for (const number of group) {
      if (number === best) continue;
      this.#records.changeFlags(number, FLAG_SECONDARY | multiple, FLAG_MULTIPLE ^ multiple);
    }
    this.#records.changeFlags(best, multiple, FLAG_SECONDARY | (FLAG_MULTIPLE ^ multiple));
  }

  /** Active before inactive, then by precedence, then the lower reference. */
  #isBetter(a: number, b: number): boolean {
    const inactiveA = this.#records.flags(a) & FLAG_INACTIVE;
    const inactiveB = this.#records.flags(b) & FLAG_INACTIVE;
    if (inactiveA !== inactiveB) return inactiveA === 0;
    const rankA = this.#precedence(this.#records.owners[a]!);
    const rankB = this.#precedence(this.#records.owners[b]!);
    if (rankA !== rankB) return rankA > rankB;
    return this.referenceOf(a) < this.referenceOf(b);
  }
}
