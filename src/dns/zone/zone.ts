/**
 * A loaded zone as a tree of names, in a map by key. Built once, never changed; a reload makes a
 * new one. Every node knows the delegation and the DNAME above it, so that a look-up of an existing
 * name is one access to the map (spec/resolver.md 3.3).
 */

import { compareNames, type Name, parentKey } from "../../wire/dns/name.js";
import { TYPE_CNAME, TYPE_DNAME, TYPE_NS, TYPE_SOA } from "../../wire/dns/numbers.js";
import type { ResourceRecord } from "../../wire/dns/record.js";
import type { Answer } from "../answer.js";
import { soaMinimum, soaSerial } from "./serial.js";
import type { ZoneVersion } from "./source.js";

/** Records of one owner and type. */
export interface RecordSet {
  readonly type: number;
  readonly records: readonly ResourceRecord[];
  /** The complete positive answer for owner and type, made at first use. */
  answer: Answer | undefined;
}

/** A name of the zone; without sets an empty non-terminal. */
export interface ZoneNode {
  readonly name: Name;
  readonly sets: Map<number, RecordSet>;
  /** The delegation at or above this name, below the apex. */
  cut: ZoneNode | undefined;
  /** The nearest DNAME above this name, not at it. */
  dname: ZoneNode | undefined;
}

export class Zone implements ZoneVersion {
  readonly origin: Name;
  readonly soa: ResourceRecord;
  readonly serial: number;
  /** The SOA as it stands in negative answers: TTL min(TTL, minimum) (RFC 2308 3). */
  readonly negativeSoa: ResourceRecord;
  readonly recordCount: number;
  readonly #nodes = new Map<string, ZoneNode>();

  /** `records` have passed the checks of zone-checks.ts; they lie within `origin`. */
  constructor(origin: Name, records: readonly ResourceRecord[]) {
    this.origin = origin;
    this.#ensureNode(origin);
    for (const record of records) this.#add(record);
    this.soa = this.apex.sets.get(TYPE_SOA)!.records[0]!;
    this.serial = soaSerial(this.soa);
    const ttlSeconds = Math.min(this.soa.ttlSeconds, soaMinimum(this.soa));
    this.negativeSoa = { ...this.soa, ttlSeconds };
    this.recordCount = records.length;
    this.#link();
  }

  get apex(): ZoneNode {
    return this.#nodes.get(this.origin.key)!;
  }

  /** The node of a name, empty non-terminals included. */
  node(key: string): ZoneNode | undefined {
    return this.#nodes.get(key);
  }

  /** The longest existing ancestor of a name that does not exist (RFC 4592 3.3.1). */
  closestEncloser(key: string): ZoneNode {
    for (let at = parentKey(key); at !== undefined; at = parentKey(at)) {
      const node = this.#nodes.get(at);
      if (node !== undefined) return node;
    }
    return this.apex;
  }

  /** SOA, apex NS, all others in canonical order (spec/resolver.md 3.5). */
  *transferRecords(): Iterable<ResourceRecord> {
    yield this.soa;
    yield* this.apex.sets.get(TYPE_NS)?.records ?? [];
    const nodes = [...this.#nodes.values()].filter((node) => node.sets.size > 0);
    for (const node of nodes.sort((a, b) => compareNames(a.name, b.name))) {
      for (const set of [...node.sets.values()].sort((a, b) => a.type - b.type)) {
        const isFirst = set.type === TYPE_SOA || (node === this.apex && set.type === TYPE_NS);
        if (!isFirst) yield* set.records;
      }
    }
  }

  #add(record: ResourceRecord): void {
    const { sets } = this.#ensureNode(record.owner);
    const set = sets.get(record.type);
    if (set !== undefined) (set.records as ResourceRecord[]).push(record);
    else sets.set(record.type, { type: record.type, records: [record], answer: undefined });
  }

  /** The node of a name and of all names between it and the apex. */
  #ensureNode(name: Name): ZoneNode {
    let node = this.#nodes.get(name.key);
    if (node !== undefined) return node;
    node = { name, sets: new Map(), cut: undefined, dname: undefined };
    this.#nodes.set(name.key, node);
    if (!name.equals(this.origin)) this.#ensureNode(name.parent()!);
    return node;
  }

  /** Enters cuts and DNAMEs, parents before children. */
  #link(): void {
    const nodes = [...this.#nodes.values()];
    for (const node of nodes.sort((a, b) => a.name.wire.length - b.name.wire.length)) {
      if (node === this.apex) continue;
      const parent = this.#nodes.get(parentKey(node.name.key)!)!;
      node.cut = parent.cut ?? (node.sets.has(TYPE_NS) ? node : undefined);
      node.dname = parent.sets.has(TYPE_DNAME) ? parent : parent.dname;
    }
  }
}

/** The set that stands for others: a CNAME unless CNAME itself is asked for. */
export function aliasOf(node: ZoneNode, type: number): RecordSet | undefined {
  return type === TYPE_CNAME ? undefined : node.sets.get(TYPE_CNAME);
}
