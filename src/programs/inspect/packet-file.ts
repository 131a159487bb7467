/**
 * One packet out of a capture file: pcap (draft-ietf-opsawg-pcap) and pcapng
 * (draft-ietf-opsawg-pcapng) of both byte orders, with the link types that tcpdump and Wireshark
 * write for IP. The file is not trusted.
 */

import { closeSync, openSync, readSync } from "node:fs";

/** What is read of a file: packets far behind are found by tools that can select. */
const INPUT_BYTES_MAX = 256 * 2 ** 20;
const PIECE_BYTES = 2 ** 16;
/** More than IP can carry: what is longer is no packet (RFC 791 3.1, and IPv6's header). */
const PACKET_BYTES_MAX = 65_600;
const STANDARD_INPUT = 0;
const PCAP_MAGICS: ReadonlySet<number> = new Set([0xa1b2c3d4, 0xa1b23c4d]);
const PCAPNG_MAGIC = 0x0a0d0d0a;
const PCAPNG_BYTE_ORDER = 0x1a2b3c4d;
const PCAP_HEADER_BYTES = 24;
const PCAP_RECORD_BYTES = 16;
const PCAPNG_BLOCK_BYTES_MIN = 12;
const BLOCK_INTERFACE = 1;
const BLOCK_SIMPLE = 3;
const BLOCK_ENHANCED = 6;

/** Octets in front of the IP header, by link type (tcpdump.org/linktypes.html). */
const LINK_HEADERS: ReadonlyMap<number, number> = new Map([
  [0, 4], // NULL
  [1, 14], // ETHERNET
  [101, 0], // RAW
  [113, 16], // LINUX_SLL
  [228, 0], // IPV4
  [229, 0], // IPV6
  [276, 20], // LINUX_SLL2
]);
const LINK_ETHERNET = 1;
const VLAN_BYTES = 4;
const ETHERTYPE_VLAN = 0x8100;

/** A file that holds no such packet; the message is a sentence. */
export class FileRefused extends Error {
  override readonly name = "FileRefused";
}

/** The octets of a file, or of standard input for `-`; throws FileRefused. */
export function readInput(path: string, bytesMax = INPUT_BYTES_MAX): Uint8Array {
  try {
    const file = path === "-" ? STANDARD_INPUT : openSync(path, "r");
    try {
      return readPieces(file, path, bytesMax);
    } finally {
      if (file !== STANDARD_INPUT) closeSync(file);
    }
  } catch (error) {
    if (error instanceof FileRefused) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new FileRefused(
      `Cannot read ${path}: ${code}; --packet wants hexadecimal, a capture file, or -`,
    );
  }
}

function readPieces(file: number, path: string, bytesMax: number): Uint8Array {
  const pieces: Buffer[] = [];
  for (let bytes = 0; ; ) {
    const piece = Buffer.alloc(PIECE_BYTES);
    const length = readSync(file, piece);
    if (length === 0) return Buffer.concat(pieces);
    bytes += length;
    if (bytes > bytesMax) {
      throw new FileRefused(`${path} is longer than ${bytesMax} octets; cut it with editcap`);
    }
    pieces.push(Buffer.from(piece.subarray(0, length)));
  }
}

/** True for the beginning of a capture file of either kind. */
export function isCaptureFile(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && kindOf(bytes) !== undefined;
}

/** The IP packet number `wanted` (from 1 on) of a capture file; throws FileRefused. */
export function packetOfFile(bytes: Uint8Array, wanted: number): Uint8Array {
  const kind = kindOf(bytes);
  if (kind === undefined)
    throw new FileRefused("The file is no capture file: wanted pcap or pcapng");
  let count = 0;
  for (const packet of kind === "pcap" ? pcapPackets(bytes) : pcapngPackets(bytes)) {
    if (++count === wanted) return ipPacket(packet);
  }
  throw new FileRefused(`The file has ${count} packets; number ${wanted} was asked for`);
}

interface LinkedPacket {
  readonly link: number;
  readonly bytes: Uint8Array;
}

function kindOf(bytes: Uint8Array): "pcap" | "pcapng" | undefined {
  const view = viewOf(bytes);
  const [big, little] = [view.getUint32(0), view.getUint32(0, true)];
  if (big === PCAPNG_MAGIC) return "pcapng";
  return PCAP_MAGICS.has(big) || PCAP_MAGICS.has(little) ? "pcap" : undefined;
}

function* pcapPackets(bytes: Uint8Array): Generator<LinkedPacket> {
  const view = viewOf(bytes);
  if (bytes.length < PCAP_HEADER_BYTES) return;
  const isLittle = PCAP_MAGICS.has(view.getUint32(0, true));
  const link = view.getUint32(20, isLittle) & 0xffff;
  for (let at = PCAP_HEADER_BYTES; at + PCAP_RECORD_BYTES <= bytes.length; ) {
    const length = view.getUint32(at + 8, isLittle);
    const start = at + PCAP_RECORD_BYTES;
    if (start + length > bytes.length) return;
    yield { link, bytes: bytes.subarray(start, start + length) };
    at = start + length;
  }
}

function* pcapngPackets(bytes: Uint8Array): Generator<LinkedPacket> {
  const view = viewOf(bytes);
  let links: number[] = [];
  let isLittle = true;
  for (let at = 0; at + PCAPNG_BLOCK_BYTES_MIN <= bytes.length; ) {
    const isSection = view.getUint32(at) === PCAPNG_MAGIC;
    if (isSection) {
      isLittle = view.getUint32(at + 8, true) === PCAPNG_BYTE_ORDER;
      links = [];
    }
    const type = view.getUint32(at, isLittle);
    const length = view.getUint32(at + 4, isLittle);
    if (length < PCAPNG_BLOCK_BYTES_MIN || length % 4 !== 0 || at + length > bytes.length) return;
    const body = bytes.subarray(at + 8, at + length - 4);
    if (type === BLOCK_INTERFACE && body.length >= 8)
      links.push(viewOf(body).getUint16(0, isLittle));
    const packet = packetOfBlock(type, body, links, isLittle);
    if (packet !== undefined) yield packet;
    at += length;
  }
}

function packetOfBlock(
  type: number,
  body: Uint8Array,
  links: readonly number[],
  isLittle: boolean,
): LinkedPacket | undefined {
  const view = viewOf(body);
  if (type === BLOCK_ENHANCED && body.length >= 20) {
    const link = links[view.getUint32(0, isLittle)];
    const length = view.getUint32(12, isLittle);
    if (link === undefined || 20 + length > body.length) return undefined;
    return { link, bytes: body.subarray(20, 20 + length) };
  }
  if (type === BLOCK_SIMPLE && body.length >= 4 && links[0] !== undefined) {
    const length = Math.min(view.getUint32(0, isLittle), body.length - 4);
    return { link: links[0], bytes: body.subarray(4, 4 + length) };
  }
  return undefined;
}

/** The packet behind its link header. */
function ipPacket({ link, bytes }: LinkedPacket): Uint8Array {
  const header = LINK_HEADERS.get(link);
  if (header === undefined) {
    throw new FileRefused(`The file has link type ${link}; wanted IP, Ethernet or Linux cooked`);
  }
  const view = viewOf(bytes);
  const hasTag =
    link === LINK_ETHERNET && bytes.length >= 14 && view.getUint16(12) === ETHERTYPE_VLAN;
  const start = header + (hasTag ? VLAN_BYTES : 0);
  if (bytes.length - start > PACKET_BYTES_MAX) {
    throw new FileRefused("The packet of the file is longer than IP can carry");
  }
  return bytes.slice(start);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
