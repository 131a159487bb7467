/**
 * Packet ring: packets that a forwarding worker hands to the slow path. In shared memory; a single
 * producer (one worker) and a single consumer (the main thread); bounded.
 *
 * Layout: 128 bytes of control words, one cache line for each end, then `capacityBytes` (a power of
 * two) of entries. w0 bytes ever written (modulo 2^32, published after the entry), w1 the consumer
 * sleeps; w16 bytes ever taken. An entry begins at a multiple of 32:
 *
 *   w0 payload length, or ENTRY_SKIP: continue at the start of the ring
 *   w1 kind (low 8 bits), type of service of the outer header (next 8), UDP port (high 16)
 *   w4-w7 address (IPv4 in the first 4 bytes, rest zero); then the payload
 *
 * Wake-ups: the consumer says that it sleeps (`sleep`), the producer asks once per batch whether
 * it must wake it (`mustWake`). A running consumer is never woken.
 */

import { assert } from "../base/assert.js";
import { copyAddress, type IpAddress, type IpVersion } from "../base/ip.js";

/** A native packet read from the local network. */
export const RING_FROM_LOCAL = 1;
/** A datagram received by the tunnel socket; address and port are its outer source. */
export const RING_FROM_TUNNEL = 2;
/** A finished tunnel packet that the kernel refused as too big; address and port: destination. */
export const RING_SEND_TOO_BIG = 3;
/** An entry of the socket's error queue; address and port: destination; see `SocketError`. */
export const RING_SOCKET_ERROR = 4;

/** Kinds of ring entries. */
export type RingKind =
  | typeof RING_FROM_LOCAL
  | typeof RING_FROM_TUNNEL
  | typeof RING_SEND_TOO_BIG
  | typeof RING_SOCKET_ERROR;

const CONTROL_BYTES = 128;
const WORD_WRITTEN = 0;
const WORD_ASLEEP = 1;
const WORD_TAKEN = 16;

const ENTRY_ALIGN = 32;
const ENTRY_HEADER_BYTES = 32;
const ENTRY_WORD_META = 1;
const ENTRY_WORD_ADDRESS = 4;
const ENTRY_SKIP = -1;

/** Bytes of a ring with this much room for entries. */
export function packetRingBytes(capacityBytes: number): number {
  return CONTROL_BYTES + capacityBytes;
}

function entryBytes(length: number): number {
  return (ENTRY_HEADER_BYTES + length + ENTRY_ALIGN - 1) & ~(ENTRY_ALIGN - 1);
}

/** What both ends know. */
class PacketRing {
  protected readonly bytes: Uint8Array;
  protected readonly words: Int32Array;
  protected readonly controlWord: number;
  protected readonly dataOffset: number;
  protected readonly capacityBytes: number;

  constructor(memory: ArrayBufferLike, baseOffset: number, capacityBytes: number) {
    assert(baseOffset % ENTRY_ALIGN === 0, "a ring begins at an entry boundary");
    assert(Number.isInteger(Math.log2(capacityBytes)), "ring capacity is a power of two");
    this.bytes = new Uint8Array(memory);
    this.words = new Int32Array(memory);
    this.controlWord = baseOffset >>> 2;
    this.dataOffset = baseOffset + CONTROL_BYTES;
    this.capacityBytes = capacityBytes;
  }
}

/** Octets that wait in the ring at `baseOffset`; any thread may ask. */
export function ringUsedBytes(memory: ArrayBufferLike, baseOffset: number): number {
  const words = new Int32Array(memory, baseOffset, CONTROL_BYTES / 4);
  return (Atomics.load(words, WORD_WRITTEN) - Atomics.load(words, WORD_TAKEN)) >>> 0;
}

/** The worker's end. */
export class PacketRingProducer extends PacketRing {
  #written: number;
  #hasNews = false;

  constructor(memory: ArrayBufferLike, baseOffset: number, capacityBytes: number) {
    super(memory, baseOffset, capacityBytes);
    this.#written = Atomics.load(this.words, this.controlWord + WORD_WRITTEN);
  }

