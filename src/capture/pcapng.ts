/**
 * Blocks of a pcapng file (draft-ietf-opsawg-pcapng-03), little-endian:
 *
 *   0  block type (32)   4  octets of the block (32)   8  body   then options   then octets again
 *
 *   an option: 0 code (16)   2 length (16)   4 value, padded to a multiple of 4; code 0 ends them
 *
 * A file has one section, one interface for each side of the gateway, packets with nanosecond
 * timestamps and a comment each, and the statistics of each interface at its end. `BlockReader`
 * takes such a stream apart again.
 */

const TYPE_SECTION = 0x0a0d0d0a;
const TYPE_INTERFACE = 1;
const TYPE_STATISTICS = 5;
const TYPE_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const VERSION_MAJOR = 1;
const VERSION_MINOR = 0;
const BLOCK_HEAD_BYTES = 8;
const BLOCK_BYTES_MIN = 12;
/** Longer blocks than this are in no file of ours: a packet, its comment, and their heads. */
const BLOCK_BYTES_MAX = 256 * 1024;

const OPTION_END = 0;
const OPTION_COMMENT = 1;
const SECTION_APPLICATION = 4;
const INTERFACE_NAME = 2;
const INTERFACE_DESCRIPTION = 3;
const INTERFACE_TIME_RESOLUTION = 9;
const INTERFACE_FILTER = 11;
const PACKET_FLAGS = 2;
const STATISTICS_START = 2;
const STATISTICS_END = 3;
const STATISTICS_RECEIVED = 4;
const STATISTICS_DROPPED = 5;
/** Timestamps count units of 10^-9 seconds. */
const NANOSECONDS = 9;
/** A filter as the text that libpcap's language has. */
const FILTER_IS_TEXT = 0;

/** LINKTYPE_RAW: packets begin with an IPv4 or IPv6 header (tcpdump.org/linktypes.html). */
export const LINK_RAW = 101;
/** LINKTYPE_USER0: messages of the mapper socket. */
export const LINK_USER0 = 147;

/** epb_flags, bits 0 and 1. */
export const PACKET_INBOUND = 1;
export const PACKET_OUTBOUND = 2;

/** Octets of the beginning of a text as an option may have them. */
const OPTION_BYTES_MAX = 0xffff - 3;

interface Option {
  readonly code: number;
  readonly value: Uint8Array;
}

/** The section header; `comment` tells what was captured. */
export function sectionBlock(application: string, comment: string): Uint8Array {
  const body = new Uint8Array(16);
  const view = new DataView(body.buffer);
  view.setUint32(0, BYTE_ORDER_MAGIC, true);
  view.setUint16(4, VERSION_MAJOR, true);
  view.setUint16(6, VERSION_MINOR, true);
  // The length of the section is not known yet.
  view.setBigInt64(8, -1n, true);
  return block(TYPE_SECTION, body, [
    { code: SECTION_APPLICATION, value: ascii(application) },
    ...(comment === "" ? [] : [{ code: OPTION_COMMENT, value: ascii(comment) }]),
  ]);
}

/** An interface: a side of the gateway. */
export interface CaptureInterface {
  readonly name: string;
  readonly description: string;
  readonly snaplen: number;
  /** Text of the filter; empty for none. */
  readonly filter: string;
  /** LINK_RAW unless it is another one. */
  readonly link?: number;
}

export function interfaceBlock(of: CaptureInterface): Uint8Array {
  const body = new Uint8Array(8);
  const view = new DataView(body.buffer);
  view.setUint16(0, of.link ?? LINK_RAW, true);
  view.setUint32(4, of.snaplen, true);
  const filter = Uint8Array.of(FILTER_IS_TEXT, ...ascii(of.filter));
  return block(TYPE_INTERFACE, body, [
    { code: INTERFACE_NAME, value: ascii(of.name) },
    { code: INTERFACE_DESCRIPTION, value: ascii(of.description) },
    { code: INTERFACE_TIME_RESOLUTION, value: Uint8Array.of(NANOSECONDS) },
    ...(of.filter === "" ? [] : [{ code: INTERFACE_FILTER, value: filter }]),
  ]);
}

/** A packet. */
export interface CapturedPacket {
  /** Number of the interface, from 0. */
  readonly on: number;
  /** Nanoseconds since 1970. */
  readonly timeNs: bigint;
  /** What was kept of it; borrowed. */
  readonly packet: Uint8Array;
  readonly originalLength: number;
  readonly flags: typeof PACKET_INBOUND | typeof PACKET_OUTBOUND;
  readonly comment: string;
}

export function packetBlock(of: CapturedPacket): Uint8Array {
  const body = new Uint8Array(20 + padded(of.packet.length));
  const view = new DataView(body.buffer);
  view.setUint32(0, of.on, true);
  setTime(view, 4, of.timeNs);
  view.setUint32(12, of.packet.length, true);
  view.setUint32(16, of.originalLength, true);
  body.set(of.packet, 20);
  const flags = new Uint8Array(4);
  new DataView(flags.buffer).setUint32(0, of.flags, true);
  return block(TYPE_PACKET, body, [
    { code: PACKET_FLAGS, value: flags },
    { code: OPTION_COMMENT, value: ascii(of.comment) },
  ]);
}

