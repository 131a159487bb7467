/**
 * The tunnel socket: UDP, nonblocking, never fragmented by the kernel without our knowledge.
 * ip(7), ipv6(7), udp(7), socket(7). Calls on one descriptor may come from any thread.
 *
 * Path MTU: IP_PMTUDISC_PROBE sets DF and does not let the kernel's own estimate cut or refuse
 * packets; ICMP "too big" arrives through the error queue (IP_RECVERR), where the program reads it.
 * With IP_RECVERR a pending ICMP error also makes the next receive or send on the socket fail once
 * (ECONNREFUSED, EMSGSIZE, EHOSTUNREACH): callers treat those as transient and try again.
 */

import type { IpAddress } from "../base/ip.js";
import { formatIp } from "../base/ip.js";
import * as libc from "./libc.js";
import { allocateMemory } from "./memory.js";
import {
  AF_INET,
  AF_INET6,
  decodeSockaddr,
  encodeSockaddrInto,
  SOCKADDR_IN6_LENGTH,
} from "./sockaddr.js";
import { lastRefusal, refused, type SystemCallError, udpPortHolder } from "./system-error.js";

export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

// asm-generic/socket.h
export const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
const SO_REUSEPORT = 15;
const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;

// linux/in.h
export const SOL_IP = 0;
const IP_TOS = 1;
export const IP_MTU_DISCOVER = 10;
export const IP_RECVERR = 11;
const IP_MTU = 14;
const IP_PMTUDISC_DO = 2;
const IP_PMTUDISC_PROBE = 3;

// linux/in6.h
export const SOL_IPV6 = 41;
export const IPV6_MTU_DISCOVER = 23;
const IPV6_MTU = 24;
export const IPV6_RECVERR = 25;
export const IPV6_V6ONLY = 26;
const IPV6_DONTFRAG = 62;
const IPV6_TCLASS = 67;

// linux/udp.h, udp(7): one message of equal datagrams, cut by the kernel (since Linux 4.18), and
// one message of datagrams that the kernel has joined (since Linux 5.0).
export const SOL_UDP = 17;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;

const MSG_DONTWAIT = 0x40;

/** About 3,000 packets of 1,400 bytes: some 30 ms of 1 Gb/s while a worker is not scheduled. */
const BUFFER_BYTES_DEFAULT = 4 << 20;
const PAYLOAD_BYTES_MAX = 65_535;

/** How to open the socket. */
export interface UdpOptions {
  /** The address to bind to; unspecified means any of its version. */
  readonly address: IpAddress;
  /** 0 lets the kernel choose. */
  readonly port: number;
  /** Several sockets share the port; the kernel spreads peers over them. */
  readonly reusePort?: boolean;
  readonly bufferBytes?: number;
  /** Type of service or traffic class of all packets. */
  readonly tos?: number;
  /** Let the kernel join datagrams that it receives. */
  readonly joinsDatagrams?: boolean;
}

/** An open tunnel socket. */
export interface UdpSocket {
  readonly fd: number;
  readonly version: 4 | 6;
  readonly port: number;
  /** The kernel joins received datagrams: readers must be ready for UDP_GRO. */
  readonly joinsDatagrams: boolean;
  close(): void;
}

