/**
 * The IP and UDP headers around a tunnel packet, for captures: the gateway never sees them, the
 * kernel makes and takes them. With them Wireshark shows the gateways' addresses and port 1045. A
 * packet that was kept whole has a right UDP checksum, any other has none.
 */

import type { IpAddress } from "../base/ip.js";
import { writeU16 } from "../wire/bytes.js";
import { fold, invertSum, pseudoHeaderSum, sumBytes } from "../wire/checksum.js";
import { IP_LENGTH_MAX, PROTOCOL_UDP } from "../wire/packet-fields.js";

const UDP_BYTES = 8;
/** What the kernel uses unless it is told otherwise (net.ipv4.ip_default_ttl). */
const TTL = 64;
const IPV4_DONT_FRAGMENT = 0x4000;

/** One end of a datagram. */
export interface DatagramEnd {
  readonly address: IpAddress;
  readonly port: number;
}

/**
 * A whole datagram around `kept`, the beginning of a tunnel packet of `length` octets. Both
 * addresses have one version.
 */
export function buildDatagram(
  source: DatagramEnd,
  destination: DatagramEnd,
  kept: Uint8Array,
  length: number,
): Uint8Array {
  const { version } = source.address;
  const ipLength = version === 4 ? 20 : 40;
  const bytes = new Uint8Array(ipLength + UDP_BYTES + kept.length);
  const udpLength = Math.min(UDP_BYTES + length, IP_LENGTH_MAX);
  if (version === 4) writeIpv4(bytes, source.address, destination.address, ipLength + udpLength);
  else writeIpv6(bytes, source.address, destination.address, udpLength);
  writeU16(bytes, ipLength, source.port);
  writeU16(bytes, ipLength + 2, destination.port);
  writeU16(bytes, ipLength + 4, udpLength);
  bytes.set(kept, ipLength + UDP_BYTES);
  if (kept.length < length) return bytes;
  const addressSum = sumBytes(bytes, ipLength - 2 * source.address.bytes.length, ipLength);
  const pseudoSum = pseudoHeaderSum(addressSum, udpLength, PROTOCOL_UDP);
  const checksum = invertSum(sumBytes(bytes, ipLength, bytes.length, fold(pseudoSum)));
  writeU16(bytes, ipLength + 6, checksum === 0 ? 0xffff : checksum);
  return bytes;
}

/** Octets of the headers. */
export function outerLength(address: IpAddress): number {
  return (address.version === 4 ? 20 : 40) + UDP_BYTES;
}

function writeIpv4(bytes: Uint8Array, source: IpAddress, destination: IpAddress, length: number) {
  bytes[0] = 0x45;
  writeU16(bytes, 2, Math.min(length, IP_LENGTH_MAX));
  writeU16(bytes, 6, IPV4_DONT_FRAGMENT);
  bytes[8] = TTL;
  bytes[9] = PROTOCOL_UDP;
  bytes.set(source.bytes, 12);
  bytes.set(destination.bytes, 16);
  writeU16(bytes, 10, invertSum(sumBytes(bytes, 0, 20)));
}

function writeIpv6(bytes: Uint8Array, source: IpAddress, destination: IpAddress, length: number) {
  bytes[0] = 0x60;
  writeU16(bytes, 4, length);
  bytes[6] = PROTOCOL_UDP;
  bytes[7] = TTL;
  bytes.set(source.bytes, 8);
  bytes.set(destination.bytes, 24);
}
