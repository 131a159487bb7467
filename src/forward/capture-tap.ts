/**
 * Captures what passes a forwarding worker, while a capture is on. Off, a batch costs one look at
 * a number in shared memory. On, the filter is run for each packet, and those that match are
 * copied into the worker's capture ring: the packet as it came and as it went, with the verdict.
 * A full ring loses packets and counts them; forwarding never waits. Worker thread.
 *
 * Egress translates in place, so the beginning of each native packet is kept before; behind
 * KEPT_BYTES a packet is never changed. Ingress translates copies of headers, so a datagram is
 * still whole when its native packet has been written. Of a super-packet, the local side shows one
 * packet and the tunnel side each of its parts; the parts carry the headers of the whole, so that
 * each tells both ends.
 */

import { type DropReason, dropReasonIndex } from "../base/drop-reason.js";
import { compileFilter, type FilterTest } from "../capture/filter.js";
import { parseFilter } from "../capture/filter-parser.js";
import { CaptureSubject } from "../capture/subject.js";
import { GROUP_PACKETS_MAX } from "../tables/arena.js";
import { CaptureArea } from "../tables/capture-area.js";
import {
  type CaptureDirection,
  CaptureRingProducer,
  ENTRY_ADDRESS,
  ENTRY_HEAD_BYTES,
  ENTRY_KINDS,
  ENTRY_NATIVE_KEPT,
  ENTRY_NATIVE_LENGTH,
  ENTRY_PORT,
  ENTRY_REASON,
  ENTRY_TIME,
  ENTRY_TUNNEL_KEPT,
  ENTRY_TUNNEL_LENGTH,
  FROM_TUNNEL,
  KEPT_BYTES,
  PATH_FAST,
  paddedLength,
  SIDE_LOCAL,
  SIDE_TUNNEL,
  TO_TUNNEL,
  VERDICT_DROPPED,
  VERDICT_FORWARDED,
} from "../tables/capture-ring.js";
import type { FastPathMemory } from "./fast-path.js";
import type { Joiner } from "./joiner.js";
import { type PacketBatch, SEND_DONE, type WriteBatch } from "./ports.js";

const BOTH = SIDE_LOCAL | SIDE_TUNNEL;
/** Octets of a tunnel packet that the filter reads: the longest header of format D, and ports. */
const TUNNEL_HEAD_BYTES = 96;

/** What a tap works with. */
export interface CaptureTapParts {
  readonly memory: FastPathMemory;
  /** Byte offsets of the order and of the worker's ring. */
  readonly areaOffset: number;
  readonly ringOffset: number;
  /** Milliseconds of the monotonic clock, with fractions. */
  readonly nowMs: () => number;
}

/** What both directions share. */
class CaptureTap {
  protected readonly bytes: Uint8Array;
  protected readonly memory: FastPathMemory;
  protected readonly ring: CaptureRingProducer;
  protected readonly subject = new CaptureSubject();
  readonly #direction: CaptureDirection;
  readonly #area: CaptureArea;
  readonly #times: Float64Array;
  readonly #nowMs: () => number;
  #generation = 0;
  #test: FilterTest | undefined;
  #keptMax = 0;
  #timeMs = 0;
  // The entry that is being written.
  #entry = 0;
  #nativeAt = 0;
  #nativeRoom = 0;
  #tunnelAt = 0;
  #tunnelRoom = 0;

  constructor(parts: CaptureTapParts, direction: CaptureDirection) {
    const { memory, areaOffset, ringOffset, nowMs } = parts;
    const { buffer } = memory.bytes;
    this.memory = memory;
    this.bytes = memory.bytes;
    this.ring = new CaptureRingProducer(buffer, ringOffset);
    this.#direction = direction;
    this.#area = new CaptureArea(buffer, areaOffset);
    this.#times = new Float64Array(buffer, 0, Math.floor(buffer.byteLength / 8));
    this.#nowMs = nowMs;
    this.subject.path = PATH_FAST;
  }

