/**
 * Echo requests of ICMP and ICMPv6 through the kernel: icmp(7) datagram sockets, which need no
 * privilege where net.ipv4.ping_group_range allows them, else raw sockets (raw(7)), which need
 * CAP_NET_RAW. ICMP errors about requests come from the error queue (ip(7), IP_RECVERR). Main
 * thread.
 *
 *   datagram   the kernel chooses the identifier and hands out replies to it only
 *   raw        all ICMP of the machine arrives: what is not a reply to us is skipped
 */

import { assert } from "../base/assert.js";
import type { IpAddress, IpVersion } from "../base/ip.js";
import { readU16, writeU16 } from "../wire/bytes.js";
import { invertSum, sumBytes } from "../wire/checksum.js";
import {
  ICMP_CHECKSUM_OFFSET,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_HEADER_LENGTH,
  ICMP_IDENTIFIER_OFFSET,
  ICMP_SEQUENCE_OFFSET,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
} from "../wire/icmp.js";
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from "../wire/packet-fields.js";
import { monotonicMs } from "./clock.js";
import * as libc from "./libc.js";
import { allocateMemory } from "./memory.js";
import { EPOLLIN, type Reactor } from "./reactor.js";
import { type ControlKind, ReceivedMessage } from "./received-message.js";
import {
  AF_INET,
  AF_INET6,
  encodeSockaddrInto,
  SOCKADDR_IN6_LENGTH,
  sockaddrLength,
} from "./sockaddr.js";
import { refused } from "./system-error.js";
import { readErrorQueue, type UdpError } from "./udp-errors.js";
import {
  IP_MTU_DISCOVER,
  IP_RECVERR,
  IPV6_MTU_DISCOVER,
  IPV6_RECVERR,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_IP,
  SOL_IPV6,
} from "./udp-socket.js";

const SOCK_RAW = 3;
// linux/in.h
const IP_TTL = 2;
const IP_RECVTTL = 12;
// linux/in6.h
const IPV6_UNICAST_HOPS = 16;
const IPV6_RECVHOPLIMIT = 51;
const IPV6_HOPLIMIT = 52;
/** Packets may be fragmented on their way; the kernel's path MTU is heeded (ip(7)). */
const PMTUDISC_WANT = 1;
const MSG_DONTWAIT = 0x40;
const DEFAULT_TTL = 64;

const TTL_KINDS: readonly ControlKind[] = [
  [SOL_IP, IP_TTL],
  [SOL_IPV6, IPV6_HOPLIMIT],
];
const TTL_BYTES = 4;
/** The largest packet that IP carries. */
const ROOM = { controlBytes: 128, dataBytes: 65_536 } as const;
/** More than this waits for the next turn. */
const MESSAGES_PER_TURN_MAX = 256;

/** An answer to a request. */
export interface EchoReply {
  readonly sequence: number;
  readonly source: IpAddress;
  readonly ttl: number | undefined;
  /** Octets of the ICMP message. */
  readonly octets: number;
  readonly receivedMs: number;
}

/** An ICMP error about a request. */
export interface EchoError {
  readonly sequence: number;
  readonly kind: UdpError["kind"];
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly offender: IpAddress | undefined;
  readonly mtuBytes: number;
  /** Name of the error number. */
  readonly code: string;
  readonly receivedMs: number;
}

/** Who is told what comes in. */
export interface EchoEvents {
  onReply(reply: EchoReply): void;
  onError(error: EchoError): void;
}

/** An open socket. */
export interface EchoSocket {
  readonly isRaw: boolean;
  /** Sends a request; the name of the error when the kernel refuses it. */
  send(
    destination: IpAddress,
    sequence: number,
    data: Uint8Array,
    ttl?: number,
  ): string | undefined;
  close(): void;
}

/** Opens a socket for requests to addresses of this version; throws SystemCallError. */
export function openEchoSocket(
  reactor: Reactor,
  version: IpVersion,
  identifier: number,
  events: EchoEvents,
): EchoSocket {
  const { fd, isRaw } = openSocket(version);
  const socket = new OpenEchoSocket(reactor, { fd, isRaw, version, identifier, events });
  socket.start();
  return socket;
}

function openSocket(version: IpVersion): { fd: number; isRaw: boolean } {
  const family = version === 4 ? AF_INET : AF_INET6;
  const protocol = version === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
  const flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
  const datagram = libc.socket(family, SOCK_DGRAM | flags, protocol);
  if (datagram >= 0) return { fd: datagram, isRaw: false };
  const raw = libc.socket(family, SOCK_RAW | flags, protocol);
  if (raw >= 0) return { fd: raw, isRaw: true };
  throw refused(
    "open a socket for echo requests",
    "socket",
    libc.lastErrorName(),
    "run as root, or allow it: sysctl -w net.ipv4.ping_group_range='0 2147483647'",
  );
}

interface EchoSocketParts {
  readonly fd: number;
  readonly isRaw: boolean;
  readonly version: IpVersion;
  readonly identifier: number;
  readonly events: EchoEvents;
}

class OpenEchoSocket implements EchoSocket {
  readonly #reactor: Reactor;
  readonly #parts: EchoSocketParts;
  /** Of what is received; requests are sent from the place of its data. */
  readonly #message = new ReceivedMessage(ROOM);
  readonly #target = allocateMemory(SOCKADDR_IN6_LENGTH);
  #ttl = DEFAULT_TTL;
  #isClosed = false;

