/**
 * Remote gateways in shared memory: port, size limit and time stamps, for the forwarding workers.
 *
 * Writer: the main thread alone; workers only stamp the two times. Entry, 64 bytes, little-endian:
 *
 *   0 sequence (odd while written)   4 flags            8 last received (s)   12 last sent (s)
 *  16 port                          20 M (octets)      24 unused             32 address (16)
 *
 * An entry is written between two increments of its sequence. A reader takes the sequence, reads,
 * and compares: a change means "not found", and the packet goes the slow path. Entry 0 is unused.
 *
 * Behind the entries lies an index by address: 32-bit slots with entry numbers (0 free), open
 * addressing, linear probing. An entry is indexed after it was written and leaves the index before
 * it is freed. A reader may miss an entry while its slot is being moved, and may find a number
 * whose entry has just become another gateway's: it always compares the address as well.
 */

import { assert } from "../base/assert.js";
import type { IpAddress, IpVersion } from "../base/ip.js";
import {
  PEER_ADDRESS,
  PEER_BYTES,
  PEER_FLAGS,
  PEER_IN_USE,
  PEER_LAST_RECEIVED,
  PEER_LAST_SENT,
  PEER_PACKET_BYTES_MAX,
  PEER_PORT,
  PEER_SETTLED,
  PEER_VERIFIED,
} from "./peer-record.js";

export * from "./peer-record.js";

/** Four slots for each entry keep chains short: about 1.2 probes for a hit in a full table. */
const SLOTS_PER_ENTRY = 4;

function slotCount(peersMax: number): number {
  return 2 ** Math.ceil(Math.log2(SLOTS_PER_ENTRY * (peersMax + 1)));
}

/** Octets of a table for `peersMax` entries. */
export function peerTableBytes(peersMax: number): number {
  return (peersMax + 1) * PEER_BYTES + 4 * slotCount(peersMax);
}

/** Read access to single fields; addresses of entries are byte offsets into the memory. */
export class PeerTableReader {
  /** Port found by the last successful `read`. */
  foundPort = 0;
  /** M found by the last successful `read`: largest tunnel packet in octets. */
  foundBytesMax = 0;
  protected readonly words: Int32Array;
  protected readonly bytes: Uint8Array;
  readonly peersMax: number;
  readonly baseOffset: number;
  /** The index: words from `slotsWord` on, one more than `slotMask`. */
  readonly slotsWord: number;
  readonly slotMask: number;

  constructor(memory: ArrayBufferLike, baseOffset: number, peersMax: number) {
    assert(baseOffset % 8 === 0, "the peer table is aligned to 8 octets");
    this.words = new Int32Array(memory);
    this.bytes = new Uint8Array(memory);
    this.baseOffset = baseOffset;
    this.peersMax = peersMax;
    this.slotsWord = (baseOffset + (peersMax + 1) * PEER_BYTES) >> 2;
    this.slotMask = slotCount(peersMax) - 1;
  }

  /**
   * Reads port and M of an entry into `foundPort` and `foundBytesMax`, provided that it has all
   * the flags in `flags` and the address of `addressWords` (1 or 4) words at word `addressWord` of
   * the memory. Any number is allowed, so that callers can try a hint.
   */
  read(entry: number, flags: number, addressWord: number, addressWords: number): boolean {
    if (entry < 1 || entry > this.peersMax) return false;
    const { words } = this;
    const word = this.offsetOf(entry) >> 2;
    const sequence = Atomics.load(words, word);
    if ((sequence & 1) !== 0) return false;
    if ((Atomics.load(words, word + (PEER_FLAGS >> 2)) & flags) !== flags) return false;
    if (!this.hasAddress(entry, addressWord, addressWords)) return false;
    this.foundPort = Atomics.load(words, word + (PEER_PORT >> 2));
    this.foundBytesMax = Atomics.load(words, word + (PEER_PACKET_BYTES_MAX >> 2));
    return Atomics.load(words, word) === sequence;
  }

  /** Entry with the address of `addressWords` words at word `addressWord` of the memory, or 0. */
  findAt(addressWord: number, addressWords: number): number {
    const { words, slotMask } = this;
    let slot = hashOf(words, addressWord, addressWords) & slotMask;
    for (let probes = 0; probes <= slotMask; probes++) {
      const entry = Atomics.load(words, this.slotsWord + slot);
      if (entry === 0) return 0;
      if (this.hasAddress(entry, addressWord, addressWords)) return entry;
      slot = (slot + 1) & slotMask;
    }
    return 0;
  }

  protected hasAddress(entry: number, addressWord: number, addressWords: number): boolean {
    const { words } = this;
    const own = (this.offsetOf(entry) + PEER_ADDRESS) >> 2;
    for (let word = 0; word < addressWords; word++) {
      if (Atomics.load(words, own + word) !== words[addressWord + word]) return false;
    }
    return true;
  }

  /** Byte offset of an entry in the memory. */
  offsetOf(entry: number): number {
    return this.baseOffset + entry * PEER_BYTES;
  }

  /** Sequence of an entry; an odd one means that it is being written. */
  sequence(entry: number): number {
    return Atomics.load(this.words, this.offsetOf(entry) >> 2);
  }

  protected word(entry: number, field: number): number {
    return this.words[(this.offsetOf(entry) + field) >> 2]!;
  }

  flags(entry: number): number {
    return this.word(entry, PEER_FLAGS);
  }

  port(entry: number): number {
    return this.word(entry, PEER_PORT);
  }

  /** M: largest tunnel packet in octets. */
  packetBytesMax(entry: number): number {
    return this.word(entry, PEER_PACKET_BYTES_MAX);
  }