  /** Once per batch: true when a capture is on. */
  protected refresh(): boolean {
    const generation = this.memory.control.captureGeneration();
    if (generation !== this.#generation) this.#load(generation);
    if (this.#test === undefined) return false;
    this.#timeMs = this.#nowMs();
    return true;
  }

  /** A packet or datagram did not fit the ring to the slow path. */
  lost(isDatagram: boolean, offset: number, length: number, address: number, port: number): void {
    if (!this.refresh()) return;
    if (isDatagram) this.recordTunnelDrop("slow-path-full", offset, length, address, port);
    else this.recordNativeDrop("slow-path-full", offset, length);
  }

  protected recordNativeDrop(reason: DropReason, offset: number, length: number): void {
    const there = Math.max(0, length);
    this.subject.setNative(this.bytes, offset, there);
    this.subject.setTunnel(this.bytes, 0, 0);
    this.subject.remote.length = 0;
    const sides = this.wantedSides(SIDE_LOCAL, VERDICT_DROPPED, dropReasonIndex(reason) + 1);
    if (sides === 0 || !this.begin(there, 0)) return;
    this.native(offset, there);
    this.end(sides, 0, 0);
  }

  protected recordTunnelDrop(
    reason: DropReason,
    offset: number,
    length: number,
    address: number,
    port: number,
  ): void {
    this.subject.setNative(this.bytes, 0, 0);
    this.subject.setTunnel(this.bytes, offset, length);
    this.setRemote(address);
    const sides = this.wantedSides(SIDE_TUNNEL, VERDICT_DROPPED, dropReasonIndex(reason) + 1);
    if (sides === 0 || !this.begin(0, length)) return;
    this.tunnel(offset, length);
    this.end(sides, address, port);
  }

  protected setRemote(address: number): void {
    this.subject.remote.set(this.bytes, address, 4 * this.memory.contextWords);
  }

  /** Those of the sides on which the filter wants the subject. */
  protected wantedSides(sides: number, verdict: number, reason: number): number {
    const { subject } = this;
    const test = this.#test!;
    subject.verdict = verdict;
    subject.reason = reason;
    let wanted = 0;
    for (let side = SIDE_LOCAL; side <= SIDE_TUNNEL; side++) {
      if ((sides & side) === 0) continue;
      subject.side = side;
      if (test(subject)) wanted |= side;
    }
    return wanted;
  }

  /** Begins an entry for packets of these lengths; false when the ring is full. */
  protected begin(nativeLength: number, tunnelLength: number): boolean {
    const nativeKept = Math.min(nativeLength, this.#keptMax);
    const tunnelKept = Math.min(tunnelLength, this.#keptMax);
    const nativeBytes = paddedLength(nativeKept);
    const entry = this.ring.reserve(nativeBytes + tunnelKept, this.#generation);
    if (entry < 0) return false;
    const { words } = this.memory;
    const word = entry >>> 2;
    words[word + ENTRY_NATIVE_LENGTH] = nativeLength;
    words[word + ENTRY_NATIVE_KEPT] = nativeKept;
    words[word + ENTRY_TUNNEL_LENGTH] = tunnelLength;
    words[word + ENTRY_TUNNEL_KEPT] = tunnelKept;
    this.#entry = entry;
    this.#nativeAt = entry + ENTRY_HEAD_BYTES;
    this.#nativeRoom = nativeKept;
    this.#tunnelAt = this.#nativeAt + nativeBytes;
    this.#tunnelRoom = tunnelKept;
    return true;
  }

  /** Appends octets of the native packet, as far as they are to be kept. */
  protected native(offset: number, length: number): void {
    const count = Math.min(length, this.#nativeRoom);
    if (count <= 0) return;
    this.bytes.copyWithin(this.#nativeAt, offset, offset + count);
    this.#nativeAt += count;
    this.#nativeRoom -= count;
  }

  /** Appends octets of the tunnel packet, as far as they are to be kept. */
  protected tunnel(offset: number, length: number): void {
    const count = Math.min(length, this.#tunnelRoom);
    if (count <= 0) return;
    this.bytes.copyWithin(this.#tunnelAt, offset, offset + count);
    this.#tunnelAt += count;
    this.#tunnelRoom -= count;
  }

  /** Completes and publishes the entry; `address` 0: there is no remote gateway. */
  protected end(sides: number, address: number, port: number): void {
    const { words, contextWords } = this.memory;
    const { verdict, reason } = this.subject;
    const word = this.#entry >>> 2;
    this.#times[(word + ENTRY_TIME) >>> 1] = this.#timeMs;
    words[word + ENTRY_KINDS] =
      this.#direction | (PATH_FAST << 8) | (verdict << 16) | (sides << 24);
    words[word + ENTRY_REASON] = reason;
    words[word + ENTRY_PORT] = port;
    for (let index = 0; index < 4; index++) {
      const isThere = address !== 0 && index < contextWords;
      words[word + ENTRY_ADDRESS + index] = isThere ? words[(address >>> 2) + index]! : 0;
    }
    this.ring.publish(this.#entry);
  }

  /** Reads the order of a new capture; one that is being replaced counts as none. */
  #load(generation: number): void {
    this.#generation = generation;
    this.#test = undefined;
    if (generation === 0) return;
    const { snaplen, filter } = this.#area.read();
    if (this.memory.control.captureGeneration() !== generation) {
      this.#generation = 0;
      return;
    }
    const parsed = parseFilter(filter);
    if (!parsed.ok) return;
    this.#keptMax = Math.max(snaplen, KEPT_BYTES);
    this.#test = compileFilter(parsed.filter);
  }
}

/** Of an egress worker. */
export class EgressTap extends CaptureTap {
  #input: PacketBatch | undefined;
  /** Packet of the input that the last output came from, and whether it has been shown. */
  #cursor = 0;
  #isShown = false;

  constructor(parts: CaptureTapParts) {
    super(parts, TO_TUNNEL);
  }

  /** Before a batch is translated; undefined when no capture is on. Borrows the batch. */
  beginBatch(input: PacketBatch): this | undefined {
    if (!this.refresh()) return undefined;
    const { keptOffset } = this.ring;
    for (let index = 0; index < input.count; index++) {
      const offset = input.offsets[index]!;
      const length = Math.min(KEPT_BYTES, Math.max(0, input.lengths[index]!));
      this.bytes.copyWithin(keptOffset + index * KEPT_BYTES, offset, offset + length);
    }
    this.#input = input;
    this.#cursor = 0;
    this.#isShown = false;
    return this;
  }

  /** A packet of the TUN device was dropped. */
  dropped(reason: DropReason, offset: number, length: number): void {
    this.recordNativeDrop(reason, offset, length);
  }

  /** After `output` was sent: its packets are in the order of the input. */
  sent(output: PacketBatch): void {
    const input = this.#input!;
    for (let index = 0; index < output.count; index++) {
      const payloadLength = output.payloadLengths[index]!;
      const start = payloadLength > 0 ? output.payloadOffsets[index]! : output.offsets[index]!;
      const end = start + (payloadLength > 0 ? payloadLength : output.lengths[index]!);
      this.#advance(input, end);
      if (this.#cursor >= input.count) return;
      this.#record(input, output, index);
    }
  }

  /** To the packet of the input whose octets end at `end` or behind it. */
  #advance(input: PacketBatch, end: number): void {
    while (this.#cursor < input.count) {
      if (input.offsets[this.#cursor]! + input.lengths[this.#cursor]! >= end) return;
      this.#cursor++;
      this.#isShown = false;
    }
  }

  #record(input: PacketBatch, output: PacketBatch, index: number): void {
    const kept = this.ring.keptOffset + this.#cursor * KEPT_BYTES;
    const nativeOffset = input.offsets[this.#cursor]!;
    const nativeLength = input.lengths[this.#cursor]!;
    const offset = output.offsets[index]!;
    const length = output.lengths[index]!;
    const address = output.addressOffsets[index]!;
    const isSent = output.outcomes[index] === SEND_DONE;
    this.subject.setNative(this.bytes, kept, Math.min(nativeLength, KEPT_BYTES));
    this.subject.setTunnel(this.bytes, offset, Math.min(length, TUNNEL_HEAD_BYTES));
    this.setRemote(address);
    const sides = this.wantedSides(
      this.#isShown ? SIDE_TUNNEL : BOTH,
      isSent ? VERDICT_FORWARDED : VERDICT_DROPPED,
      isSent ? 0 : SEND_FAILED_REASON,
    );
    const isPart = this.#isShown;
    this.#isShown = true;
    if (sides === 0) return;
    const shownLength = isPart ? Math.min(nativeLength, KEPT_BYTES) : nativeLength;
    if (!this.begin(shownLength, output.totalLength(index))) return;
    this.native(kept, Math.min(shownLength, KEPT_BYTES));
    this.native(nativeOffset + KEPT_BYTES, shownLength - KEPT_BYTES);
    this.tunnel(offset, length);
    this.tunnel(output.payloadOffsets[index]!, output.payloadLengths[index]!);
    this.end(sides, address, output.ports[index]!);
  }
}

const SEND_FAILED_REASON = dropReasonIndex("send-failed") + 1;
const WRITE_FAILED_REASON = dropReasonIndex("write-failed") + 1;

/** Of an ingress worker. */
export class IngressTap extends CaptureTap {
  constructor(parts: CaptureTapParts) {
    super(parts, FROM_TUNNEL);
  }

  /** Before a batch is taken; undefined when no capture is on. */
  beginBatch(): this | undefined {
    return this.refresh() ? this : undefined;
  }

  /** A message was dropped. */
  dropped(reason: DropReason, offset: number, length: number, address: number, port: number): void {
    this.recordTunnelDrop(reason, offset, length, address, port);
  }

  /** After `output` was written; `joiner` knows the datagrams that its packets began with. */
  written(output: WriteBatch, joiner: Joiner): void {
    for (let index = 0; index < output.count; index++) {
      const isTaken = output.refused[index] === 0;
      this.subject.setNative(this.bytes, output.offsets[index]!, output.lengths[index]!);
      this.#recordHead(output, joiner, index, isTaken);
      const joined = output.packetCounts[index]! - 1;
      const first = index * GROUP_PACKETS_MAX + output.pieceCounts[index]! - joined;
      for (let piece = first; piece < first + joined; piece++) {
        this.#recordJoined(output, joiner, index, piece, isTaken);
      }
    }
  }

  /** The native packet, and the datagram that it began with. */
  #recordHead(output: WriteBatch, joiner: Joiner, index: number, isTaken: boolean): void {
    const head = joiner.head(index);
    const length = headLength(output, joiner, index);
    const sides = this.#wanted(joiner, index, head, BOTH, isTaken);
    if (sides === 0) return;
    const start = index * GROUP_PACKETS_MAX;
    const end = start + output.pieceCounts[index]!;
    let nativeLength = output.lengths[index]!;
    for (let piece = start; piece < end; piece++) nativeLength += output.pieceLengths[piece]!;
    if (!this.begin(nativeLength, length)) return;
    this.native(output.offsets[index]!, output.lengths[index]!);
    for (let piece = start; piece < end; piece++) {
      this.native(output.pieceOffsets[piece]!, output.pieceLengths[piece]!);
    }
    this.tunnel(head, length);
    this.end(sides, joiner.addressOffset(index), joiner.port(index));
  }

  /** A datagram whose payload is piece `piece` of the packet. */
  #recordJoined(
    output: WriteBatch,
    joiner: Joiner,
    index: number,
    piece: number,
    isTaken: boolean,
  ): void {
    const inFront = joiner.tunnelLength(index) + joiner.headerLength(index);
    const offset = output.pieceOffsets[piece]! - inFront;
    const length = output.pieceLengths[piece]! + inFront;
    const sides = this.#wanted(joiner, index, offset, SIDE_TUNNEL, isTaken);
    const nativeLength = Math.min(output.lengths[index]!, KEPT_BYTES);
    if (sides === 0 || !this.begin(nativeLength, length)) return;
    this.native(output.offsets[index]!, nativeLength);
    this.tunnel(offset, length);
    this.end(sides, joiner.addressOffset(index), joiner.port(index));
  }

  #wanted(
    joiner: Joiner,
    index: number,
    datagram: number,
    sides: number,
    isTaken: boolean,
  ): number {
    this.subject.setTunnel(this.bytes, datagram, joiner.tunnelLength(index));
    this.setRemote(joiner.addressOffset(index));
    const verdict = isTaken ? VERDICT_FORWARDED : VERDICT_DROPPED;
    return this.wantedSides(sides, verdict, isTaken ? 0 : WRITE_FAILED_REASON);
  }
}

/** Octets of the datagram that packet `index` began with. */
function headLength(output: WriteBatch, joiner: Joiner, index: number): number {
  const inFront = joiner.tunnelLength(index) + joiner.headerLength(index);
  const hasOwnPiece = output.pieceCounts[index] === output.packetCounts[index];
  if (hasOwnPiece) return inFront + output.pieceLengths[index * GROUP_PACKETS_MAX]!;
  return joiner.tunnelLength(index) + output.lengths[index]! - joiner.nativeHeaderLength;
}
