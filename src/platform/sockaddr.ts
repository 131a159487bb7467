/**
 * Socket addresses in memory: struct sockaddr_in (ip(7)) and sockaddr_in6 (ipv6(7)). The family
 * is in host order, which is little-endian on both supported machines; port in network order.
 *
 *   IPv4, 16 bytes: family 2, port 2, address 4, zero 8
 *   IPv6, 28 bytes: family 2, port 2, flow information 4, address 16, scope 4
 */

import type { IpAddress } from "../base/ip.js";

export const AF_INET = 2;
export const AF_INET6 = 10;

export const SOCKADDR_IN_LENGTH = 16;
export const SOCKADDR_IN6_LENGTH = 28;
const SOCKADDR_PORT = 2;
const SOCKADDR_IN_ADDRESS = 4;
const SOCKADDR_IN6_ADDRESS = 8;

/** Length of a socket address of this version. */
export function sockaddrLength(version: 4 | 6): number {
  return version === 4 ? SOCKADDR_IN_LENGTH : SOCKADDR_IN6_LENGTH;
}

/** Fills memory from `offset` and returns the end offset. */
export function encodeSockaddrInto(
  view: DataView,
  offset: number,
  address: IpAddress,
  port: number,
): number {
  const end = offset + sockaddrLength(address.version);
  const start = address.version === 4 ? SOCKADDR_IN_ADDRESS : SOCKADDR_IN6_ADDRESS;
  for (let index = offset; index < end; index++) view.setUint8(index, 0);
  view.setUint16(offset, address.version === 4 ? AF_INET : AF_INET6, true);
  view.setUint16(offset + SOCKADDR_PORT, port);
  for (const [index, byte] of address.bytes.entries()) {
    view.setUint8(offset + start + index, byte);
  }
  return end;
}

/** Reads a socket address; undefined when it is of neither version. Copies the bytes. */
export function decodeSockaddr(
  view: DataView,
  offset: number,
): { address: IpAddress; port: number } | undefined {
  const family = view.getUint16(offset, true);
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const version = family === AF_INET ? 4 : 6;
  const start = offset + (version === 4 ? SOCKADDR_IN_ADDRESS : SOCKADDR_IN6_ADDRESS);
  const bytes = new Uint8Array(version === 4 ? 4 : 16);
  for (let index = 0; index < bytes.length; index++) bytes[index] = view.getUint8(start + index);
  return { address: { version, bytes }, port: view.getUint16(offset + SOCKADDR_PORT) };
}
