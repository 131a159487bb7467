/**
 * MSS clamps: a TCP connection through the tunnel starts at a segment size that fits, also when
 * the ICMP messages about path MTUs are lost (spec/tunnel.md 7.5, 7.6; RFC 9293 3.7.1, RFC 6691).
 *
 * The option of a SYN says what its sender can take. Both gateways lower it, each in both
 * directions: in a SYN from the local network to what the remote gateway can get to us, in a SYN
 * from the tunnel to what we can send, so each connection passes two clamps even when only one of
 * the gateways has them. An option that is small enough stays, and none is ever added.
 *
 * Of the slow path and of the forwarding workers alike; any thread, memory of the caller.
 */

import type { IpVersion } from "../base/ip.js";
import { ipHeaderLength } from "../base/ip.js";
import { PROTOCOL_TCP } from "../wire/packet-fields.js";
import type { FastPathMemory } from "./fast-path.js";

/** TCP header without options: what an MSS leaves out besides the IP header (RFC 6691 2). */
const TCP_HEADER_BYTES = 20;
const TCP_CHECKSUM = 16;
const TCP_DATA_OFFSET = 12;
const TCP_FLAGS = 13;
const FLAG_SYN = 0x02;
// RFC 9293 3.2: option kinds.
const OPTION_END = 0;
const OPTION_NONE = 1;
const OPTION_MSS = 2;
const OPTION_MSS_LENGTH = 4;
/** No path is so narrow; linux/tcp.h TCP_MIN_MSS. */
const MSS_MIN = 88;
/** Octet 0 of a tunnel packet of format G: fragment information follows (spec/tunnel.md 2.1). */
const FLAG_FRAGMENT = 0x02;

/** Octets of format G without references and contexts, and of its longest references. */
const FIXED_BYTES = 4;
const REFERENCE_BYTES_MAX = 16;

/** Largest MSS of a packet that passes the TUN device. */
export function localMssMax(tunMtuBytes: number, localVersion: IpVersion): number {
  return tunMtuBytes - ipHeaderLength(localVersion) - TCP_HEADER_BYTES;
}

/** Length of the header of format G with contexts of this version and the longest references. */
export function longestTunnelHeader(tunnelVersion: IpVersion): number {
  return FIXED_BYTES + 2 * contextBytes(tunnelVersion) + 2 * REFERENCE_BYTES_MAX;
}

/**
 * Largest MSS towards a remote gateway: M less the tunnel header, and never more than the TUN
 * device carries. `bytesMax` (M) 0: nothing is known of the path.
 */
export function tunnelMssMax(bytesMax: number, tunnelHeader: number, localMax: number): number {
  const pathMax = bytesMax === 0 ? localMax : bytesMax - tunnelHeader - TCP_HEADER_BYTES;
  return Math.max(MSS_MIN, Math.min(localMax, pathMax));
}

/**
 * Lowers the MSS option of the TCP segment at `layer4`, of which `length` octets are there, to
 * `mssMax`. True when it was changed; the checksum then stays as right or wrong as it was.
 */
export function clampMss(
  bytes: Uint8Array,
  layer4: number,
  length: number,
  mssMax: number,
): boolean {
  if (length < TCP_HEADER_BYTES || (bytes[layer4 + TCP_FLAGS]! & FLAG_SYN) === 0) return false;
  const end = (bytes[layer4 + TCP_DATA_OFFSET]! >>> 4) * 4;
  if (end > length) return false;
  const option = findMss(bytes, layer4, end);
  if (option === 0) return false;
  const value = layer4 + option + 2;
  if (((bytes[value]! << 8) | bytes[value + 1]!) <= mssMax) return false;
  const before = weigh(bytes, value, option);
  bytes[value] = mssMax >>> 8;
  bytes[value + 1] = mssMax & 0xff;
  updateChecksum(bytes, layer4 + TCP_CHECKSUM, before, weigh(bytes, value, option));
  return true;
}

/**
 * Clamps the SYN in the tunnel packet of format G at `offset`, if it is one, to what fits M
 * (`bytesMax`). Tunnel packets with fragment information stay.
 */
export function clampTunnelPacket(
  bytes: Uint8Array,
  offset: number,
  length: number,
  limits: { readonly tunnelVersion: IpVersion; readonly localMax: number },
  bytesMax: number,
): boolean {
  const first = bytes[offset]!;
  if (bytes[offset + 3] !== PROTOCOL_TCP || (first & FLAG_FRAGMENT) !== 0) return false;
  const references = 8 << ((first >>> 2) & 3);
  const header = FIXED_BYTES + 2 * contextBytes(limits.tunnelVersion) + references;
  const mssMax = tunnelMssMax(bytesMax, header, limits.localMax);
  return clampMss(bytes, offset + header, length - header, mssMax);
}

