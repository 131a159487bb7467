/**
 * Capture ring: packets that a forwarding worker has captured, on their way to the main thread. In
 * shared memory; a single producer (one worker) and a single consumer (the main thread); bounded.
 * A full ring loses the packet and counts it; the worker never waits.
 *
 * Layout: 128 octets of control words, one cache line for each end, then CAPTURE_RING_BYTES of
 * entries, then room for the beginnings of one batch of packets (`keptOffset`), which only the
 * worker uses. w0 octets ever written (modulo 2^32, published after the entry), w1 packets lost;
 * w16 octets ever taken. An entry begins at a multiple of 16 and has a head of 64 octets:
 *
 *   w0 octets of the entry, or ENTRY_SKIP: continue at the start of the ring
 *   w1 generation of the capture
 *   w2-w3 time in milliseconds of the monotonic clock, a double
 *   w4 direction (octet 0), path (1), verdict (2), sides to show (3)
 *   w5 number of the drop reason and one; 0 when there is none
 *   w6 octets of the native packet, w7 those that are kept; w8, w9 the same of the tunnel packet
 *   w10 UDP port of the remote gateway, w11-w14 its address (IPv4 in the first 4 octets, rest 0)
 *
 * then the native and the tunnel packet, each padded to a multiple of 4.
 */

import { assert } from "../base/assert.js";
import { copyAddress, type IpAddress, type IpVersion } from "../base/ip.js";

/** Room for entries; a power of two, and several of the largest ones. */
export const CAPTURE_RING_BYTES = 2 ** 21;
/** Beginning of a packet that is kept while it is translated in place: IPv6 and TCP headers. */
export const KEPT_BYTES = 128;

/** Which way a packet goes, seen from the local network. */
export const TO_TUNNEL = 1;
export const FROM_TUNNEL = 2;
export type CaptureDirection = typeof TO_TUNNEL | typeof FROM_TUNNEL;

/** Who has decided. */
export const PATH_FAST = 1;
export const PATH_SLOW = 2;
export type CapturePath = typeof PATH_FAST | typeof PATH_SLOW;

/** What became of a packet. */
export const VERDICT_FORWARDED = 1;
export const VERDICT_DROPPED = 2;
/** It waits: for a mapping to be stored, or for another fragment. */
export const VERDICT_HELD = 3;
/** It was for the gateway itself, which has answered. */
export const VERDICT_ANSWERED = 4;
/** The gateway has made it: an answer, an error, a probe. */
export const VERDICT_MADE = 5;
export type CaptureVerdict =
  | typeof VERDICT_FORWARDED
  | typeof VERDICT_DROPPED
  | typeof VERDICT_HELD
  | typeof VERDICT_ANSWERED
  | typeof VERDICT_MADE;

/** Sides of the gateway, as a set of bits. */
export const SIDE_LOCAL = 1;
export const SIDE_TUNNEL = 2;
export type CaptureSide = typeof SIDE_LOCAL | typeof SIDE_TUNNEL;

// Words of an entry, for those who write entries.
export const ENTRY_TIME = 2;
export const ENTRY_KINDS = 4;
export const ENTRY_REASON = 5;
export const ENTRY_NATIVE_LENGTH = 6;
export const ENTRY_NATIVE_KEPT = 7;
export const ENTRY_TUNNEL_LENGTH = 8;
export const ENTRY_TUNNEL_KEPT = 9;
export const ENTRY_PORT = 10;
export const ENTRY_ADDRESS = 11;
export const ENTRY_HEAD_BYTES = 64;

const CONTROL_BYTES = 128;
const WORD_WRITTEN = 0;
const WORD_LOST = 1;
const WORD_TAKEN = 16;
const ENTRY_ALIGN = 16;
const ENTRY_GENERATION = 1;
const ENTRY_SKIP = -1;

/** Octets of a ring with room for the beginnings of `packets` packets. */
export function captureRingBytes(packets: number): number {
  return CONTROL_BYTES + CAPTURE_RING_BYTES + packets * KEPT_BYTES;
}

/** Octets that `length` octets of a packet take in an entry. */
export function paddedLength(length: number): number {
  return (length + 3) & ~3;
}

/** The worker's end. */
export class CaptureRingProducer {
  /** Where the beginnings of a batch of packets may be kept. */
  readonly keptOffset: number;
  readonly #words: Int32Array;
  readonly #control: number;
  readonly #dataOffset: number;
  #written: number;

  constructor(memory: ArrayBufferLike, baseOffset: number) {
    assert(baseOffset % 64 === 0, "a ring begins at a cache line");
    this.#words = new Int32Array(memory);
    this.#control = baseOffset >>> 2;
    this.#dataOffset = baseOffset + CONTROL_BYTES;
    this.keptOffset = this.#dataOffset + CAPTURE_RING_BYTES;
    this.#written = Atomics.load(this.#words, this.#control + WORD_WRITTEN);
  }

