/**
 * The plain twin of segmentation, and generators of super-packets and streams. Written against
 * RFC 9293, RFC 768 and linux/virtio_net.h, byte by byte, and independent of src/kernel.
 */

import assert from "node:assert/strict";
import type { Dice } from "./fast-world.js";

export const VNET_BYTES = 10;

/** Folded sum of big-endian words, an odd last octet padded on the right. */
function sumOf(bytes: Uint8Array, initial = 0): number {
  let sum = initial;
  for (const [index, byte] of bytes.entries()) sum += index % 2 === 0 ? byte << 8 : byte;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** Where things are in a native packet without IPv6 extension headers. */
function anatomy(packet: Uint8Array) {
  const isIpv4 = packet[0]! >>> 4 === 4;
  const ip = isIpv4 ? (packet[0]! & 15) * 4 : 40;
  const protocol = packet[isIpv4 ? 9 : 6]!;
  const header = protocol === 6 ? (packet[ip + 12]! >>> 4) * 4 : 8;
  const addresses = isIpv4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  return { isIpv4, ip, protocol, header, addresses, place: protocol === 6 ? 16 : 6 };
}

/** Sum of the pseudo header of a native packet of this many octets of layer 4. */
function pseudoSum(packet: Uint8Array, length: number): number {
  const { addresses, protocol } = anatomy(packet);
  return sumOf(addresses, protocol + length);
}

/** Gives a native packet right lengths and checksums. Changes it, and returns it. */
export function finishNative(packet: Uint8Array): Uint8Array {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const { isIpv4, ip, protocol, place } = anatomy(packet);
  const length = packet.length - ip;
  if (isIpv4) {
    view.setUint16(2, packet.length);
    view.setUint16(10, 0);
    view.setUint16(10, sumOf(packet.subarray(0, ip)) ^ 0xffff);
  } else view.setUint16(4, length);
  if (protocol === 17) view.setUint16(ip + 4, length);
  view.setUint16(ip + place, 0);
  const checksum = sumOf(packet.subarray(ip), pseudoSum(packet, length)) ^ 0xffff;
  view.setUint16(ip + place, checksum === 0 ? 0xffff : checksum);
  return packet;
}

/** The packets that a super-packet stands for. */
export function segmentNative(packet: Uint8Array, segmentSize: number): Uint8Array[] {
  const { isIpv4, ip, protocol, header } = anatomy(packet);
  const payload = packet.subarray(ip + header);
  const segments: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += segmentSize) {
    const part = payload.subarray(at, at + segmentSize);
    const segment = Uint8Array.from([...packet.subarray(0, ip + header), ...part]);
    const view = new DataView(segment.buffer);
    if (isIpv4) view.setUint16(4, (view.getUint16(4) + segments.length) & 0xffff);
    if (protocol === 6) {
      view.setUint32(ip + 4, (view.getUint32(ip + 4) + at) >>> 0);
      const isLast = at + segmentSize >= payload.length;
      if (!isLast) segment[ip + 13]! &= ~0x09;
      if (at > 0) segment[ip + 13]! &= ~0x80;
    }
    segments.push(finishNative(segment));
  }
  return segments;
}

/** A device header as the kernel writes it for a super-packet, or for one unfinished checksum. */
export function vnetFor(packet: Uint8Array, segmentSize: number): Uint8Array {
  const { isIpv4, ip, protocol, header, place } = anatomy(packet);
  const vnet = new Uint8Array(VNET_BYTES);
  const view = new DataView(vnet.buffer);
  vnet[0] = 1;
  if (segmentSize > 0) vnet[1] = protocol === 17 ? 5 : isIpv4 ? 1 : 4;
  view.setUint16(2, segmentSize > 0 ? ip + header : 0, true);
  view.setUint16(4, segmentSize, true);
  view.setUint16(6, ip, true);
  view.setUint16(8, place, true);
  return vnet;
}

/** Puts the sum of the pseudo header where the checksum will be. Changes the packet. */
export function leaveChecksum(packet: Uint8Array): Uint8Array {
  const { ip, place } = anatomy(packet);
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  view.setUint16(ip + place, pseudoSum(packet, packet.length - ip));
  return packet;
}

/**
 * What was written to the TUN device, as ordinary packets: what the kernel makes of a super-packet.
 * Checks everything that the kernel relies on.
 */
export function expandWritten(written: Uint8Array): Uint8Array[] {
  const view = new DataView(written.buffer, written.byteOffset, written.length);
  const packet = written.slice(VNET_BYTES);
  const kind = written[1]!;
  if (kind === 0) {
    assert.deepEqual([...written.subarray(0, VNET_BYTES)], new Array(VNET_BYTES).fill(0));
    return [packet];
  }
  const { isIpv4, ip, protocol, header, place } = anatomy(packet);
  const length = packet.length - ip;
  const shown = new DataView(packet.buffer);
  assert.equal(written[0], 1);
  assert.equal(kind, protocol === 17 ? 5 : isIpv4 ? 1 : 4);
  assert.equal(view.getUint16(2, true), ip + header);
  assert.equal(view.getUint16(6, true), ip);
  assert.equal(view.getUint16(8, true), place);
  assert.equal(shown.getUint16(ip + place), pseudoSum(packet, length), "pseudo header");
  assert.equal(shown.getUint16(isIpv4 ? 2 : 4), isIpv4 ? packet.length : length);
  if (isIpv4) assert.equal(sumOf(packet.subarray(0, ip)), 0xffff, "IPv4 header checksum");
  if (protocol === 17) assert.equal(shown.getUint16(ip + 4), length);
  assert.ok(packet.length <= 65_535);
  const size = view.getUint16(4, true);
  assert.ok(size > 0 && size < packet.length - ip - header, "more than one segment");
  return segmentNative(packet, size);
}

/** TCP options: none, timestamps, or any words. */
export function randomOptions(dice: Dice): Uint8Array {
  const kind = dice.below(3);
  if (kind === 0) return new Uint8Array(0);
  if (kind === 1) return Uint8Array.from([1, 1, 8, 10, ...dice.bytes(8)]);
  return dice.bytes(4 * (1 + dice.below(10)));
}

/** Gives a tunnel packet right lengths and checksums (spec/tunnel.md 4.1). Changes and returns it. */
export function finishTunnel(packet: Uint8Array, headerLength: number): Uint8Array {
  const view = new DataView(packet.buffer);
  const protocol = packet[3]!;
  const place = headerLength + (protocol === 6 ? 16 : 6);
  const length = packet.length - headerLength;
  if (protocol === 17) view.setUint16(headerLength + 4, length);
  view.setUint16(place, 0);
  const checksum = sumOf(packet.subarray(headerLength), protocol + length) ^ 0xffff;
  view.setUint16(place, checksum === 0 ? 0xffff : checksum);
  return packet;
}
