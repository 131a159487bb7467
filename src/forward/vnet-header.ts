/**
 * The device header of the TUN device (linux/virtio_net.h, struct virtio_net_hdr; Virtual I/O
 * Device 1.2, 5.1.6), ten octets in front of each IP packet, numbers in the machine's byte order
 * (little-endian here):
 *
 *   octet 0 flags, 1 kind of super-packet, 2-3 length of all headers, 4-5 segment size,
 *   6-7 where the checksummed part begins, 8-9 where the checksum lies in it
 *
 * Read: what the kernel left for the reader to do, each number checked against the packet before
 * it is used. Written: what the gateway leaves for the kernel. Worker thread.
 */

import { foldSum } from "../kernel/checksum-update.js";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/packet-fields.js";
import type { FastPathMemory } from "./fast-path.js";
import { VNET_HEADER_BYTES } from "./ports.js";

/** VIRTIO_NET_HDR_F_NEEDS_CSUM: the checksum field holds the sum of the pseudo header only. */
const FLAG_NEEDS_CHECKSUM = 1;

// VIRTIO_NET_HDR_GSO_…
const KIND_NONE = 0;
const KIND_TCP_IPV4 = 1;
const KIND_TCP_IPV6 = 4;
const KIND_UDP = 5;
/** The first segment may carry CWR (RFC 3168 6.1.2); set beside a TCP kind. */
const KIND_ECN = 0x80;

const IPV4_LENGTH_MIN = 20;
const IPV6_LENGTH = 40;
const UDP_LENGTH = 8;
const TCP_LENGTH_MIN = 20;
export const TCP_CHECKSUM = 16;
export const UDP_CHECKSUM = 6;

/** What `read` says of packets that cannot be used. */
export const VNET_BAD_HEADER = -1;
export const VNET_BAD_SEGMENT_SIZE = -2;
export const VNET_BAD_CHECKSUM_PLACE = -3;
export const VNET_BAD_LENGTH = -4;

/** Reads device headers; one object for the worker's life. */
export class VnetReader {
  /** Of the last super-packet: its transport header, and how long that and the payload are. */
  protocol: typeof PROTOCOL_TCP | typeof PROTOCOL_UDP = PROTOCOL_TCP;
  layer4 = 0;
  layer4HeaderLength = 0;
  payloadLength = 0;
  readonly #memory: FastPathMemory;

  constructor(memory: FastPathMemory) {
    this.#memory = memory;
  }

  /**
   * Checks the device header of the packet at `offset` (a multiple of 4) and completes the checksum
   * of a packet of one segment. Returns 0 for such a packet, the segment size for a super-packet,
   * VNET_BAD_… for one to be dropped.
   */
  read(offset: number, length: number): number {
    const { bytes, halves } = this.#memory;
    if (length < 1) return VNET_BAD_HEADER;
    const header = offset - VNET_HEADER_BYTES;
    const kind = bytes[header + 1]!;
    if (kind !== KIND_NONE) return this.#readSuperPacket(offset, length, kind & ~KIND_ECN);
    if ((bytes[header]! & FLAG_NEEDS_CHECKSUM) === 0) return 0;
    const start = halves[(header + 6) >>> 1]!;
    const place = start + halves[(header + 8) >>> 1]!;
    return this.#complete(offset, length, start, place);
  }

