/**
 * Internet checksums, computed the slow and obvious way over whole messages (RFC 1071; the tunnel's
 * pseudo header without addresses of spec/tunnel.md 4.1). The judge of the gateway's incremental
 * arithmetic.
 */

import { ICMP, ICMPV6, type Packet, TCP, UDP } from "./dissect.js";

/**
 * `absent`: UDP without checksum. `unknown`: a fragment, a cut packet, or a protocol without a
 * checksum that could be verified.
 */
export type ChecksumState = "right" | "wrong" | "absent" | "unknown";

export interface CheckedSum {
  readonly name: string;
  readonly offset: number;
  readonly state: ChecksumState;
}

/** One's complement sum of 16-bit words, an odd last octet padded with zero on the right. */
export function wordSum(bytes: ArrayLike<number>, from = 0, to = bytes.length): number {
  let sum = 0;
  for (let index = from; index < to; index += 2) {
    sum += bytes[index]! * 256 + (index + 1 < to ? bytes[index + 1]! : 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  return sum;
}

function add(a: number, b: number): number {
  const sum = a + b;
  return sum > 0xffff ? sum - 0xffff : sum;
}

/** Sum of the pseudo header that the layer-4 checksum of this packet covers. */
function pseudoSum(bytes: Uint8Array, packet: Packet): number {
  const length = packet.end - packet.start - packet.headerLength;
  if (packet.protocol === ICMP) return 0;
  let sum = add(
    packet.protocol,
    wordSum([length >> 24, length >> 16, length >> 8, length].map((x) => x & 255)),
  );
  if (packet.form === "tunnel") return sum;
  for (const { offset, length: octets } of [packet.source, packet.destination]) {
    sum = add(sum, wordSum(bytes, offset, offset + octets));
  }
  return sum;
}

/** The layer-4 checksum field of a packet, if it is there. */
function transportField(packet: Packet): { name: string; offset: number } | undefined {
  return packet.fields.find(
    (field) => field.name.endsWith("checksum") && !field.name.endsWith("header checksum"),
  );
}

/** The state of the layer-4 checksum; a packet cut short cannot be verified. */
function transportState(bytes: Uint8Array, packet: Packet, offset: number): ChecksumState {
  if (packet.protocol === UDP && bytes[offset] === 0 && bytes[offset + 1] === 0) return "absent";
  if (packet.isFragment && (packet.hasMoreFragments || packet.fragmentOffset !== 0)) {
    return "unknown";
  }
  const at = packet.start + packet.headerLength;
  const sum = add(pseudoSum(bytes, packet), wordSum(bytes, at, packet.end));
  return sum === 0xffff || sum === 0 ? "right" : "wrong";
}

/** Verifies every checksum of a packet; of quoted packets only IPv4 headers can be verified. */
export function checksumsOf(bytes: Uint8Array, packet: Packet | undefined): CheckedSum[] {
  const found: CheckedSum[] = [];
  for (let each = packet; each !== undefined; each = each.quote) {
    if (each.form === "native" && each.version === 4) {
      const sum = wordSum(bytes, each.start, each.start + each.headerLength);
      const name = each.fields.find((field) => field.name.endsWith("header checksum"))!.name;
      found.push({ name, offset: each.start + 10, state: sum === 0xffff ? "right" : "wrong" });
    }
    const field = transportField(each);
    if (field === undefined) continue;
    const state = each === packet ? transportState(bytes, each, field.offset) : "unknown";
    found.push({ ...field, state });
  }
  return found;
}

/** Writes the right IPv4 header checksum into the packet that starts at `start`. */
export function writeHeaderChecksum(bytes: Uint8Array, start: number): void {
  const headerLength = (bytes[start]! & 15) * 4;
  bytes[start + 10] = 0;
  bytes[start + 11] = 0;
  const value = 0xffff - wordSum(bytes, start, start + headerLength);
  bytes[start + 10] = value >> 8;
  bytes[start + 11] = value & 255;
}

/** Writes the right layer-4 checksum; 0000 is written as ffff for UDP (RFC 768) and TCP. */
export function writeTransportChecksum(bytes: Uint8Array, packet: Packet): void {
  const field = transportField(packet);
  if (field === undefined) return;
  bytes[field.offset] = 0;
  bytes[field.offset + 1] = 0;
  const at = packet.start + packet.headerLength;
  const sum = add(pseudoSum(bytes, packet), wordSum(bytes, at, packet.end));
  let value = 0xffff - sum;
  if (value === 0 && (packet.protocol === UDP || packet.protocol === TCP)) value = 0xffff;
  bytes[field.offset] = value >> 8;
  bytes[field.offset + 1] = value & 255;
}

/** True for the offset of a checksum field whose forms 0000 and ffff mean the same. */
export function hasTwoZeros(name: string): boolean {
  return /\b(tcp|icmp|icmpv6) checksum$/.test(name);
}

/** ICMP in either numbering. */
export function isIcmp(packet: Packet): boolean {
  return packet.protocol === ICMP || packet.protocol === ICMPV6;
}
