/**
 * Packets for the tests, built and checked by plain arithmetic that shares nothing with src.
 */

import type { IpAddress } from "../../src/base/ip.js";

/** Checksum over the concatenation of parts, each word added by itself. */
export function plainChecksum(...parts: readonly (Uint8Array | readonly number[])[]): number {
  const bytes = parts.flatMap((part) => [...part]);
  if (bytes.length % 2 === 1) bytes.push(0);
  let sum = 0;
  for (let index = 0; index < bytes.length; index += 2) {
    sum += bytes[index]! * 256 + bytes[index + 1]!;
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

function big(value: number, octets: number): number[] {
  const bytes: number[] = [];
  for (let shift = octets - 1; shift >= 0; shift--)
    bytes.push(Math.floor(value / 256 ** shift) % 256);
  return bytes;
}

/** Octets of the checksum by native protocol. */
const CHECKSUM_AT: Readonly<Record<number, number>> = { 1: 2, 58: 2, 6: 16, 17: 6 };

/** The pseudo header; only ICMP of IPv4 has none. */
function pseudo(source: IpAddress, destination: IpAddress, protocol: number, length: number) {
  if (protocol === 1) return [];
  return [...source.bytes, ...destination.bytes, ...big(length, 4), 0, 0, 0, protocol];
}

/** Layer-4 data with its checksum off by `error` (0: right). */
export function withChecksum(
  data: Uint8Array,
  source: IpAddress,
  destination: IpAddress,
  protocol: number,
  error = 0,
): Uint8Array {
  const at = CHECKSUM_AT[protocol]!;
  const copy = data.slice();
  copy.set([0, 0], at);
  let checksum = plainChecksum(pseudo(source, destination, protocol, copy.length), copy);
  checksum = (checksum + error) % 0xffff;
  if (protocol === 17 && checksum === 0) checksum = 0xffff;
  copy.set(big(checksum, 2), at);
  return copy;
}

/** True when the checksum of whole layer-4 data is right. */
export function isChecksumRight(
  data: Uint8Array,
  source: IpAddress,
  destination: IpAddress,
  protocol: number,
): boolean {
  return plainChecksum(pseudo(source, destination, protocol, data.length), data) === 0;
}

/** Header fields of a native packet. */
export interface PlainFields {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  readonly ttl: number;
  readonly dontFragment?: boolean;
  readonly identification?: number;
  /** Octets, a multiple of 8. */
  readonly offset?: number;
  readonly moreFragments?: boolean;
}

/** A native packet; an IPv6 one has a fragment header when `offset` is given. */
export function nativePacket(fields: PlainFields, data: Uint8Array): Uint8Array {
  const { source, destination, protocol, ttl, offset, identification = 0 } = fields;
  const more = fields.moreFragments ? 1 : 0;
  const ends = [...source.bytes, ...destination.bytes];
  if (source.version === 6) {
    const header = offset === undefined ? [] : [protocol, 0, ...big(offset + more, 2)];
    const extension = offset === undefined ? [] : [...header, ...big(identification, 4)];
    const next = offset === undefined ? protocol : 44;
    const length = big(extension.length + data.length, 2);
    return Uint8Array.from([0x60, 0, 0, 0, ...length, next, ttl, ...ends, ...extension, ...data]);
  }
  const flags = (fields.dontFragment ? 0x4000 : 0) + more * 0x2000 + (offset ?? 0) / 8;
  const start = [0x45, 0, ...big(20 + data.length, 2), ...big(identification, 2), ...big(flags, 2)];
  const rest = [ttl, protocol];
  const checksum = big(plainChecksum(start, rest, ends), 2);
  return Uint8Array.from([...start, ...rest, ...checksum, ...ends, ...data]);
}

/** A native packet taken apart again, without any check. */
export interface PlainPacket {
  readonly fields: PlainFields;
  readonly data: Uint8Array;
}

export function readNative(packet: Uint8Array): PlainPacket {
  const word = (at: number) => packet[at]! * 256 + packet[at + 1]!;
  const address = (at: number, length: number): IpAddress => ({
    version: length === 4 ? 4 : 6,
    bytes: packet.slice(at, at + length),
  });
  if (packet[0]! >> 4 === 4) {
    const flags = word(6);
    const fields = {
      source: address(12, 4),
      destination: address(16, 4),
      protocol: packet[9]!,
      ttl: packet[8]!,
      dontFragment: (flags & 0x4000) !== 0,
      identification: word(4),
      offset: (flags & 0x1fff) * 8,
      moreFragments: (flags & 0x2000) !== 0,
    };
    return { fields, data: packet.slice(20) };
  }
  const isFragment = packet[6] === 44;
  const fields = {
    source: address(8, 16),
    destination: address(24, 16),
    protocol: isFragment ? packet[40]! : packet[6]!,
    ttl: packet[7]!,
    dontFragment: true,
    identification: isFragment ? word(44) * 65_536 + word(46) : 0,
    offset: isFragment ? word(42) & 0xfff8 : 0,
    moreFragments: isFragment && (packet[43]! & 1) === 1,
  };
  return { fields, data: packet.slice(isFragment ? 48 : 40) };
}