  constructor(reactor: Reactor, parts: EchoSocketParts) {
    this.#reactor = reactor;
    this.#parts = parts;
  }

  get isRaw(): boolean {
    return this.#parts.isRaw;
  }

  start(): void {
    const isIpv4 = this.#parts.version === 4;
    const level = isIpv4 ? SOL_IP : SOL_IPV6;
    this.#set(level, isIpv4 ? IP_RECVERR : IPV6_RECVERR, 1);
    this.#set(level, isIpv4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1);
    this.#set(level, isIpv4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, PMTUDISC_WANT);
    this.#setTtl(DEFAULT_TTL);
    this.#reactor.add(this.#parts.fd, EPOLLIN, () => this.#receive());
  }

  send(destination: IpAddress, sequence: number, data: Uint8Array, ttl = DEFAULT_TTL) {
    const { fd, version } = this.#parts;
    assert(destination.version === version, "the destination is of the socket's version");
    if (ttl !== this.#ttl) this.#setTtl(ttl);
    const message = this.#request(sequence, data);
    const { memory, dataOffset } = this.#message;
    memory.bytes.set(message, dataOffset);
    encodeSockaddrInto(this.#target.view, 0, destination, 0);
    const length = sockaddrLength(version);
    const start = memory.address + dataOffset;
    for (;;) {
      const sent = libc.sendto(fd, start, message.length, 0, this.#target.address, length);
      if (sent >= 0) return undefined;
      const code = libc.lastErrorName();
      // An error that an earlier request brought is told once by the next call (ip(7)).
      const pending = readErrorQueue(fd);
      if (pending.length === 0) return code;
      this.#tellErrors(pending);
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#reactor.remove(this.#parts.fd);
    libc.close(this.#parts.fd);
  }

  #request(sequence: number, data: Uint8Array): Uint8Array {
    const { version, identifier } = this.#parts;
    const message = new Uint8Array(ICMP_HEADER_LENGTH + data.length);
    message[0] = version === 4 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST;
    writeU16(message, ICMP_IDENTIFIER_OFFSET, identifier);
    writeU16(message, ICMP_SEQUENCE_OFFSET, sequence);
    message.set(data, ICMP_HEADER_LENGTH);
    // The kernel computes that of ICMPv6 (RFC 3542 3.1) and of datagram sockets.
    if (version === 4) {
      writeU16(message, ICMP_CHECKSUM_OFFSET, invertSum(sumBytes(message, 0, message.length)));
    }
    return message;
  }

  #set(level: number, name: number, value: number): void {
    this.#target.view.setInt32(0, value, true);
    libc.setsockopt(this.#parts.fd, level, name, this.#target.address, 4);
  }

  #setTtl(ttl: number): void {
    const isIpv4 = this.#parts.version === 4;
    this.#set(isIpv4 ? SOL_IP : SOL_IPV6, isIpv4 ? IP_TTL : IPV6_UNICAST_HOPS, ttl);
    this.#ttl = ttl;
  }

  #receive(): void {
    this.#tellErrors(readErrorQueue(this.#parts.fd));
    for (let count = 0; count < MESSAGES_PER_TURN_MAX && !this.#isClosed; count++) {
      const length = this.#message.receive(this.#parts.fd, MSG_DONTWAIT);
      if (length < 0) return;
      const reply = this.#parse(length);
      if (reply !== undefined) this.#parts.events.onReply(reply);
    }
  }

  /** A raw IPv4 socket gives the IP header as well (raw(7)). */
  #parse(length: number): EchoReply | undefined {
    const { isRaw, version, identifier } = this.#parts;
    const { memory, dataOffset } = this.#message;
    const hasHeader = isRaw && version === 4;
    const headerBytes = hasHeader ? (memory.bytes[dataOffset]! & 0x0f) * 4 : 0;
    const message = memory.bytes.subarray(dataOffset + headerBytes, dataOffset + length);
    if (message.length < ICMP_HEADER_LENGTH) return undefined;
    if (message[0] !== (version === 4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY)) return undefined;
    if (isRaw && readU16(message, ICMP_IDENTIFIER_OFFSET) !== identifier) return undefined;
    const source = this.#message.name();
    if (source === undefined) return undefined;
    return {
      sequence: readU16(message, ICMP_SEQUENCE_OFFSET),
      source: source.address,
      ttl: this.#receivedTtl(),
      octets: message.length,
      receivedMs: monotonicMs(),
    };
  }

  #receivedTtl(): number | undefined {
    const offset = this.#message.findControl(TTL_KINDS, TTL_BYTES);
    return offset === undefined ? undefined : this.#message.memory.view.getInt32(offset, true);
  }

  /** Errors quote the request from its ICMP header on. */
  #tellErrors(errors: readonly UdpError[]): void {
    const { version, identifier, isRaw, events } = this.#parts;
    const request = version === 4 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST;
    for (const error of errors) {
      const { quoted, kind, icmpType, icmpCode, offender, mtuBytes, code } = error;
      if (quoted.length < ICMP_HEADER_LENGTH || quoted[0] !== request) continue;
      if (isRaw && readU16(quoted, ICMP_IDENTIFIER_OFFSET) !== identifier) continue;
      const sequence = readU16(quoted, ICMP_SEQUENCE_OFFSET);
      const receivedMs = monotonicMs();
      events.onError({ sequence, kind, icmpType, icmpCode, offender, mtuBytes, code, receivedMs });
    }
  }
}
