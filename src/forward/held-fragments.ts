/**
 * First fragments of ICMPv6 echo messages that wait for their total length (spec/tunnel.md 4.8).
 *
 * The ICMPv6 pseudo header holds the length of the whole message, the tunnel's checksum does not.
 * The first fragment has the checksum, the last one tells the length: whichever comes first waits
 * here. One table per direction; each sender has a share, so that a sender of nothing but first
 * fragments pushes out only its own.
 */

import { LruMap } from "../base/limits.js";

/** spec/tunnel.md 4.8: entries die 60 s after they were created. */
export const HOLD_TIME_MS = 60_000;
/** spec/tunnel.md 4.8: "at most 256 entries and 512 KiB in all"; two tables share them equally. */
const ENTRIES_MAX = 128;
const HELD_BYTES_MAX = 256 * 1024;
/** An eighth of the table for one sender. */
const ENTRIES_PER_SENDER_MAX = 16;
/** Identifications of refused messages remembered (spec/tunnel.md 9, S16). */
const REFUSED_MAX = 256;

interface HeldEntry<Packet> {
  readonly sender: string;
  readonly createdMs: number;
  /** Set when the last fragment came first. */
  readonly totalLength: number | undefined;
  readonly packet: Packet | undefined;
  readonly bytes: number;
}

/** What `hold` did with a first fragment; `replaced`: the earlier one that it took the place of. */
export type HoldResult<Packet> =
  | { readonly kind: "held"; readonly replaced: Packet | undefined }
  | { readonly kind: "full" };

/** The table of one direction. `Packet` is whatever the caller needs to try again. */
export class HeldFragments<Packet> {
  readonly #entries = new Map<string, HeldEntry<Packet>>();
  readonly #perSender = new Map<string, number>();
  #refused = new LruMap<string, number>(REFUSED_MAX);
  #heldBytes = 0;
  #expired: Packet[] = [];

  /** Another table that holds the same; packets are shared, and nobody changes them. */
  copy(): HeldFragments<Packet> {
    const copy = new HeldFragments<Packet>();
    for (const [key, entry] of this.#entries) copy.#entries.set(key, entry);
    for (const [sender, count] of this.#perSender) copy.#perSender.set(sender, count);
    copy.#refused = this.#refused.copy();
    copy.#heldBytes = this.#heldBytes;
    copy.#expired = [...this.#expired];
    return copy;
  }

  /** Length of the message if its last fragment has been seen; the entry is used up. */
  takeLength(key: string, nowMs: number): number | undefined {
    this.#expire(nowMs);
    const length = this.#entries.get(key)?.totalLength;
    if (length !== undefined) this.#remove(key);
    return length;
  }

  /** Keeps a first fragment, `bytes` long, in place of an earlier one with the same key. */
  hold(
    key: string,
    sender: string,
    packet: Packet,
    bytes: number,
    nowMs: number,
  ): HoldResult<Packet> {
    this.#expire(nowMs);
    const replaced = this.#entries.get(key);
    if (!this.#hasRoom(sender, bytes, replaced)) return { kind: "full" };
    this.#remove(key);
    this.#add(key, { sender, createdMs: nowMs, totalLength: undefined, packet, bytes });
    return { kind: "held", replaced: replaced?.packet };
  }

  /**
   * Reports the length that a last fragment told. Returns the first fragment if it waits here (it
   * is let go, the length is kept for it); otherwise the length is remembered for later.
   */
  tellLength(key: string, sender: string, length: number, nowMs: number): Packet | undefined {
    this.#expire(nowMs);
    const waiting = this.#entries.get(key)?.packet;
    this.#remove(key);
    if (this.#hasRoom(sender, 0)) {
      const entry = { sender, createdMs: nowMs, packet: undefined, bytes: 0 };
      this.#add(key, { ...entry, totalLength: length });
    }
    return waiting;
  }

  /** Remembers that the first fragment of a message was refused. */
  refuse(key: string, nowMs: number): void {
    this.#refused.set(key, nowMs);
  }

  /** True when later fragments of this message are to be dropped. */
  isRefused(key: string, nowMs: number): boolean {
    const refusedMs = this.#refused.peek(key);
    return refusedMs !== undefined && nowMs - refusedMs < HOLD_TIME_MS;
  }

  /** Held packets given up as too old since the last call; callers count them as dropped. */
  takeExpired(nowMs: number): readonly Packet[] {
    this.#expire(nowMs);
    return this.#expired.splice(0);
  }

  /** Removes old entries; the map is in order of creation. */
  #expire(nowMs: number): void {
    for (const [key, entry] of this.#entries) {
      if (nowMs - entry.createdMs < HOLD_TIME_MS) break;
      if (entry.packet !== undefined) this.#expired.push(entry.packet);
      this.#remove(key);
    }
  }

  /** True when there is room for one more, once `replaced` is gone. */
  #hasRoom(sender: string, bytes: number, replaced?: HeldEntry<Packet>): boolean {
    const count = this.#entries.size - (replaced === undefined ? 0 : 1);
    const ofSender = (this.#perSender.get(sender) ?? 0) - (replaced?.sender === sender ? 1 : 0);
    if (this.#heldBytes - (replaced?.bytes ?? 0) + bytes > HELD_BYTES_MAX) return false;
    return count < ENTRIES_MAX && ofSender < ENTRIES_PER_SENDER_MAX;
  }

  #add(key: string, entry: HeldEntry<Packet>): void {
    this.#entries.set(key, entry);
    this.#perSender.set(entry.sender, (this.#perSender.get(entry.sender) ?? 0) + 1);
    this.#heldBytes += entry.bytes;
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#heldBytes -= entry.bytes;
    const left = this.#perSender.get(entry.sender)! - 1;
    if (left === 0) this.#perSender.delete(entry.sender);
    else this.#perSender.set(entry.sender, left);
  }
}
