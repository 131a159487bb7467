/**
 * Joins packets from the tunnel on their way to the local network: consecutive TCP segments, or UDP
 * datagrams, of one flow become one super-packet of the TUN device. Worker thread.
 *
 * A packet of the write batch is open while more may be joined to it. It has the headers of its
 * first datagram, the head, in a header slot; the payload of the others stays where it was received
 * and is gathered by the system call. Only datagrams whose checksums are right are joined.
 *
 * Order: the write batch is in the order in which packets began, and a flow has at most one open
 * packet, its last one. A flow is known by protocol and ports alone; two flows that look alike
 * only close each other's packets.
 */

import { foldSum, networkWord, sumWords } from "../kernel/checksum-update.js";
import {
  JOIN_COUNT_MAX,
  JOIN_HEAD,
  JOIN_HEADER_LENGTH,
  JOIN_LENGTH,
  JOIN_OFFSET,
  JOIN_PROTOCOL,
  JOIN_SEGMENT_SIZE,
  JOIN_SEQUENCE,
  JOIN_SIZE,
  JOIN_TUNNEL_LENGTH,
  TCP_ACK,
  TCP_PSH,
} from "../kernel/jobs.js";
import { GROUP_PACKETS_MAX, WRITE_PACKETS_MAX } from "../tables/arena.js";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/packet-fields.js";
import type { FastIngress } from "./fast-ingress.js";
import type { FastPathMemory } from "./fast-path.js";
import type { WriteBatch } from "./ports.js";
import { writePlainVnet, writeSuperVnet } from "./vnet-header.js";

/** Flows that can have an open packet at a time. */
const OPEN_MAX = 16;
/** Octets of the largest super-packet, IP header included. */
const SUPER_PACKET_BYTES_MAX = 65_535;
const UDP_LENGTH = 8;
const NONE = -1;

/** What may be joined. */
export interface JoinerSettings {
  /** Device headers stand in front of the packets; without them nothing is joined. */
  readonly hasDeviceHeader: boolean;
  readonly joinsTcp: boolean;
  readonly joinsUdp: boolean;
  readonly localVersion: 4 | 6;
}

/** One datagram as the joiner looks at it: where it was received, and where it came from. */
export interface JoinCandidate {
  offset: number;
  length: number;
  tunnelLength: number;
  /** Octets to the end of its message, and of each of the message's datagrams but the last. */
  rest: number;
  size: number;
  addressOffset: number;
  port: number;
}

/** Joins packets of one write batch at a time. */
export class Joiner {
  readonly #memory: FastPathMemory;
  readonly #fast: Pick<FastIngress, "renumber">;
  readonly #settings: JoinerSettings;
  readonly #batch: WriteBatch;
  readonly #ipLength: 20 | 40;
  // Open packets: key and index in the batch; NONE where there is none.
  readonly #openKeys = new Int32Array(OPEN_MAX);
  readonly #openIndexes = new Int32Array(OPEN_MAX).fill(NONE);
  #nextOpen = 0;
  #lastOpen = 0;
  // Of each packet in the batch.
  readonly #heads = new Int32Array(WRITE_PACKETS_MAX);
  readonly #tunnelLengths = new Int32Array(WRITE_PACKETS_MAX);
  readonly #headerLengths = new Int32Array(WRITE_PACKETS_MAX);
  readonly #segmentSizes = new Int32Array(WRITE_PACKETS_MAX);
  readonly #sequences = new Int32Array(WRITE_PACKETS_MAX);
  readonly #totals = new Int32Array(WRITE_PACKETS_MAX);
  readonly #protocols = new Uint8Array(WRITE_PACKETS_MAX);
  readonly #isVerified = new Uint8Array(WRITE_PACKETS_MAX);
  readonly #isPushed = new Uint8Array(WRITE_PACKETS_MAX);
  readonly #addressOffsets = new Int32Array(WRITE_PACKETS_MAX);
  readonly #ports = new Int32Array(WRITE_PACKETS_MAX);

