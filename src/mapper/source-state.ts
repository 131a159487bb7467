/**
 * One DNS source: its generation, the records delivered so far, and their stored form
 * (spec/mapper.md 4). Records are kept as 64 canonical bytes in a string of 64 characters.
 *
 *   shelf `source`, key owner id: 0 format version, 1 which half holds the current set (0 or 1),
 *     2 has a generation, 3 zero, 4..11 hash, 12..15 last heard, 16..19 last data,
 *     20..23 and 24..27 chunks of the halves, 28..43 own public address at that time
 *   shelf `seen`, key (2 x owner id + half) x 2^20 + chunk: up to SEEN_PER_CHUNK records
 *
 * The previous generation stays in one half while the new one fills the other.
 */

import type { IpAddress, IpVersion } from "../base/ip.js";
import { readReference } from "../base/reference.js";
import type { PublishedRecord } from "./publication-rules.js";
import { STORE_FORMAT_VERSION, type StoreShelf } from "./store.js";

/** Bytes of one canonical record: encoded address, local address, gateway, reference; 16 each. */
export const SEEN_RECORD_BYTES = 64;
export const SEEN_IP = 16;
export const SEEN_GATEWAY = 32;
export const SEEN_REFERENCE = 48;
const SEEN_PER_CHUNK = 255;
const CHUNKS_PER_HALF = 2 ** 20;
const SOURCE_BYTES = 44;

type Put = (shelf: StoreShelf, key: number, value: Uint8Array | undefined) => void;

/** The state of a source; its user changes it and calls `save` and the set methods. */
export class SourceState {
  readonly oid: number;
  readonly name: string;
  /** Eight bytes as a string of eight characters; undefined before the first generation. */
  hash: string | undefined;
  lastHeardSeconds = 0;
  lastDataSeconds = 0;
  /** When the last HASH came in, and the usual time between two. */
  lastHashSeconds = 0;
  hashIntervalSeconds = 0;
  isStale = false;
  /** The own public address when the generation started, padded to 16 bytes. */
  readonly ownAddress = new Uint8Array(16);
  /** The connection that delivered last; 0 for none. */
  connection = 0;
  /** Records of the current generation, and those that only the previous one has. */
  current = new Set<string>();
  previous = new Set<string>();
  readonly #put: Put;
  #half: 0 | 1 = 0;
  readonly #chunks: [number, number] = [0, 0];

  constructor(oid: number, name: string, put: Put) {
    this.oid = oid;
    this.name = name;
    this.#put = put;
  }

  /** Reads the stored value of the shelf `source`; false when it is of no use. */
  restore(value: Uint8Array): boolean {
    if (value.length !== SOURCE_BYTES || value[0] !== STORE_FORMAT_VERSION) return false;
    const view = new DataView(value.buffer, value.byteOffset, value.length);
    this.#half = value[1] === 1 ? 1 : 0;
    this.hash = value[2] === 1 ? String.fromCharCode(...value.subarray(4, 12)) : undefined;
    this.lastHeardSeconds = view.getUint32(12);
    this.lastDataSeconds = view.getUint32(16);
    this.#chunks[0] = view.getUint32(20);
    this.#chunks[1] = view.getUint32(24);
    this.ownAddress.set(value.subarray(28, 44));
    return true;
  }

  /** Reads a stored chunk; `half` and `chunk` come from its key. */
  restoreChunk(half: number, value: Uint8Array): void {
    const target = half === this.#half ? this.current : this.previous;
    for (let at = 0; at + SEEN_RECORD_BYTES <= value.length; at += SEEN_RECORD_BYTES) {
      target.add(String.fromCharCode(...value.subarray(at, at + SEEN_RECORD_BYTES)));
    }
  }