  /** RFC 1071: the inverted sum of the checksummed part, which holds that of the pseudo header. */
  #complete(offset: number, length: number, start: number, place: number): number {
    const isInside = start >= IPV4_LENGTH_MIN && place + 2 <= length;
    if (!isInside || ((start | place) & 1) !== 0) return VNET_BAD_CHECKSUM_PLACE;
    const { kernel, halves } = this.#memory;
    const sum = kernel.sum(offset + start, length - start);
    halves[(offset + place) >>> 1] = sum === 0xffff ? 0xffff : sum ^ 0xffff;
    return 0;
  }

  #readSuperPacket(offset: number, length: number, kind: number): number {
    const { bytes, halves } = this.#memory;
    const isIpv4 = bytes[offset]! >>> 4 === 4;
    const headerLength = isIpv4 ? (bytes[offset]! & 15) * 4 : IPV6_LENGTH;
    if (headerLength < IPV4_LENGTH_MIN || length < headerLength + UDP_LENGTH) {
      return VNET_BAD_HEADER;
    }
    const protocol = bytes[offset + (isIpv4 ? 9 : 6)]!;
    if (!isKindOf(kind, isIpv4, bytes[offset]! >>> 4, protocol)) return VNET_BAD_HEADER;
    if (this.#ipLength(offset, isIpv4) !== length) return VNET_BAD_LENGTH;
    if (isIpv4 && ((bytes[offset + 6]! & 0x3f) | bytes[offset + 7]!) !== 0) return VNET_BAD_HEADER;
    const layer4 = offset + headerLength;
    const isTcp = protocol === PROTOCOL_TCP;
    if (isTcp && length < headerLength + TCP_LENGTH_MIN) return VNET_BAD_HEADER;
    const layer4HeaderLength = isTcp ? (bytes[layer4 + 12]! >>> 4) * 4 : UDP_LENGTH;
    const payloadLength = length - headerLength - layer4HeaderLength;
    if ((isTcp && layer4HeaderLength < TCP_LENGTH_MIN) || payloadLength < 1) return VNET_BAD_HEADER;
    const segmentSize = halves[(offset - VNET_HEADER_BYTES + 4) >>> 1]!;
    if (segmentSize === 0 || segmentSize > payloadLength) return VNET_BAD_SEGMENT_SIZE;
    this.protocol = isTcp ? PROTOCOL_TCP : PROTOCOL_UDP;
    this.layer4 = layer4;
    this.layer4HeaderLength = layer4HeaderLength;
    this.payloadLength = payloadLength;
    return segmentSize;
  }

  #ipLength(offset: number, isIpv4: boolean): number {
    const { bytes } = this.#memory;
    const at = offset + (isIpv4 ? 2 : 4);
    return ((bytes[at]! << 8) | bytes[at + 1]!) + (isIpv4 ? 0 : IPV6_LENGTH);
  }
}

/** True when the packet is of the kind that its device header names. */
function isKindOf(kind: number, isIpv4: boolean, version: number, protocol: number): boolean {
  if (!isIpv4 && version !== 6) return false;
  if (kind === KIND_TCP_IPV4) return isIpv4 && protocol === PROTOCOL_TCP;
  if (kind === KIND_TCP_IPV6) return !isIpv4 && protocol === PROTOCOL_TCP;
  return kind === KIND_UDP && protocol === PROTOCOL_UDP;
}

/** Writes the device header of an ordinary packet with a complete checksum. */
export function writePlainVnet(halves: Uint16Array, offset: number): void {
  const at = (offset - VNET_HEADER_BYTES) >>> 1;
  for (let half = 0; half < VNET_HEADER_BYTES >>> 1; half++) halves[at + half] = 0;
}

/**
 * Writes the device header of a super-packet and the sum of its pseudo header into its checksum
 * field. `pseudoSum` covers addresses, protocol and length, in little-endian words.
 */
export function writeSuperVnet(
  halves: Uint16Array,
  offset: number,
  ipLength: 20 | 40,
  protocol: number,
  layer4HeaderLength: number,
  segmentSize: number,
  pseudoSum: number,
): void {
  const at = (offset - VNET_HEADER_BYTES) >>> 1;
  const isTcp = protocol === PROTOCOL_TCP;
  const tcpKind = ipLength === 20 ? KIND_TCP_IPV4 : KIND_TCP_IPV6;
  const place = isTcp ? TCP_CHECKSUM : UDP_CHECKSUM;
  halves[at] = FLAG_NEEDS_CHECKSUM | ((isTcp ? tcpKind : KIND_UDP) << 8);
  halves[at + 1] = ipLength + layer4HeaderLength;
  halves[at + 2] = segmentSize;
  halves[at + 3] = ipLength;
  halves[at + 4] = place;
  halves[(offset + ipLength + place) >>> 1] = foldSum(pseudoSum);
}
