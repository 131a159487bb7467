/**
 * The records of the mapper: the shared table plus what only the mapper knows about each record
 * (mark, owner, context, state), in arrays by record number. Writes pages for the store. A record
 * of the mapper is in one of these states:
 *
 *   hidden    made or revived, not stored yet: INACTIVE in the table
 *   active    mark not reached
 *   resting   mark passed (spec/mapper.md 3.7): INACTIVE in the table, its value still taken
 */

import { assert } from "../base/assert.js";
import {
  FLAG_DETACHED,
  FLAG_INACTIVE,
  FLAG_PROVISIONAL,
  KIND_LOCAL,
  KIND_REMOTE,
  RECORD_LOCAL,
} from "../tables/address-table.js";
import type { AddressTableWriter } from "../tables/address-table-writer.js";
import { ChangeLog } from "./change-log.js";
import { KEY_BYTES, type RecordKey } from "./record-key.js";
import {
  PAGE_BYTES,
  PAGE_HEADER_BYTES,
  RECORDS_PER_PAGE,
  STORE_FORMAT_VERSION,
  STORED_FLAGS,
  STORED_FROM_OUTSIDE,
  STORED_KIND,
  STORED_LOCAL,
  STORED_MARK,
  STORED_PROVISIONAL,
  STORED_RECORD_BYTES,
} from "./store.js";

/** Owner id of the mapper itself (spec/mapper.md 1). */
export const MAPPER_OID = 1;

/** State bits of a record. */
export const STATE_HIDDEN = 1;
export const STATE_FROM_OUTSIDE = 2;

/** Records and their side data; record numbers throughout. */
export class RecordBook {
  readonly table: AddressTableWriter;
  readonly changes: ChangeLog;
  /** Expiry of mapper records, mapper seconds. */
  readonly marks: Uint32Array;
  /** Owner ids; 0 in free records. */
  readonly owners: Uint16Array;
  readonly states: Uint8Array;
  /** Token of the batch that holds the newest change somebody waits for; 0 for none. */
  readonly batches: Uint32Array;
  /** Context number (contexts.ts) of remote records. */
  readonly contexts: Uint32Array;
  readonly #tableBytes: Uint8Array;

  constructor(table: AddressTableWriter, onChanges: () => void) {
    const length = table.shape.recordsMax + 1;
    this.table = table;
    this.marks = new Uint32Array(length);
    this.owners = new Uint16Array(length);
    this.states = new Uint8Array(length);
    this.batches = new Uint32Array(length);
    this.contexts = new Uint32Array(length);
    this.#tableBytes = new Uint8Array(table.view.buffer);
    this.changes = new ChangeLog((page) => this.#buildPage(page), onChanges);
  }

  /** Adds a record; 0 when the table is full. */
  insert(
    kind: typeof KIND_REMOTE | typeof KIND_LOCAL,
    flags: number,
    oid: number,
    key: RecordKey,
    nowSeconds: number,
  ): number {
    const fields = { kind, flags, lastUsedSeconds: nowSeconds, hint: 0 };
    const number = this.table.insert(fields, key.view, 0);
    if (number === 0) return 0;
    this.owners[number] = oid;
    this.marks[number] = nowSeconds;
    this.states[number] = 0;
    this.batches[number] = 0;
    return number;
  }

  /** Takes a record out; its page changes if it was the mapper's. */
  remove(number: number): void {
    assert(this.owners[number] !== 0, "a record is removed once");
    if (this.owners[number] === MAPPER_OID) this.touch(number);
    this.table.remove(number);
    this.owners[number] = 0;
    this.states[number] = 0;
    this.batches[number] = 0;
  }

  /** The stored form of a mapper record has changed. */
  touch(number: number): void {
    this.changes.touchPage(Math.floor(number / RECORDS_PER_PAGE));
  }

  kind(number: number): number {
    return this.table.kind(this.table.offsetOf(number));
  }

  flags(number: number): number {
    return this.table.flags(this.table.offsetOf(number));
  }

  /** Sets and clears flags. */
  changeFlags(number: number, set: number, clear: number): void {
    this.table.setFlags(number, (this.flags(number) & ~clear) | set);
  }

  isHidden(number: number): boolean {
    return (this.states[number]! & STATE_HIDDEN) !== 0;
  }

  /** Stored, and either published or not expired. */
  isActive(number: number, nowSeconds: number): boolean {
    if (this.isHidden(number)) return false;
    return this.owners[number] !== MAPPER_OID || this.marks[number]! >= nowSeconds;
  }

  /** Expired and owned by the mapper. */
  isResting(number: number, nowSeconds: number): boolean {
    return (
      this.owners[number] === MAPPER_OID &&
      !this.isHidden(number) &&
      this.marks[number]! < nowSeconds
    );
  }

  /** Copies the key of a record. */
  readKeyInto(number: number, key: RecordKey): void {
    const start = this.table.offsetOf(number) + RECORD_LOCAL;
    key.bytes.set(this.#tableBytes.subarray(start, start + KEY_BYTES));
  }

  /** Bytes of the local address, context or reference of a record, copied. */
  copyBytes(number: number, recordOffset: number, length: number): Uint8Array {
    const start = this.table.offsetOf(number) + recordOffset;
    return this.#tableBytes.slice(start, start + length);
  }

  #buildPage(page: number): Uint8Array | undefined {
    const bytes = new Uint8Array(PAGE_BYTES);
    const view = new DataView(bytes.buffer);
    bytes[0] = STORE_FORMAT_VERSION;
    let isEmpty = true;
    for (let index = 0; index < RECORDS_PER_PAGE; index++) {
      const number = page * RECORDS_PER_PAGE + index;
      if (this.owners[number] !== MAPPER_OID) continue;
      isEmpty = false;
      this.#writeStored(number, bytes, view, PAGE_HEADER_BYTES + index * STORED_RECORD_BYTES);
    }
    return isEmpty ? undefined : bytes;
  }

  #writeStored(number: number, bytes: Uint8Array, view: DataView, at: number): void {
    const record = this.table.offsetOf(number);
    const isProvisional = (this.table.flags(record) & FLAG_PROVISIONAL) !== 0;
    const isFromOutside = (this.states[number]! & STATE_FROM_OUTSIDE) !== 0;
    bytes[at + STORED_KIND] = this.table.kind(record);
    bytes[at + STORED_FLAGS] =
      (isProvisional ? STORED_PROVISIONAL : 0) | (isFromOutside ? STORED_FROM_OUTSIDE : 0);
    view.setUint32(at + STORED_MARK, this.marks[number]!);
    const start = record + RECORD_LOCAL;
    bytes.set(this.#tableBytes.subarray(start, start + KEY_BYTES), at + STORED_LOCAL);
  }

  /** Table flags that keep a record out of the readers' sight, as its state demands. */
  syncActivity(number: number, nowSeconds: number): void {
    const isActive = this.isActive(number, nowSeconds);
    this.changeFlags(number, isActive ? 0 : FLAG_INACTIVE, isActive ? FLAG_INACTIVE : 0);
  }

  /** True for a remote record that another record has replaced for incoming packets. */
  isDetached(number: number): boolean {
    return (this.flags(number) & FLAG_DETACHED) !== 0;
  }
}

/** True for kinds that have a mark and an owner. */
export function isMapping(kind: number): boolean {
  return kind === KIND_REMOTE || kind === KIND_LOCAL;
}