  /**
   * Offset in memory of a new entry with `length` octets behind its head, to be filled and then
   * published; -1 when there is no room, which counts as a lost packet.
   */
  reserve(length: number, generation: number): number {
    const start = this.#place(entryBytes(length));
    if (start < 0) {
      Atomics.add(this.#words, this.#control + WORD_LOST, 1);
      return -1;
    }
    this.#words[start >>> 2] = entryBytes(length);
    this.#words[(start >>> 2) + ENTRY_GENERATION] = generation;
    return start;
  }

  /** Makes the entry at `start` visible. */
  publish(start: number): void {
    this.#written = (this.#written + this.#words[start >>> 2]!) | 0;
    Atomics.store(this.#words, this.#control + WORD_WRITTEN, this.#written);
  }

  #place(length: number): number {
    const taken = Atomics.load(this.#words, this.#control + WORD_TAKEN);
    const free = CAPTURE_RING_BYTES - ((this.#written - taken) >>> 0);
    const position = this.#written & (CAPTURE_RING_BYTES - 1);
    const tail = CAPTURE_RING_BYTES - position;
    if (length <= tail) return length <= free ? this.#dataOffset + position : -1;
    if (tail + length > free) return -1;
    this.#words[(this.#dataOffset + position) >>> 2] = ENTRY_SKIP;
    this.#written = (this.#written + tail) | 0;
    return this.#dataOffset;
  }
}

function entryBytes(length: number): number {
  return (ENTRY_HEAD_BYTES + length + ENTRY_ALIGN - 1) & ~(ENTRY_ALIGN - 1);
}

/** A captured packet as it went in and came out. The bytes belong to the receiver. */
export interface CaptureRecord {
  /** Milliseconds of the monotonic clock, with fractions. */
  readonly timeMs: number;
  readonly direction: CaptureDirection;
  readonly path: CapturePath;
  readonly verdict: CaptureVerdict;
  /** Number of the drop reason and one; 0 when there is none. */
  readonly reason: number;
  /** The sides on which it is to be shown: SIDE_LOCAL, SIDE_TUNNEL or both. */
  readonly sides: number;
  /** Native packet, as far as it was kept; empty when there is none. */
  readonly native: Uint8Array;
  readonly nativeLength: number;
  /** Tunnel packet, as far as it was kept; empty when there is none. */
  readonly tunnel: Uint8Array;
  readonly tunnelLength: number;
  /** The remote gateway at the other end of the datagram. */
  readonly remote: IpAddress;
  readonly remotePort: number;
}

/** The main thread's end. */
export class CaptureRingConsumer {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #words: Int32Array;
  readonly #control: number;
  readonly #dataOffset: number;
  readonly #version: IpVersion;
  #taken: number;
  #lostBefore: number;

  constructor(memory: ArrayBufferLike, baseOffset: number, tunnelVersion: IpVersion) {
    this.#bytes = new Uint8Array(memory);
    this.#view = new DataView(memory);
    this.#words = new Int32Array(memory);
    this.#control = baseOffset >>> 2;
    this.#dataOffset = baseOffset + CONTROL_BYTES;
    this.#version = tunnelVersion;
    this.#taken = Atomics.load(this.#words, this.#control + WORD_TAKEN);
    this.#lostBefore = Atomics.load(this.#words, this.#control + WORD_LOST);
  }

  /** Packets lost since the last call. */
  takeLost(): number {
    const lost = Atomics.load(this.#words, this.#control + WORD_LOST);
    const news = (lost - this.#lostBefore) >>> 0;
    this.#lostBefore = lost;
    return news;
  }

  /** The oldest packet of a capture, those of earlier captures left out; undefined when empty. */
  take(generation: number): CaptureRecord | undefined {
    for (;;) {
      if (Atomics.load(this.#words, this.#control + WORD_WRITTEN) === this.#taken) return undefined;
      const start = this.#nextEntry();
      const isWanted = this.#words[(start >>> 2) + ENTRY_GENERATION] === generation;
      const record = isWanted ? this.#read(start) : undefined;
      this.#taken = (this.#taken + this.#words[start >>> 2]!) | 0;
      Atomics.store(this.#words, this.#control + WORD_TAKEN, this.#taken);
      if (record !== undefined) return record;
    }
  }

  #nextEntry(): number {
    const position = this.#taken & (CAPTURE_RING_BYTES - 1);
    const start = this.#dataOffset + position;
    if (this.#words[start >>> 2] !== ENTRY_SKIP) return start;
    this.#taken = (this.#taken + CAPTURE_RING_BYTES - position) | 0;
    return this.#dataOffset;
  }

  #read(start: number): CaptureRecord {
    const word = start >>> 2;
    const kinds = this.#words[word + ENTRY_KINDS]!;
    const native = start + ENTRY_HEAD_BYTES;
    const nativeKept = this.#words[word + ENTRY_NATIVE_KEPT]!;
    const tunnel = native + paddedLength(nativeKept);
    const tunnelKept = this.#words[word + ENTRY_TUNNEL_KEPT]!;
    return {
      timeMs: this.#view.getFloat64(start + 4 * ENTRY_TIME, true),
      direction: (kinds & 0xff) as CaptureDirection,
      path: ((kinds >>> 8) & 0xff) as CapturePath,
      verdict: ((kinds >>> 16) & 0xff) as CaptureVerdict,
      sides: kinds >>> 24,
      reason: this.#words[word + ENTRY_REASON]!,
      native: this.#bytes.slice(native, native + nativeKept),
      nativeLength: this.#words[word + ENTRY_NATIVE_LENGTH]!,
      tunnel: this.#bytes.slice(tunnel, tunnel + tunnelKept),
      tunnelLength: this.#words[word + ENTRY_TUNNEL_LENGTH]!,
      remote: copyAddress(this.#bytes, start + 4 * ENTRY_ADDRESS, this.#version),
      remotePort: this.#words[word + ENTRY_PORT]!,
    };
  }
}