/** What was seen on an interface. */
export interface InterfaceStatistics {
  readonly on: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** Packets in the file and packets that were lost on the way to it. */
  readonly received: number;
  readonly dropped: number;
}

export function statisticsBlock(of: InterfaceStatistics): Uint8Array {
  const body = new Uint8Array(12);
  const view = new DataView(body.buffer);
  view.setUint32(0, of.on, true);
  setTime(view, 4, of.endNs);
  return block(TYPE_STATISTICS, body, [
    { code: STATISTICS_START, value: timeValue(of.startNs) },
    { code: STATISTICS_END, value: timeValue(of.endNs) },
    { code: STATISTICS_RECEIVED, value: countValue(of.received) },
    { code: STATISTICS_DROPPED, value: countValue(of.dropped) },
  ]);
}

function block(type: number, body: Uint8Array, options: readonly Option[]): Uint8Array {
  const optionBytes = options.reduce((sum, { value }) => sum + 4 + padded(value.length), 4);
  const total = BLOCK_BYTES_MIN + body.length + optionBytes;
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, total, true);
  bytes.set(body, BLOCK_HEAD_BYTES);
  let at = BLOCK_HEAD_BYTES + body.length;
  for (const { code, value } of options) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  view.setUint32(at, OPTION_END, true);
  view.setUint32(at + 4, total, true);
  return bytes;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

/** A time is two 32-bit words, the high one first. */
function setTime(view: DataView, offset: number, timeNs: bigint): void {
  view.setUint32(offset, Number(timeNs >> 32n), true);
  view.setUint32(offset + 4, Number(timeNs & 0xffff_ffffn), true);
}

function timeValue(timeNs: bigint): Uint8Array {
  const value = new Uint8Array(8);
  setTime(new DataView(value.buffer), 0, timeNs);
  return value;
}

function countValue(count: number): Uint8Array {
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigUint64(0, BigInt(count), true);
  return value;
}

/** Our texts are ASCII, which is UTF-8; anything else becomes a question mark. */
function ascii(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.min(text.length, OPTION_BYTES_MAX));
  for (let index = 0; index < bytes.length; index++) {
    const code = text.charCodeAt(index);
    bytes[index] = code < 0x20 || code > 0x7e ? 0x3f : code;
  }
  return bytes;
}

/** A block of a stream. */
export type StreamBlock =
  | { readonly kind: "section" | "interface" | "other" }
  | { readonly kind: "packet"; readonly on: number; readonly length: number }
  | {
      readonly kind: "statistics";
      readonly on: number;
      readonly received: number;
      readonly dropped: number;
    };

/** Takes a stream of blocks apart, whatever pieces it arrives in. */
export class BlockReader {
  #rest: Uint8Array = new Uint8Array(0);

  /** True when the stream has ended within a block. */
  get isInBlock(): boolean {
    return this.#rest.length > 0;
  }

  /** The blocks that the piece completes; undefined when this is no pcapng stream of ours. */
  take(piece: Uint8Array): readonly StreamBlock[] | undefined {
    const bytes = this.#rest.length === 0 ? piece : joined(this.#rest, piece);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const blocks: StreamBlock[] = [];
    let at = 0;
    while (bytes.length - at >= BLOCK_HEAD_BYTES) {
      const total = view.getUint32(at + 4, true);
      if (total < BLOCK_BYTES_MIN || total % 4 !== 0 || total > BLOCK_BYTES_MAX) return undefined;
      if (bytes.length - at < total) break;
      if (view.getUint32(at + total - 4, true) !== total) return undefined;
      blocks.push(readBlock(view, at, total));
      at += total;
    }
    this.#rest = bytes.slice(at);
    return blocks;
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}

function readBlock(view: DataView, at: number, total: number): StreamBlock {
  const type = view.getUint32(at, true);
  if (type === TYPE_SECTION) return { kind: "section" };
  if (type === TYPE_INTERFACE) return { kind: "interface" };
  if (type === TYPE_PACKET && total >= 32) {
    const length = view.getUint32(at + 24, true);
    return { kind: "packet", on: view.getUint32(at + 8, true), length };
  }
  if (type !== TYPE_STATISTICS || total < 24) return { kind: "other" };
  const counts = readCounts(view, at + 20, at + total - 4);
  return { kind: "statistics", on: view.getUint32(at + 8, true), ...counts };
}

function readCounts(view: DataView, start: number, end: number) {
  let received = 0;
  let dropped = 0;
  for (let at = start; at + 4 <= end; ) {
    const code = view.getUint16(at, true);
    const length = view.getUint16(at + 2, true);
    if (code === OPTION_END || at + 4 + length > end) break;
    const isCount = length === 8;
    if (isCount && code === STATISTICS_RECEIVED) received = Number(view.getBigUint64(at + 4, true));
    if (isCount && code === STATISTICS_DROPPED) dropped = Number(view.getBigUint64(at + 4, true));
    at += 4 + padded(length);
  }
  return { received, dropped };
}