/** Opens and binds the tunnel socket. Throws SystemCallError. */
export function openUdpSocket(options: UdpOptions): UdpSocket {
  const { version } = options.address;
  const fd = newSocket(version);
  try {
    setTunnelOptions(fd, options);
    bindTo(fd, options.address, options.port);
    const wantsJoined = options.joinsDatagrams ?? false;
    const joinsDatagrams = wantsJoined && setOption(fd, SOL_UDP, UDP_GRO, 1);
    const close = (): void => void libc.close(fd);
    return { fd, version, port: boundPort(fd), joinsDatagrams, close };
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

function newSocket(version: 4 | 6): number {
  const family = version === 4 ? AF_INET : AF_INET6;
  const fd = libc.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw lastRefusal(`open an IPv${version} UDP socket`, "socket");
  return fd;
}

function setTunnelOptions(fd: number, options: UdpOptions): void {
  const bufferBytes = options.bufferBytes ?? BUFFER_BYTES_DEFAULT;
  // The FORCE forms pass net.core.rmem_max and need CAP_NET_ADMIN; the plain ones are cut to it.
  if (!setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, bufferBytes)) {
    setOption(fd, SOL_SOCKET, SO_RCVBUF, bufferBytes);
  }
  if (!setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, bufferBytes)) {
    setOption(fd, SOL_SOCKET, SO_SNDBUF, bufferBytes);
  }
  if (options.reusePort) needOption(fd, "SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, 1);
  if (options.address.version === 4) setIpv4Options(fd, options.tos);
  else setIpv6Options(fd, options.tos);
}

function setIpv4Options(fd: number, tos: number | undefined): void {
  needOption(fd, "IP_MTU_DISCOVER", SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  needOption(fd, "IP_RECVERR", SOL_IP, IP_RECVERR, 1);
  if (tos !== undefined) needOption(fd, "IP_TOS", SOL_IP, IP_TOS, tos);
}

function setIpv6Options(fd: number, tos: number | undefined): void {
  needOption(fd, "IPV6_V6ONLY", SOL_IPV6, IPV6_V6ONLY, 1);
  needOption(fd, "IPV6_MTU_DISCOVER", SOL_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  needOption(fd, "IPV6_DONTFRAG", SOL_IPV6, IPV6_DONTFRAG, 1);
  needOption(fd, "IPV6_RECVERR", SOL_IPV6, IPV6_RECVERR, 1);
  if (tos !== undefined) needOption(fd, "IPV6_TCLASS", SOL_IPV6, IPV6_TCLASS, tos);
}

const scratch = allocateMemory(64 + PAYLOAD_BYTES_MAX);
const SCRATCH_VALUE = 0;
const SCRATCH_LENGTH = 8;
const SCRATCH_SOCKADDR = 16;
const SCRATCH_PAYLOAD = 64;

/** Sets an integer option; false when refused. */
export function setOption(fd: number, level: number, name: number, value: number): boolean {
  scratch.view.setInt32(SCRATCH_VALUE, value, true);
  return libc.setsockopt(fd, level, name, scratch.address + SCRATCH_VALUE, 4) === 0;
}

function needOption(fd: number, what: string, level: number, name: number, value: number): void {
  if (!setOption(fd, level, name, value)) {
    throw lastRefusal(`set ${what} to ${value} on the tunnel socket`, "setsockopt");
  }
}

/** Reads an integer option; undefined when refused. */
export function getOption(fd: number, level: number, name: number): number | undefined {
  const { view, address } = scratch;
  view.setUint32(SCRATCH_LENGTH, 4, true);
  const value = address + SCRATCH_VALUE;
  if (libc.getsockopt(fd, level, name, value, address + SCRATCH_LENGTH) < 0) return undefined;
  return view.getInt32(SCRATCH_VALUE, true);
}

function bindTo(fd: number, address: IpAddress, port: number): void {
  const end = encodeSockaddrInto(scratch.view, SCRATCH_SOCKADDR, address, port);
  const start = scratch.address + SCRATCH_SOCKADDR;
  if (libc.bindSocket(fd, start, end - SCRATCH_SOCKADDR) < 0) {
    throw bindRefusal(libc.lastErrorName(), address, port);
  }
}

function bindRefusal(code: string, address: IpAddress, port: number): SystemCallError {
  const action = `bind the UDP socket to ${formatIp(address)} port ${port}`;
  if (code === "EADDRINUSE") {
    const holder = udpPortHolder(port);
    const who = holder === undefined ? "find its holder with `ss -ulpn`" : `${holder} holds it`;
    return refused(action, "bind", code, `${who}; stop it or choose another port`);
  }
  if (code === "EACCES") {
    return refused(action, "bind", code, "run as root or give CAP_NET_BIND_SERVICE");
  }
  return refused(action, "bind", code);
}

function boundPort(fd: number): number {
  scratch.view.setUint32(SCRATCH_LENGTH, SOCKADDR_IN6_LENGTH, true);
  const start = scratch.address + SCRATCH_SOCKADDR;
  if (libc.getsockname(fd, start, scratch.address + SCRATCH_LENGTH) < 0) {
    throw lastRefusal("read the port of the UDP socket", "getsockname");
  }
  return decodeSockaddr(scratch.view, SCRATCH_SOCKADDR)?.port ?? 0;
}

/** What became of a datagram. */
export type SendResult = { readonly ok: true } | { readonly ok: false; readonly code: string };

const SENT: SendResult = { ok: true };

/** Sends one datagram (borrows `payload`); retries once after a pending ICMP error. */
export function sendTo(
  fd: number,
  payload: Uint8Array,
  address: IpAddress,
  port: number,
): SendResult {
  if (payload.length > PAYLOAD_BYTES_MAX) return { ok: false, code: "EMSGSIZE" };
  const end = encodeSockaddrInto(scratch.view, SCRATCH_SOCKADDR, address, port);
  scratch.bytes.set(payload, SCRATCH_PAYLOAD);
  const body = scratch.address + SCRATCH_PAYLOAD;
  const to = scratch.address + SCRATCH_SOCKADDR;
  const toLength = end - SCRATCH_SOCKADDR;
  for (let attempt = 0; ; attempt++) {
    if (libc.sendto(fd, body, payload.length, MSG_DONTWAIT, to, toLength) >= 0) return SENT;
    const code = libc.lastErrorName();
    if (attempt === 1 || code === "EAGAIN") return { ok: false, code };
  }
}

/** A received datagram; `payload` is a copy. */
export interface Datagram {
  readonly payload: Uint8Array;
  readonly source: IpAddress;
  readonly port: number;
}

/** Receives one datagram, or undefined when none waits. Pending ICMP errors are passed over. */
export function receiveFrom(fd: number): Datagram | undefined {
  const { view, bytes, address } = scratch;
  for (let attempt = 0; attempt < 8; attempt++) {
    view.setUint32(SCRATCH_LENGTH, SOCKADDR_IN6_LENGTH, true);
    const body = address + SCRATCH_PAYLOAD;
    const from = address + SCRATCH_SOCKADDR;
    const fromLength = address + SCRATCH_LENGTH;
    const got = libc.recvfrom(fd, body, PAYLOAD_BYTES_MAX, MSG_DONTWAIT, from, fromLength);
    if (got < 0 && libc.errno() === libc.EAGAIN) return undefined;
    const source = got < 0 ? undefined : decodeSockaddr(view, SCRATCH_SOCKADDR);
    if (source === undefined) continue;
    const payload = bytes.slice(SCRATCH_PAYLOAD, SCRATCH_PAYLOAD + got);
    return { payload, source: source.address, port: source.port };
  }
  return undefined;
}

/**
 * Path MTU to a destination as the kernel knows it now, asked of a temporary connected socket
 * (IP_MTU, IPV6_MTU); undefined when there is no route.
 */
export function queryPathMtu(
  bindAddress: IpAddress,
  destination: IpAddress,
  port: number,
): number | undefined {
  const { version } = destination;
  const fd = newSocket(version);
  try {
    if (bindAddress.version === version) bindTo(fd, bindAddress, 0);
    const level = version === 4 ? SOL_IP : SOL_IPV6;
    // DO rather than PROBE: with PROBE the kernel answers with the interface's MTU.
    setOption(fd, level, version === 4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, IP_PMTUDISC_DO);
    const end = encodeSockaddrInto(scratch.view, SCRATCH_SOCKADDR, destination, port);
    const to = scratch.address + SCRATCH_SOCKADDR;
    if (libc.connect(fd, to, end - SCRATCH_SOCKADDR) < 0) return undefined;
    return getOption(fd, level, version === 4 ? IP_MTU : IPV6_MTU);
  } finally {
    libc.close(fd);
  }
}