  lastReceivedSeconds(entry: number): number {
    return this.word(entry, PEER_LAST_RECEIVED);
  }

  lastSentSeconds(entry: number): number {
    return this.word(entry, PEER_LAST_SENT);
  }

  /** Workers and the main thread: a packet came; a racy store is good enough. */
  stampReceived(entry: number, nowSeconds: number): void {
    this.words[(this.offsetOf(entry) + PEER_LAST_RECEIVED) >> 2] = nowSeconds;
  }

  /** Workers and the main thread: a packet was sent. */
  stampSent(entry: number, nowSeconds: number): void {
    this.words[(this.offsetOf(entry) + PEER_LAST_SENT) >> 2] = nowSeconds;
  }

  /** Address of an entry, copied. */
  address(entry: number, version: IpVersion): IpAddress {
    const offset = this.offsetOf(entry) + PEER_ADDRESS;
    return { version, bytes: this.bytes.slice(offset, offset + (version === 4 ? 4 : 16)) };
  }
}

function hashOf(words: Int32Array, addressWord: number, addressWords: number): number {
  let hash = 0x2c1b3c6d;
  for (let word = 0; word < addressWords; word++) {
    hash = Math.imul(hash ^ words[addressWord + word]!, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** The table's only writer. */
export class PeerTableWriter extends PeerTableReader {
  readonly #free: number[] = [];
  /** Words of the address of each entry in use: 1 or 4. */
  readonly #addressWords = new Map<number, number>();

  constructor(memory: ArrayBufferLike, baseOffset: number, peersMax: number) {
    super(memory, baseOffset, peersMax);
    for (let entry = peersMax; entry >= 1; entry--) this.#free.push(entry);
  }

  hasRoom(): boolean {
    return this.#free.length > 0;
  }

  /** A new entry for an address, unverified and unsettled; 0 when the table is full. */
  insert(address: IpAddress): number {
    const entry = this.#free.pop();
    if (entry === undefined) return 0;
    const offset = this.offsetOf(entry);
    this.#write(entry, () => {
      this.bytes.fill(0, offset + PEER_FLAGS, offset + PEER_BYTES);
      this.bytes.set(address.bytes, offset + PEER_ADDRESS);
      this.#set(entry, PEER_FLAGS, PEER_IN_USE);
    });
    this.#addressWords.set(entry, address.bytes.length / 4);
    this.#index(entry);
    return entry;
  }

  /** Frees an entry. */
  remove(entry: number): void {
    this.#unindex(entry);
    this.#addressWords.delete(entry);
    this.#write(entry, () => this.#set(entry, PEER_FLAGS, 0));
    this.#free.push(entry);
  }

  setPort(entry: number, port: number): void {
    this.#write(entry, () => this.#set(entry, PEER_PORT, port));
  }

  setPacketBytesMax(entry: number, bytesMax: number): void {
    this.#write(entry, () => this.#set(entry, PEER_PACKET_BYTES_MAX, bytesMax));
  }

  setVerified(entry: number, isVerified: boolean): void {
    this.#setFlag(entry, PEER_VERIFIED, isVerified);
  }

  setSettled(entry: number, isSettled: boolean): void {
    this.#setFlag(entry, PEER_SETTLED, isSettled);
  }

  /** The entry whose last packet in either direction is the oldest; 0 when there is none. */
  leastRecentlyUsed(): number {
    let oldest = 0;
    let oldestSeconds = Number.POSITIVE_INFINITY;
    for (let entry = 1; entry <= this.peersMax; entry++) {
      if ((this.flags(entry) & PEER_IN_USE) === 0) continue;
      const used = Math.max(this.lastReceivedSeconds(entry), this.lastSentSeconds(entry));
      if (used >= oldestSeconds) continue;
      oldest = entry;
      oldestSeconds = used;
    }
    return oldest;
  }

  #homeSlot(entry: number): number {
    const addressWord = (this.offsetOf(entry) + PEER_ADDRESS) >> 2;
    return hashOf(this.words, addressWord, this.#addressWords.get(entry)!) & this.slotMask;
  }

  #index(entry: number): void {
    let slot = this.#homeSlot(entry);
    while (this.words[this.slotsWord + slot] !== 0) slot = (slot + 1) & this.slotMask;
    Atomics.store(this.words, this.slotsWord + slot, entry);
  }

  /** Empties a slot after moving later ones of its chain back (Knuth 6.4, algorithm R). */
  #unindex(entry: number): void {
    const { words, slotsWord, slotMask } = this;
    let hole = this.#homeSlot(entry);
    while (words[slotsWord + hole] !== entry) hole = (hole + 1) & slotMask;
    for (let slot = (hole + 1) & slotMask; ; slot = (slot + 1) & slotMask) {
      const moved = words[slotsWord + slot]!;
      if (moved === 0) break;
      const home = this.#homeSlot(moved);
      if (((slot - home) & slotMask) < ((slot - hole) & slotMask)) continue;
      Atomics.store(words, slotsWord + hole, moved);
      hole = slot;
    }
    Atomics.store(words, slotsWord + hole, 0);
  }

  #setFlag(entry: number, flag: number, isSet: boolean): void {
    const flags = this.flags(entry);
    this.#write(entry, () => this.#set(entry, PEER_FLAGS, isSet ? flags | flag : flags & ~flag));
  }

  #set(entry: number, field: number, value: number): void {
    this.words[(this.offsetOf(entry) + field) >> 2] = value;
  }

  #write(entry: number, change: () => void): void {
    const index = this.offsetOf(entry) >> 2;
    Atomics.add(this.words, index, 1);
    change();
    Atomics.add(this.words, index, 1);
  }
}