  /**
   * Copies a packet of the same memory into the ring; false when there is no room. `addressWord`
   * is the word index of the address, of which `addressWords` (0, 1 or 4) are copied.
   */
  push(
    kind: RingKind,
    offset: number,
    length: number,
    addressWord: number,
    addressWords: number,
    port: number,
  ): boolean {
    const start = this.#reserve(entryBytes(length));
    if (start < 0) return false;
    const { words } = this;
    const entryWord = start >>> 2;
    words[entryWord] = length;
    words[entryWord + ENTRY_WORD_META] = kind | (port << 16);
    for (let word = 0; word < 4; word++) {
      const value = word < addressWords ? words[addressWord + word]! : 0;
      words[entryWord + ENTRY_WORD_ADDRESS + word] = value;
    }
    this.bytes.copyWithin(start + ENTRY_HEADER_BYTES, offset, offset + length);
    this.#written = (this.#written + entryBytes(length)) | 0;
    Atomics.store(words, this.controlWord + WORD_WRITTEN, this.#written);
    this.#hasNews = true;
    return true;
  }

  /** True when the consumer sleeps and there is something new: the caller wakes it. */
  mustWake(): boolean {
    if (!this.#hasNews) return false;
    this.#hasNews = false;
    return Atomics.exchange(this.words, this.controlWord + WORD_ASLEEP, 0) === 1;
  }

  /** Offset in memory of `length` bytes in one piece, or -1. */
  #reserve(length: number): number {
    const mask = this.capacityBytes - 1;
    const taken = Atomics.load(this.words, this.controlWord + WORD_TAKEN);
    const free = this.capacityBytes - ((this.#written - taken) >>> 0);
    const position = this.#written & mask;
    const tail = this.capacityBytes - position;
    if (length <= tail) return length <= free ? this.dataOffset + position : -1;
    if (tail + length > free) return -1;
    this.words[(this.dataOffset + position) >>> 2] = ENTRY_SKIP;
    this.#written = (this.#written + tail) | 0;
    return this.dataOffset;
  }
}

/** A packet taken from a ring. The bytes are a copy and belong to the receiver. */
export interface RingPacket {
  readonly kind: RingKind;
  readonly address: IpAddress;
  readonly port: number;
  readonly typeOfService: number;
  readonly packet: Uint8Array;
}

/** The main thread's end. A new consumer counts as awake: take, then `sleep`. */
export class PacketRingConsumer extends PacketRing {
  readonly #version: IpVersion;
  #taken: number;

  constructor(
    memory: ArrayBufferLike,
    baseOffset: number,
    capacityBytes: number,
    tunnelVersion: IpVersion,
  ) {
    super(memory, baseOffset, capacityBytes);
    this.#version = tunnelVersion;
    this.#taken = Atomics.load(this.words, this.controlWord + WORD_TAKEN);
  }

  /** The oldest packet, or undefined when the ring is empty. */
  take(): RingPacket | undefined {
    if (this.#isEmpty()) return undefined;
    const start = this.#nextEntry();
    const length = this.words[start >>> 2]!;
    const meta = this.words[(start >>> 2) + ENTRY_WORD_META]!;
    const payload = start + ENTRY_HEADER_BYTES;
    const packet: RingPacket = {
      kind: (meta & 0xff) as RingKind,
      address: copyAddress(this.bytes, start + 4 * ENTRY_WORD_ADDRESS, this.#version),
      port: meta >>> 16,
      typeOfService: (meta >>> 8) & 0xff,
      packet: this.bytes.slice(payload, payload + length),
    };
    this.#taken = (this.#taken + entryBytes(length)) | 0;
    Atomics.store(this.words, this.controlWord + WORD_TAKEN, this.#taken);
    return packet;
  }

  /**
   * Passes over the packets that wait, up to the first entry that is not just a packet; returns
   * how many.
   */
  skipPackets(): number {
    let count = 0;
    while (!this.#isEmpty()) {
      const entry = this.#nextEntry() >>> 2;
      const kind = this.words[entry + ENTRY_WORD_META]! & 0xff;
      if (kind !== RING_FROM_LOCAL && kind !== RING_FROM_TUNNEL) break;
      this.#taken = (this.#taken + entryBytes(this.words[entry]!)) | 0;
      count++;
    }
    Atomics.store(this.words, this.controlWord + WORD_TAKEN, this.#taken);
    return count;
  }

  /**
   * Says that the consumer will wait for its event descriptor. False when a packet came in
   * between: the consumer goes on taking instead.
   */
  sleep(): boolean {
    Atomics.store(this.words, this.controlWord + WORD_ASLEEP, 1);
    if (this.#isEmpty()) return true;
    Atomics.store(this.words, this.controlWord + WORD_ASLEEP, 0);
    return false;
  }

  /** Offset of the oldest entry; the ring is not empty. */
  #nextEntry(): number {
    const start = this.dataOffset + (this.#taken & (this.capacityBytes - 1));
    if (this.words[start >>> 2] !== ENTRY_SKIP) return start;
    this.#taken = (this.#taken + this.dataOffset + this.capacityBytes - start) | 0;
    return this.dataOffset;
  }

  #isEmpty(): boolean {
    return Atomics.load(this.words, this.controlWord + WORD_WRITTEN) === this.#taken;
  }
}