  constructor(
    memory: FastPathMemory,
    fast: Pick<FastIngress, "renumber">,
    settings: JoinerSettings,
    batch: WriteBatch,
  ) {
    this.#memory = memory;
    this.#fast = fast;
    this.#settings = settings;
    this.#batch = batch;
    this.#ipLength = settings.localVersion === 4 ? 20 : 40;
  }

  /**
   * Joins the candidate, and those behind it in its message, to the open packet of its flow.
   * Returns how many datagrams were joined; when 0, the flow has no open packet any more.
   */
  join(candidate: JoinCandidate): number {
    const place = this.#findOpen(candidate);
    if (place === NONE) return 0;
    const index = this.#openIndexes[place]!;
    const count = this.#sameSource(index, candidate) ? this.#countJoinable(index, candidate) : 0;
    if (count === 0 || !this.#verifyHead(index)) {
      this.#openIndexes[place] = NONE;
      return 0;
    }
    this.#append(index, candidate, count);
    if (!this.#mayGrow(index)) this.#openIndexes[place] = NONE;
    return count;
  }

  /**
   * Opens packet `index` of the batch, just added, if others may be joined to it. `layer4` is its
   * translated transport header of `headerLength` octets in the header slot.
   */
  open(index: number, candidate: JoinCandidate, layer4: number, headerLength: number): void {
    const { bytes, words } = this.#memory;
    const protocol = bytes[candidate.offset + 3]!;
    const payloadLength = candidate.length - candidate.tunnelLength - headerLength;
    this.#packetBegins(index, candidate, protocol, headerLength, payloadLength);
    if (!this.#isHead(protocol, layer4, headerLength, payloadLength)) return;
    if (protocol === PROTOCOL_TCP) {
      this.#sequences[index] = (readNetwork(bytes, layer4 + 4) + payloadLength) | 0;
    }
    const place = this.#nextOpen;
    this.#nextOpen = (place + 1) % OPEN_MAX;
    this.#openKeys[place] = flowKey(words[layer4 >>> 2]!, protocol);
    this.#openIndexes[place] = index;
    this.#lastOpen = place;
  }

  /**
   * Packet `index` of the batch, just added, stands alone: a fragment, whose flow nobody knows.
   * What comes behind it stays behind it.
   */
  alone(index: number, candidate: JoinCandidate, headerLength: number): void {
    this.#openIndexes.fill(NONE);
    const payloadLength = candidate.length - candidate.tunnelLength - headerLength;
    const protocol = this.#memory.bytes[candidate.offset + 3]!;
    this.#packetBegins(index, candidate, protocol, headerLength, payloadLength);
  }

  /** Octets of the IP header of each packet. */
  get nativeHeaderLength(): 20 | 40 {
    return this.#ipLength;
  }

  /** Where the datagram was received that packet `index` of the batch began with. */
  head(index: number): number {
    return this.#heads[index]!;
  }

  /** Octets of its tunnel header, and of its transport header as far as it can be believed. */
  tunnelLength(index: number): number {
    return this.#tunnelLengths[index]!;
  }

  headerLength(index: number): number {
    return this.#headerLengths[index]!;
  }

  /** Whence it came. */
  addressOffset(index: number): number {
    return this.#addressOffsets[index]!;
  }

  port(index: number): number {
    return this.#ports[index]!;
  }

  /** Completes the headers of all packets of the batch; it is then ready to be written. */
  finish(): void {
    const batch = this.#batch;
    this.#openIndexes.fill(NONE);
    if (!this.#settings.hasDeviceHeader) return;
    for (let index = 0; index < batch.count; index++) {
      if (batch.packetCounts[index] === 1) {
        writePlainVnet(this.#memory.halves, batch.offsets[index]!);
      } else this.#finishSuperPacket(index);
    }
  }

  #packetBegins(
    index: number,
    candidate: JoinCandidate,
    protocol: number,
    headerLength: number,
    payloadLength: number,
  ): void {
    this.#heads[index] = candidate.offset;
    this.#tunnelLengths[index] = candidate.tunnelLength;
    this.#headerLengths[index] = headerLength;
    this.#segmentSizes[index] = payloadLength;
    this.#totals[index] = this.#ipLength + headerLength + payloadLength;
    this.#protocols[index] = protocol;
    this.#isVerified[index] = 0;
    this.#isPushed[index] = 0;
    this.#addressOffsets[index] = candidate.addressOffset;
    this.#ports[index] = candidate.port;
  }

  /** True for a datagram that others may follow: TCP with ACK alone, UDP with a checksum. */
  #isHead(protocol: number, layer4: number, headerLength: number, payloadLength: number): boolean {
    const { bytes, halves } = this.#memory;
    const { hasDeviceHeader, joinsTcp, joinsUdp } = this.#settings;
    if (!hasDeviceHeader || payloadLength < 1) return false;
    if (protocol === PROTOCOL_UDP) return joinsUdp && halves[(layer4 + 6) >>> 1] !== 0;
    if (protocol !== PROTOCOL_TCP || !joinsTcp) return false;
    // Data offset as it was understood, no reserved bits, ACK alone.
    return bytes[layer4 + 12] === headerLength << 2 && bytes[layer4 + 13] === TCP_ACK;
  }

  /** Place of the open packet of the candidate's flow, or NONE. */
  #findOpen({ offset, tunnelLength, length }: JoinCandidate): number {
    const { bytes } = this.#memory;
    if (length < tunnelLength + UDP_LENGTH) return NONE;
    const key = flowKey(readMemory(bytes, offset + tunnelLength), bytes[offset + 3]!);
    const last = this.#lastOpen;
    if (this.#openKeys[last] === key && this.#openIndexes[last] !== NONE) return last;
    for (let place = 0; place < OPEN_MAX; place++) {
      if (this.#openKeys[place] !== key || this.#openIndexes[place] === NONE) continue;
      this.#lastOpen = place;
      return place;
    }
    return NONE;
  }

  #sameSource(index: number, { addressOffset, port }: JoinCandidate): boolean {
    const { contextWords } = this.#memory;
    const own = this.#addressOffsets[index]!;
    if (own === addressOffset) return true;
    const isSame = this.#memory.sameWords(own >>> 2, addressOffset >>> 2, contextWords);
    return isSame && this.#ports[index] === port;
  }

  #countJoinable(index: number, candidate: JoinCandidate): number {
    const { words, joinJob, kernel } = this.#memory;
    if (this.#tunnelLengths[index] !== candidate.tunnelLength) return 0;
    const job = joinJob >>> 2;
    words[job + JOIN_HEAD] = this.#heads[index]!;
    words[job + JOIN_OFFSET] = candidate.offset;
    words[job + JOIN_LENGTH] = candidate.rest;
    words[job + JOIN_SIZE] = candidate.size;
    words[job + JOIN_TUNNEL_LENGTH] = candidate.tunnelLength;
    words[job + JOIN_HEADER_LENGTH] = this.#headerLengths[index]!;
    words[job + JOIN_SEGMENT_SIZE] = this.#segmentSizes[index]!;
    words[job + JOIN_SEQUENCE] = this.#sequences[index]!;
    words[job + JOIN_COUNT_MAX] = this.#roomOf(index);
    words[job + JOIN_PROTOCOL] = this.#protocols[index]!;
    return kernel.joinable(joinJob);
  }

  /** Full segments that packet `index` has room for. */
  #roomOf(index: number): number {
    const octets = SUPER_PACKET_BYTES_MAX - this.#totals[index]!;
    const pieces = GROUP_PACKETS_MAX - this.#batch.packetCounts[index]!;
    return Math.min(pieces, Math.floor(octets / this.#segmentSizes[index]!));
  }

  /** Checks, once, the checksum of the head where it was received (spec/tunnel.md 4.1). */
  #verifyHead(index: number): boolean {
    if (this.#isVerified[index] === 1) return true;
    const layer4 = this.#heads[index]! + this.#tunnelLengths[index]!;
    const length = this.#headerLengths[index]! + this.#segmentSizes[index]!;
    const pseudoSum = networkWord(this.#protocols[index]!) + networkWord(length);
    const sum = foldSum(this.#memory.kernel.sum(layer4, length) + pseudoSum);
    this.#isVerified[index] = sum === 0xffff ? 1 : 0;
    return sum === 0xffff;
  }

  #append(index: number, candidate: JoinCandidate, count: number): void {
    const batch = this.#batch;
    const headerLength = candidate.tunnelLength + this.#headerLengths[index]!;
    let { offset, rest } = candidate;
    let added = 0;
    let length = 0;
    for (let piece = 0; piece < count; piece++) {
      length = Math.min(candidate.size, rest) - headerLength;
      batch.addPiece(index, offset + headerLength, length);
      added += length;
      offset += candidate.size;
      rest -= candidate.size;
    }
    batch.packetCounts[index]! += count;
    this.#totals[index]! += added;
    this.#sequences[index] = (this.#sequences[index]! + added) | 0;
    const lastFlags = this.#memory.bytes[offset - candidate.size + candidate.tunnelLength + 13]!;
    const isPushed = this.#protocols[index] === PROTOCOL_TCP && (lastFlags & TCP_PSH) !== 0;
    this.#isPushed[index] = isPushed ? 1 : 0;
    // A shorter segment is the last of a super-packet: no room for more.
    if (isPushed || length < this.#segmentSizes[index]!) this.#totals[index]! |= CLOSED;
  }

  #mayGrow(index: number): boolean {
    return (this.#totals[index]! & CLOSED) === 0 && this.#roomOf(index) > 0;
  }

  /** Lengths, PSH, checksums and device header of a super-packet. */
  #finishSuperPacket(index: number): void {
    const { bytes, halves, words } = this.#memory;
    const start = this.#batch.offsets[index]!;
    const ipLength = this.#ipLength;
    const protocol = this.#protocols[index]!;
    const total = this.#totals[index]! & ~CLOSED;
    const layer4 = start + ipLength;
    if (ipLength === 20) this.#finishIpv4(start, total, this.#batch.packetCounts[index]!);
    else halves[(start + 4) >>> 1] = networkWord(total - ipLength);
    if (this.#isPushed[index] === 1) bytes[layer4 + 13]! |= TCP_PSH;
    const layer4Length = networkWord(total - ipLength);
    if (protocol === PROTOCOL_UDP) halves[(layer4 + 4) >>> 1] = layer4Length;
    const addressWords = ipLength === 20 ? 2 : 8;
    const addressSum = sumWords(words, (layer4 >>> 2) - addressWords, addressWords);
    const pseudoSum = addressSum + networkWord(protocol) + layer4Length;
    const headerLength = this.#headerLengths[index]!;
    const size = this.#segmentSizes[index]!;
    writeSuperVnet(halves, start, ipLength, protocol, headerLength, size, pseudoSum);
  }

  #finishIpv4(start: number, total: number, count: number): void {
    const { halves, words } = this.#memory;
    halves[(start + 2) >>> 1] = networkWord(total);
    // The kernel numbers the segments upwards; other packets may have got the next numbers.
    this.#fast.renumber(start, count);
    halves[(start + 10) >>> 1] = 0;
    halves[(start + 10) >>> 1] = foldSum(sumWords(words, start >>> 2, 5)) ^ 0xffff;
  }
}

/** Mark in a packet's total: nothing may follow. Totals are below 2^16. */
const CLOSED = 1 << 16;

/** Ports as they lie in memory, and the protocol's number mixed in. */
function flowKey(ports: number, protocol: number): number {
  return (ports ^ Math.imul(protocol, 0x9e3779b1)) | 0;
}

/** Four octets at any alignment, as a little-endian word. */
function readMemory(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** Four octets in network order. */
function readNetwork(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}
