/**
 * The two ports of a forwarding worker: the TUN device and the tunnel socket. Implemented by
 * platform, and by doubles in tests. Packets lie in the worker's slab of the shared memory; a
 * batch names them by offset. Nothing is allocated per packet.
 */

import { BATCH_PACKETS_MAX, GROUP_PACKETS_MAX } from "../tables/arena.js";

/** Octets of the device header in front of each packet, where the device has one. */
export const VNET_HEADER_BYTES = 10;

/** What became of one message of `sendBatch`. */
export const SEND_DONE = 0;
/** The kernel refuses a packet of this size on the path. */
export const SEND_TOO_BIG = 1;
/** Another refusal, after retries. */
export const SEND_FAILED = 2;

/** Why a received message cannot be cut into datagrams; in place of the segment size. */
export const MESSAGE_BAD_CONTROL = -1;
export const MESSAGE_BAD_SEGMENT_SIZE = -2;
export const MESSAGE_TRUNCATED = -3;

/** Packets in a slab: parallel arrays, `count` of them valid. One object for the worker's life. */
export class PacketBatch {
  readonly capacity: number;
  count = 0;
  /** Byte offset of the packet (a multiple of 4), or of its header when it has a payload apart. */
  readonly offsets: Int32Array;
  readonly lengths: Int32Array;
  /** Sending: payload that lies elsewhere and follows the header; length 0 when there is none. */
  readonly payloadOffsets: Int32Array;
  readonly payloadLengths: Int32Array;
  /** Receiving: octets of each datagram of the message but the last; or MESSAGE_…. */
  readonly segmentSizes: Int32Array;
  /** Tunnel only: byte offset of the remote gateway's address (4 or 16 bytes, multiple of 4). */
  readonly addressOffsets: Int32Array;
  /** Tunnel only: UDP port of the remote gateway. */
  readonly ports: Int32Array;
  /** Filled by `sendBatch`: SEND_… of each message. */
  readonly outcomes: Uint8Array;

  constructor(capacity: number = BATCH_PACKETS_MAX) {
    this.capacity = capacity;
    this.offsets = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
    this.payloadOffsets = new Int32Array(capacity);
    this.payloadLengths = new Int32Array(capacity);
    this.segmentSizes = new Int32Array(capacity);
    this.addressOffsets = new Int32Array(capacity);
    this.ports = new Int32Array(capacity);
    this.outcomes = new Uint8Array(capacity);
  }

  /** Appends a packet from the local network; the batch has room. */
  addLocal(offset: number, length: number): void {
    this.offsets[this.count] = offset;
    this.lengths[this.count] = length;
    this.payloadLengths[this.count] = 0;
    this.segmentSizes[this.count] = length;
    this.count++;
  }

  /** Appends a packet of the tunnel; the batch has room. */
  addTunnel(offset: number, length: number, addressOffset: number, port: number): void {
    this.addressOffsets[this.count] = addressOffset;
    this.ports[this.count] = port;
    this.addLocal(offset, length);
  }

  /** Appends a received message of datagrams of `segmentSize` octets; the batch has room. */
  addMessage(
    offset: number,
    length: number,
    segmentSize: number,
    addressOffset: number,
    port: number,
  ): void {
    this.addTunnel(offset, length, addressOffset, port);
    this.segmentSizes[this.count - 1] = segmentSize;
  }

  /** Octets of packet `index`, payload included. */
  totalLength(index: number): number {
    return this.lengths[index]! + this.payloadLengths[index]!;
  }
}

/**
 * Packets for the local network. Each begins at its IP header, in front of which there is room for
 * a device header; the rest of a super-packet is gathered from pieces that lie elsewhere.
 */
export class WriteBatch {
  readonly capacity: number;
  count = 0;
  readonly offsets: Int32Array;
  readonly lengths: Int32Array;
  /** Pieces of packet p: places p * GROUP_PACKETS_MAX on of the two arrays. */
  readonly pieceCounts: Int32Array;
  readonly pieceOffsets: Int32Array;
  readonly pieceLengths: Int32Array;
  /** Packets as they came from the tunnel, joined in this one. */
  readonly packetCounts: Int32Array;
  /** Filled by `writeBatch`: 1 for each packet that the kernel refused. */
  readonly refused: Uint8Array;
  /** Filled by `writeBatch`: tunnel packets of the packets that the kernel refused. */
  refusedPackets = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.offsets = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
    this.pieceCounts = new Int32Array(capacity);
    this.pieceOffsets = new Int32Array(capacity * GROUP_PACKETS_MAX);
    this.pieceLengths = new Int32Array(capacity * GROUP_PACKETS_MAX);
    this.packetCounts = new Int32Array(capacity);
    this.refused = new Uint8Array(capacity);
  }

  /** Appends a packet; the batch has room. Returns its index. */
  add(offset: number, length: number): number {
    const index = this.count++;
    this.offsets[index] = offset;
    this.lengths[index] = length;
    this.pieceCounts[index] = 0;
    this.packetCounts[index] = 1;
    this.refused[index] = 0;
    return index;
  }

  /** Appends a piece to packet `index`, which has fewer than GROUP_PACKETS_MAX. */
  addPiece(index: number, offset: number, length: number): void {
    const piece = index * GROUP_PACKETS_MAX + this.pieceCounts[index]!++;
    this.pieceOffsets[piece] = offset;
    this.pieceLengths[piece] = length;
  }
}

/** The TUN device: whole IP packets. */
export interface TunPort {
  /**
   * Blocks until packets can be read, or for `sideRestMs` milliseconds: so long the side queue does
   * not count; 0: it counts at once. With `pauseUs` above 0 it first stops for so many
   * microseconds, in which nothing wakes it. False: the worker is told to end.
   */
  waitReadable(sideRestMs: number, pauseUs: number): boolean;
  /**
   * Fills the batch (offset and length) with the packets that wait. With device headers, that of
   * a packet lies in the VNET_HEADER_BYTES in front of it (vnet-header.ts). A length below 1
   * means that there was no packet behind a device header.
   */
  readBatch(batch: PacketBatch): void;
  /**
   * True when the last wait found packets in the side queue: those that are not simple, where the
   * device tells them apart.
   */
  hasSidePackets(): boolean;
  /** As `readBatch`, with the packets of the side queue. */
  readSideBatch(batch: PacketBatch): void;
  /**
   * Writes all packets of the batch, in order, with the device headers in front of them where the
   * device has these; returns how many were refused.
   */
  writeBatch(batch: WriteBatch): number;
}

/** The tunnel socket: UDP datagrams. */
export interface TunnelPort {
  /** Blocks until datagrams can be received. False: the worker is told to end. */
  waitReadable(): boolean;
  /** True once after a wait that found news in the socket's error queue. */
  takeErrorNotice(): boolean;
  /** Fills the batch (offset, length, segment size, source address and port) with what waits. */
  receiveBatch(batch: PacketBatch): void;
  /** Sends all packets of the batch, in order, and fills `outcomes`; returns how many failed. */
  sendBatch(batch: PacketBatch): number;
}
