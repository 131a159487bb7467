/**
 * A bounded table keyed by a domain name and a number (a record type, say), looked up straight from
 * the octets of a request: no string and no object is made to find something. The entry used least
 * recently makes room for a new one. Names compare without regard to ASCII case (RFC 4343).
 *
 * Each entry stands in one hash chain and in the list of use:
 *
 *   buckets[hash] → entry → entry        newest ⇄ entry ⇄ … ⇄ oldest
 */

/** Entry object, buckets and key array; measured with Node 20, November 2026. */
const ENTRY_OVERHEAD_BYTES = 200;
const BUCKETS_INITIAL = 256;

const LOWER = Uint8Array.from({ length: 256 }, (_, octet) =>
  octet >= 0x41 && octet <= 0x5a ? octet + 0x20 : octet,
);

interface Entry<Value> {
  readonly hash: number;
  readonly tag: number;
  /** Lower-cased wire octets. */
  readonly name: Uint8Array;
  readonly sizeBytes: number;
  value: Value;
  chain: Entry<Value> | undefined;
  newer: Entry<Value> | undefined;
  older: Entry<Value> | undefined;
}

/** Bounds of a table. */
export interface TableLimits {
  readonly entriesMax: number;
  /** Sum of the sizes given with the values, plus keys and overhead. */
  readonly bytesMax: number;
}

/** Hash of the name at bytes[start, end) with a tag; `seed` keeps outsiders from choosing it. */
export function nameHash(
  bytes: Uint8Array,
  start: number,
  end: number,
  tag: number,
  seed: number,
): number {
  let hash = seed ^ tag;
  for (let index = start; index < end; index++) {
    hash = Math.imul(hash ^ LOWER[bytes[index]!]!, 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  return hash >>> 0;
}

/** See the file header. Values must not be undefined. */
export class NameTable<Value> {
  readonly #limits: TableLimits;
  readonly #seed: number;
  readonly #onEvicted: ((value: Value) => void) | undefined;
  #buckets: (Entry<Value> | undefined)[] = emptyBuckets(BUCKETS_INITIAL);
  #newest: Entry<Value> | undefined;
  #oldest: Entry<Value> | undefined;
  #size = 0;
  #bytes = 0;

  constructor(limits: TableLimits, seed: number, onEvicted?: (value: Value) => void) {
    this.#limits = limits;
    this.#seed = seed;
    this.#onEvicted = onEvicted;
  }

  get size(): number {
    return this.#size;
  }

  /** Octets accounted for. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The value for the name at bytes[start, end); it becomes the newest. */
  find(bytes: Uint8Array, start: number, end: number, tag: number): Value | undefined {
    const hash = nameHash(bytes, start, end, tag, this.#seed);
    let entry = this.#buckets[hash & (this.#buckets.length - 1)];
    for (; entry !== undefined; entry = entry.chain) {
      if (entry.hash === hash && entry.tag === tag && isSame(entry.name, bytes, start, end)) break;
    }
    if (entry === undefined) return undefined;
    if (entry !== this.#newest) {
      this.#unlink(entry);
      this.#link(entry);
    }
    return entry.value;
  }

  /** Stores a value of about `sizeBytes` for the name at bytes[start, end). Copies the name. */
  set(
    bytes: Uint8Array,
    start: number,
    end: number,
    tag: number,
    value: Value,
    sizeBytes: number,
  ): void {
    this.delete(bytes, start, end, tag);
    const name = bytes.slice(start, end);
    for (let index = 0; index < name.length; index++) name[index] = LOWER[name[index]!]!;
    const hash = nameHash(name, 0, name.length, tag, this.#seed);
    const entry: Entry<Value> = {
      hash,
      tag,
      name,
      sizeBytes: sizeBytes + name.length + ENTRY_OVERHEAD_BYTES,
      value,
      chain: undefined,
      newer: undefined,
      older: undefined,
    };
    if (this.#size >= this.#buckets.length) this.#grow();
    this.#insert(entry);
    this.#link(entry);
    this.#size++;
    this.#bytes += entry.sizeBytes;
    this.#evict(entry);
  }

  /** Removes an entry; true when there was one. */
  delete(bytes: Uint8Array, start: number, end: number, tag: number): boolean {
    const hash = nameHash(bytes, start, end, tag, this.#seed);
    let entry = this.#buckets[hash & (this.#buckets.length - 1)];
    for (; entry !== undefined; entry = entry.chain) {
      if (entry.hash === hash && entry.tag === tag && isSame(entry.name, bytes, start, end)) break;
    }
    if (entry === undefined) return false;
    this.#remove(entry);
    return true;
  }

  clear(): void {
    this.#buckets = emptyBuckets(BUCKETS_INITIAL);
    this.#newest = undefined;
    this.#oldest = undefined;
    this.#size = 0;
    this.#bytes = 0;
  }

  #evict(keep: Entry<Value>): void {
    const { entriesMax, bytesMax } = this.#limits;
    while (this.#size > entriesMax || this.#bytes > bytesMax) {
      const oldest = this.#oldest!;
      this.#remove(oldest);
      this.#onEvicted?.(oldest.value);
      if (oldest === keep) return;
    }
  }

  #remove(entry: Entry<Value>): void {
    const slot = entry.hash & (this.#buckets.length - 1);
    const first = this.#buckets[slot]!;
    if (first === entry) this.#buckets[slot] = entry.chain;
    else {
      let before = first;
      while (before.chain !== entry) before = before.chain!;
      before.chain = entry.chain;
    }
    this.#unlink(entry);
    this.#size--;
    this.#bytes -= entry.sizeBytes;
  }

  #insert(entry: Entry<Value>): void {
    const slot = entry.hash & (this.#buckets.length - 1);
    entry.chain = this.#buckets[slot];
    this.#buckets[slot] = entry;
  }

  #grow(): void {
    this.#buckets = emptyBuckets(2 * this.#buckets.length);
    for (let entry = this.#newest; entry !== undefined; entry = entry.older) this.#insert(entry);
  }

  #link(entry: Entry<Value>): void {
    entry.older = this.#newest;
    entry.newer = undefined;
    if (this.#newest !== undefined) this.#newest.newer = entry;
    else this.#oldest = entry;
    this.#newest = entry;
  }

  #unlink(entry: Entry<Value>): void {
    if (entry.newer === undefined) this.#newest = entry.older;
    else entry.newer.older = entry.older;
    if (entry.older === undefined) this.#oldest = entry.newer;
    else entry.older.newer = entry.newer;
  }
}

function emptyBuckets<Value>(count: number): (Entry<Value> | undefined)[] {
  return new Array<Entry<Value> | undefined>(count).fill(undefined);
}

function isSame(name: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let index = 0; index < name.length; index++) {
    if (name[index] !== LOWER[bytes[start + index]!]) return false;
  }
  return true;
}