/**
 * Clamps the SYN in the native packet `packet`, if it is one and whole, to `mssMax`. Packets with
 * options or extension headers in front of TCP stay.
 */
export function clampNativePacket(packet: Uint8Array, mssMax: number): boolean {
  if (packet.length < 40) return false;
  if (packet[0]! >>> 4 === 6) {
    return packet[6] === PROTOCOL_TCP && clampMss(packet, 40, packet.length - 40, mssMax);
  }
  // Neither more fragments nor an offset (RFC 791 3.1).
  const isWhole = (packet[6]! & 0x3f) === 0 && packet[7] === 0;
  if (packet[0] !== 0x45 || packet[9] !== PROTOCOL_TCP || !isWhole) return false;
  return clampMss(packet, 20, packet.length - 20, mssMax);
}

/** What a forwarding worker clamps with; one object for the worker's life. */
export class MssClamp {
  readonly #memory: FastPathMemory;
  readonly #limits: { readonly tunnelVersion: IpVersion; readonly localMax: number };

  /** `localMax`: see localMssMax. */
  constructor(memory: FastPathMemory, tunnelVersion: IpVersion, localMax: number) {
    this.#memory = memory;
    this.#limits = { tunnelVersion, localMax };
  }

  /** A tunnel packet that the fast path made, on its way to the gateway at `addressOffset`. */
  toTunnel(offset: number, length: number, addressOffset: number): void {
    const { bytes, contextWords } = this.#memory;
    if (bytes[offset + 3] !== PROTOCOL_TCP) return;
    const references = 8 << ((bytes[offset]! >>> 2) & 3);
    const layer4 = offset + FIXED_BYTES + 8 * contextWords + references;
    if ((bytes[layer4 + TCP_FLAGS]! & FLAG_SYN) === 0) return;
    clampTunnelPacket(bytes, offset, length, this.#limits, this.#bytesMaxOf(addressOffset));
  }

  /**
   * A segment at `layer4`, as a native packet, that came with a tunnel header of `tunnelLength`
   * octets from the gateway at `addressOffset`.
   */
  fromTunnel(layer4: number, length: number, tunnelLength: number, addressOffset: number): void {
    const { bytes } = this.#memory;
    if (length < TCP_HEADER_BYTES || (bytes[layer4 + TCP_FLAGS]! & FLAG_SYN) === 0) return;
    const bytesMax = this.#bytesMaxOf(addressOffset);
    clampMss(bytes, layer4, length, tunnelMssMax(bytesMax, tunnelLength, this.#limits.localMax));
  }

  #bytesMaxOf(addressOffset: number): number {
    const { peers, contextWords } = this.#memory;
    const entry = peers.findAt(addressOffset >>> 2, contextWords);
    return entry === 0 ? 0 : peers.packetBytesMax(entry);
  }
}

function contextBytes(tunnelVersion: IpVersion): 4 | 16 {
  return tunnelVersion === 4 ? 4 : 16;
}

/** Position in the header of the MSS option, or 0. */
function findMss(bytes: Uint8Array, layer4: number, end: number): number {
  for (let at = TCP_HEADER_BYTES; at + 1 < end; ) {
    const kind = bytes[layer4 + at]!;
    if (kind === OPTION_END) return 0;
    if (kind === OPTION_NONE) {
      at++;
      continue;
    }
    const length = bytes[layer4 + at + 1]!;
    if (length < 2 || at + length > end) return 0;
    if (kind === OPTION_MSS) return length === OPTION_MSS_LENGTH ? at : 0;
    at += length;
  }
  return 0;
}

/** The two octets at `value` as part of the sum of a segment in which they lie at `position`. */
function weigh(bytes: Uint8Array, value: number, position: number): number {
  const isEven = (position & 1) === 0;
  const [high, low] = isEven
    ? [bytes[value]!, bytes[value + 1]!]
    : [bytes[value + 1]!, bytes[value]!];
  return (high << 8) | low;
}

/** RFC 1624 (3); the result is never 0000, which a tunnel packet must not carry (4.2). */
function updateChecksum(bytes: Uint8Array, at: number, before: number, after: number): void {
  const stored = (bytes[at]! << 8) | bytes[at + 1]!;
  const sum = (stored ^ 0xffff) + (before ^ 0xffff) + after;
  const folded = (sum & 0xffff) + (sum >>> 16);
  const checksum = ((folded & 0xffff) + (folded >>> 16)) ^ 0xffff;
  bytes[at] = checksum === 0 ? 0xff : checksum >>> 8;
  bytes[at + 1] = checksum === 0 ? 0xff : checksum & 0xff;
}
