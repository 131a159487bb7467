/**
 * UDP towards DNS servers: each question has a connected socket whose source port the kernel has
 * chosen for it alone (spec/resolver.md 4.4), at a third of the price of a new socket. Main thread.
 *
 * connect(2) with AF_UNSPEC dissolves the association of a UDP socket and, when the port was not
 * chosen by bind(2), gives the port back (udp_disconnect in net/ipv4/udp.c); the next connect(2)
 * takes a new random one. So sockets are kept, ports are not: 2.7 microseconds a question instead
 * of 9.6 for socket, connect, epoll_ctl and close (Node 20, Linux 6.18, November 2026). A socket at
 * rest has no port and receives nothing.
 */

import type { Endpoint } from "../dns/query.js";
import type {
  DatagramExchange,
  DatagramReceiver,
  DatagramTarget,
  DatagramTransport,
} from "../dns/upstream/transport.js";
import * as libc from "./libc.js";
import { allocateMemory, type SystemMemory } from "./memory.js";
import { EPOLLIN, type Reactor } from "./reactor.js";
import {
  AF_INET,
  AF_INET6,
  encodeSockaddrInto,
  SOCKADDR_IN6_LENGTH,
  sockaddrLength,
} from "./sockaddr.js";

const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** struct sockaddr with sa_family 0, connect(2). */
const UNSPECIFIED_LENGTH = 16;

/** Four groups with all their 1,024 questions in flight (spec/resolver.md 1.14). */
const SOCKETS_MAX_DEFAULT = 4096;
/** Sockets of one version that stay open without work. */
const IDLE_MAX = 1024;

/** Questions of this many sockets share one block of memory. */
const BLOCK_SOCKETS = 64;
/** Longest question (282 octets, dns/upstream/transport.ts) rounded up. */
const SLOT_LENGTH = 288;
const RECEIVE_BYTES = 65_536;

/** Sockets for questions, kept by IP version. */
export class DnsDatagrams implements DatagramTransport {
  readonly reactor: Reactor;
  /** Incoming datagrams of all sockets, one after the other. */
  readonly received: SystemMemory = allocateMemory(RECEIVE_BYTES);
  readonly unspecified: SystemMemory = allocateMemory(UNSPECIFIED_LENGTH);
  readonly #socketsMax: number;
  readonly #idle: Readonly<Record<4 | 6, QuestionSocket[]>> = { 4: [], 6: [] };
  readonly #open = new Set<QuestionSocket>();
  /** Parts of memory blocks without a socket. */
  readonly #slots: { readonly block: SystemMemory; readonly offset: number }[] = [];

  constructor(reactor: Reactor, socketsMax: number = SOCKETS_MAX_DEFAULT) {
    this.reactor = reactor;
    this.#socketsMax = socketsMax;
  }

  /** Sockets that exist, at work or at rest. */
  get socketCount(): number {
    return this.#open.size;
  }

  target(endpoint: Endpoint): DatagramTarget {
    return new Target(this, endpoint);
  }

  /** A socket without port, or the name of the error. */
  take(version: 4 | 6): QuestionSocket | string {
    const idle = this.#idle[version].pop();
    if (idle !== undefined) return idle;
    if (this.#open.size >= this.#socketsMax) return "EMFILE";
    const family = version === 4 ? AF_INET : AF_INET6;
    const fd = libc.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return libc.lastErrorName();
    const { block, offset } = this.#takeSlot();
    const socket = new QuestionSocket(this, fd, version, block, offset);
    this.#open.add(socket);
    return socket;
  }

  /** Keeps a socket that has given its port back, unless there are enough. */
  putBack(socket: QuestionSocket): void {
    const idle = this.#idle[socket.version];
    if (idle.length < IDLE_MAX) idle.push(socket);
    else this.discard(socket);
  }

  /** Closes a socket. */
  discard(socket: QuestionSocket): void {
    if (!this.#open.delete(socket)) return;
    this.reactor.remove(socket.fd);
    libc.close(socket.fd);
    this.#slots.push({ block: socket.block, offset: socket.offset });
  }

  /** Closes all sockets. */
  close(): void {
    for (const socket of [...this.#open]) this.discard(socket);
    this.#idle[4].length = 0;
    this.#idle[6].length = 0;
  }

  #takeSlot(): { readonly block: SystemMemory; readonly offset: number } {
    if (this.#slots.length === 0) {
      const block = allocateMemory(BLOCK_SOCKETS * SLOT_LENGTH);
      for (let index = BLOCK_SOCKETS - 1; index >= 0; index--) {
        this.#slots.push({ block, offset: index * SLOT_LENGTH });
      }
    }
    return this.#slots.pop()!;
  }
}

/** A server's socket address, ready for connect(2). */
class Target implements DatagramTarget {
  readonly #transport: DnsDatagrams;
  readonly #version: 4 | 6;
  readonly #sockaddr = allocateMemory(SOCKADDR_IN6_LENGTH);
  readonly #sockaddrLength: number;

  constructor(transport: DnsDatagrams, { address, port }: Endpoint) {
    this.#transport = transport;
    this.#version = address.version;
    this.#sockaddrLength = sockaddrLength(address.version);
    encodeSockaddrInto(this.#sockaddr.view, 0, address, port);
  }

  open(receiver: DatagramReceiver): DatagramExchange | string {
    const socket = this.#transport.take(this.#version);
    if (typeof socket === "string") return socket;
    if (libc.connect(socket.fd, this.#sockaddr.address, this.#sockaddrLength) < 0) {
      const code = libc.lastErrorName();
      socket.release();
      return code;
    }
    socket.receiver = receiver;
    return socket;
  }
}

/** One socket; connected while it has a receiver. */
class QuestionSocket implements DatagramExchange {
  readonly fd: number;
  readonly version: 4 | 6;
  readonly block: SystemMemory;
  readonly offset: number;
  readonly message: Uint8Array;
  receiver: DatagramReceiver | undefined;
  readonly #transport: DnsDatagrams;

  constructor(
    transport: DnsDatagrams,
    fd: number,
    version: 4 | 6,
    block: SystemMemory,
    offset: number,
  ) {
    this.#transport = transport;
    this.fd = fd;
    this.version = version;
    this.block = block;
    this.offset = offset;
    this.message = block.bytes.subarray(offset, offset + SLOT_LENGTH);
    transport.reactor.add(fd, EPOLLIN, () => this.#receive());
  }

  send(length: number): string | undefined {
    const address = this.block.address + this.offset;
    if (libc.send(this.fd, address, length, 0) >= 0) return undefined;
    return libc.lastErrorName();
  }

  release(): void {
    this.receiver = undefined;
    const { unspecified } = this.#transport;
    const isFree = libc.connect(this.fd, unspecified.address, UNSPECIFIED_LENGTH) >= 0;
    if (isFree) this.#transport.putBack(this);
    else this.#transport.discard(this);
  }

  /** One datagram a turn; what came for an earlier question is dropped. */
  #receive(): void {
    const { received } = this.#transport;
    const length = libc.recv(this.fd, received.address, RECEIVE_BYTES, 0);
    const { receiver } = this;
    if (length >= 0) {
      receiver?.onDatagram(received.bytes, length);
      return;
    }
    const code = libc.errno();
    if (code !== libc.EAGAIN && code !== libc.EINTR) receiver?.onRefused(libc.errnoName(code));
  }
}