  /** Starts a new generation: the records so far become previous ones. */
  startGeneration(hash: string): void {
    if (this.previous.size > 0) {
      // An unfinished generation between two: its records join the previous ones.
      const other = this.#half === 0 ? 1 : 0;
      this.#append(other, [...this.current]);
      this.#clearHalf(this.#half);
    } else this.#half = this.#half === 0 ? 1 : 0;
    for (const record of this.current) this.previous.add(record);
    this.current = new Set();
    this.hash = hash;
  }

  /** Adds records that are not in the current generation yet. */
  addRecords(records: readonly string[]): void {
    for (const record of records) this.current.add(record);
    this.#append(this.#half, records);
  }

  /** Forgets the previous generation. */
  retirePrevious(): void {
    this.previous = new Set();
    this.#clearHalf(this.#half === 0 ? 1 : 0);
  }

  /** Forgets everything, so that the next HASH is refused. */
  forget(): void {
    this.#clearHalf(0);
    this.#clearHalf(1);
    this.current = new Set();
    this.previous = new Set();
    this.hash = undefined;
    this.#put("source", this.oid, undefined);
  }

  /** Writes the value of the shelf `source`. */
  save(): void {
    const value = new Uint8Array(SOURCE_BYTES);
    const view = new DataView(value.buffer);
    value[0] = STORE_FORMAT_VERSION;
    value[1] = this.#half;
    value[2] = this.hash === undefined ? 0 : 1;
    for (let index = 0; index < 8; index++) {
      value[4 + index] = this.hash?.charCodeAt(index) ?? 0;
    }
    view.setUint32(12, this.lastHeardSeconds);
    view.setUint32(16, this.lastDataSeconds);
    view.setUint32(20, this.#chunks[0]);
    view.setUint32(24, this.#chunks[1]);
    value.set(this.ownAddress, 28);
    this.#put("source", this.oid, value);
  }

  #append(half: 0 | 1, records: readonly string[]): void {
    for (let start = 0; start < records.length; start += SEEN_PER_CHUNK) {
      const part = records.slice(start, start + SEEN_PER_CHUNK);
      const value = new Uint8Array(SEEN_RECORD_BYTES * part.length);
      for (const [index, record] of part.entries()) {
        for (let at = 0; at < SEEN_RECORD_BYTES; at++) {
          value[SEEN_RECORD_BYTES * index + at] = record.charCodeAt(at);
        }
      }
      this.#put("seen", this.#chunkKey(half, this.#chunks[half]++), value);
    }
  }

  #clearHalf(half: 0 | 1): void {
    for (let chunk = 0; chunk < this.#chunks[half]; chunk++) {
      this.#put("seen", this.#chunkKey(half, chunk), undefined);
    }
    this.#chunks[half] = 0;
  }

  #chunkKey(half: 0 | 1, chunk: number): number {
    return (2 * this.oid + half) * CHUNKS_PER_HALF + chunk;
  }
}

/** Owner id and half of a key of the shelf `seen`. */
export function splitSeenKey(key: number): { oid: number; half: number } {
  const top = Math.floor(key / CHUNKS_PER_HALF);
  return { oid: Math.floor(top / 2), half: top % 2 };
}

/** The published record of canonical bytes; undefined unless it is a local host's. */
export function recordOfSeen(
  seen: string,
  localVersion: IpVersion,
  tunnelVersion: IpVersion,
): PublishedRecord | undefined {
  const bytes = Uint8Array.from(seen, (character) => character.charCodeAt(0));
  const isZero = (from: number, to: number) => bytes.subarray(from, to).every((byte) => byte === 0);
  if (!isZero(0, SEEN_IP) || isZero(SEEN_IP, SEEN_GATEWAY)) return undefined;
  const address: IpAddress = addressAt(bytes, SEEN_IP, localVersion);
  const gateway = addressAt(bytes, SEEN_GATEWAY, tunnelVersion);
  return { kind: "local", address, gateway, reference: readReference(bytes, SEEN_REFERENCE) };
}

function addressAt(bytes: Uint8Array, offset: number, version: IpVersion): IpAddress {
  return { version, bytes: bytes.slice(offset, offset + (version === 4 ? 4 : 16)) };
}
