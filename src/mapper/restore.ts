/**
 * Bringing stored mappings back (spec/mapper.md 6.2): records keep their numbers, so that pages
 * keep their places. Dropped are records that have rested long enough and those that this gateway
 * could not have made (another encode net). Expired ones come back resting: they can be revived,
 * and their values are not given to others before their time.
 */

import type { IpAddress } from "../base/ip.js";
import {
  FLAG_INACTIVE,
  FLAG_PROVISIONAL,
  FLAG_SECONDARY,
  KIND_LOCAL,
  KIND_REMOTE,
} from "../tables/address-table.js";
import { LIFETIME_SECONDS, QUARANTINE_SECONDS } from "./config.js";
import type { MapperCore } from "./core.js";
import { MAPPER_OID, STATE_FROM_OUTSIDE } from "./records.js";
import {
  PAGE_BYTES,
  PAGE_HEADER_BYTES,
  RECORDS_PER_PAGE,
  STORE_FORMAT_VERSION,
  STORED_CONTEXT,
  STORED_FLAGS,
  STORED_FROM_OUTSIDE,
  STORED_KIND,
  STORED_LOCAL,
  STORED_MARK,
  STORED_PROVISIONAL,
  STORED_RECORD_BYTES,
  STORED_REFERENCE,
  type StoredState,
} from "./store.js";

/** What restoring did. */
export interface RestoreCounts {
  restored: number;
  dropped: number;
}

/** Reads all pages into the table. */
export class Restorer {
  readonly #core: MapperCore;
  readonly #page = new Uint8Array(PAGE_BYTES);
  readonly #view = new DataView(this.#page.buffer);
  readonly #counts: RestoreCounts = { restored: 0, dropped: 0 };

  constructor(core: MapperCore) {
    this.#core = core;
  }

  /** Restores the shelf `page`. */
  run(state: StoredState, now: number): RestoreCounts {
    for (const { key, value } of state.entries("page")) {
      if (value.length !== PAGE_BYTES || value[0] !== STORE_FORMAT_VERSION) {
        this.#counts.dropped += RECORDS_PER_PAGE;
        continue;
      }
      this.#page.set(value);
      this.#readPage(key, now);
    }
    return this.#counts;
  }

  #readPage(page: number, now: number): void {
    let isIntact = true;
    for (let index = 0; index < RECORDS_PER_PAGE; index++) {
      const at = PAGE_HEADER_BYTES + index * STORED_RECORD_BYTES;
      const kind = this.#page[at + STORED_KIND]!;
      if (kind === 0) continue;
      const number = this.#readRecord(page * RECORDS_PER_PAGE + index, kind, at, now);
      if (number === 0) this.#counts.dropped++;
      else this.#counts.restored++;
      if (number !== page * RECORDS_PER_PAGE + index) isIntact = false;
    }
    if (!isIntact) this.#core.parts.records.changes.touchPage(page);
  }

  /** Number of the restored record; 0 when it is dropped. */
  #readRecord(wanted: number, kind: number, at: number, now: number): number {
    const mark = this.#view.getUint32(at + STORED_MARK);
    if (mark + QUARANTINE_SECONDS < now) return 0;
    if (kind === KIND_REMOTE) return this.#readRemote(wanted, at, mark, now);
    return kind === KIND_LOCAL ? this.#readLocal(wanted, at, mark, now) : 0;
  }

  #readRemote(wanted: number, at: number, mark: number, now: number): number {
    const { records, contexts, space } = this.#core.parts;
    const { shape } = records.table;
    const length = shape.tunnelVersion === 4 ? 4 : 16;
    // Values are unique in a store: its batches are atomic and pages hold whole records.
    if (!space.isDynamic(this.#page, at + STORED_LOCAL)) return 0;
    const storedFlags = this.#page[at + STORED_FLAGS]!;
    const isProvisional = (storedFlags & STORED_PROVISIONAL) !== 0;
    const isFromOutside = (storedFlags & STORED_FROM_OUTSIDE) !== 0;
    const flags = isProvisional ? FLAG_PROVISIONAL : 0;
    const number = this.#insert(wanted, KIND_REMOTE, flags, at, mark, now);
    if (number === 0) return 0;
    const context = contexts.numberOf(this.#page, at + STORED_CONTEXT, length);
    records.contexts[number] = context;
    records.states[number] = isFromOutside ? STATE_FROM_OUTSIDE : 0;
    contexts.add(context, isFromOutside);
    if (!isProvisional) contexts.setContacted(context);
    this.#core.remoteCount++;
    return number;
  }

  #readLocal(wanted: number, at: number, mark: number, now: number): number {
    const { records, hosts } = this.#core.parts;
    const view = this.#view;
    if (records.table.findAnyLocalByReference(view, at + STORED_REFERENCE) !== 0) return 0;
    const isKnownHost = records.table.findAnyByLocal(view, at + STORED_LOCAL) !== 0;
    const flags = isKnownHost ? FLAG_SECONDARY : 0;
    const number = this.#insert(wanted, KIND_LOCAL, flags, at, mark, now);
    if (number === 0) return 0;
    if (isKnownHost) hosts.joined(this.#address(at), number);
    this.#core.localCount++;
    return number;
  }

  #insert(
    wanted: number,
    kind: typeof KIND_REMOTE | typeof KIND_LOCAL,
    flags: number,
    at: number,
    mark: number,
    now: number,
  ): number {
    const { records } = this.#core.parts;
    const fields = {
      kind,
      flags: flags | (mark < now ? FLAG_INACTIVE : 0),
      lastUsedSeconds: Math.max(0, mark - LIFETIME_SECONDS),
      hint: 0,
    };
    const isInPlace = records.table.insertAt(wanted, fields, this.#view, at + STORED_LOCAL);
    const number = isInPlace ? wanted : records.table.insert(fields, this.#view, at + STORED_LOCAL);
    if (number === 0) return 0;
    records.owners[number] = MAPPER_OID;
    records.marks[number] = mark;
    records.states[number] = 0;
    records.batches[number] = 0;
    if (!isInPlace) records.touch(number);
    return number;
  }

  #address(at: number): IpAddress {
    const version = this.#core.parts.records.table.shape.localVersion;
    const start = at + STORED_LOCAL;
    return { version, bytes: this.#page.slice(start, start + (version === 4 ? 4 : 16)) };
  }
}
