/**
 * A UDP listener of the DNS server: recvmmsg(2), one call of the handler for each datagram,
 * sendmmsg(2) for the replies that are ready. Main thread, nonblocking, driven by the reactor.
 *
 * A socket on the wildcard address learns which of the machine's addresses was asked (IP_PKTINFO,
 * ip(7); IPV6_PKTINFO, ipv6(7)) and answers from it. The control data of the request serves the
 * reply as it is, but for the interface, which only link-local destinations need.
 *
 * Memory, one block for each listener: headers, socket addresses and control data first, then
 * request slots, reply slots and slots for late replies. Nothing is allocated for a datagram of a
 * known client whose reply is ready at once; 1,024 clients are known.
 */

import { type IpAddress, isUnspecified } from "../base/ip.js";
import type { StreamAnswer } from "../dns/answer.js";
import type { Endpoint, Origin } from "../dns/query.js";
import type { Listener } from "../dns/server/listeners.js";
import type { Incoming } from "../dns/server/server.js";
import { BATCH, MessageSlots, NAME_BYTES, SLOT_BYTES } from "./dns-server-slots.js";
import type { DnsUdpSocket } from "./dns-server-socket.js";
import * as libc from "./libc.js";
import {
  allocateMemory,
  CMSGHDR_LENGTH,
  CMSGHDR_LEVEL,
  CMSGHDR_TYPE,
  MMSGHDR_MESSAGE_LENGTH,
  MSGHDR_CONTROL,
  MSGHDR_CONTROL_LENGTH,
  MSGHDR_FLAGS,
  MSGHDR_NAME,
  MSGHDR_NAME_LENGTH,
  setAddress,
} from "./memory.js";
import { EPOLLIN, type Reactor } from "./reactor.js";
import { decodeSockaddr, sockaddrLength } from "./sockaddr.js";

const MSG_DONTWAIT = 0x40;
/** recvmsg(2): the datagram was longer than the buffer. */
const MSG_TRUNC = 0x20;
const SOL_IP = 0;
const SOL_IPV6 = 41;
const IP_PKTINFO = 8;
const IPV6_PKTINFO = 50;
const POLLOUT = 4;

/** System calls of one turn, so that timers and other sockets get theirs. */
const BATCHES_PER_TURN_MAX = 8;
/** A send buffer that stays full for longer than this loses the reply. */
const SEND_WAIT_MS = 2;

/** struct in_pktinfo: interface 4, local address 4, destination address 4. */
const PKTINFO4_LOCAL = CMSGHDR_LENGTH + 4;
const PKTINFO4_SPACE = 32;
/** struct in6_pktinfo: address 16, interface 4. */
const PKTINFO6_INTERFACE = CMSGHDR_LENGTH + 16;
const PKTINFO6_SPACE = 40;

const PEERS_KNOWN = 1024;

/** What a listener needs from the server. */
export interface DatagramHandler {
  /** The blocks behind one of our addresses; undefined: nobody serves it, requests are ignored. */
  listenerAt(local: Endpoint): Listener | undefined;
  /**
   * Answers request[0, length) into `target`: the reply's length, 0 for none, negative when it
   * comes through `incoming`. Borrows both until it returns. Does not throw.
   */
  receive(request: Uint8Array, length: number, incoming: Incoming, target: Uint8Array): number;
  /**
   * The response rate limit: how many octets of reply[0, length) may go to the client over UDP; the
   * reply may be changed. 0: none.
   */
  limitReply(reply: Uint8Array, length: number, client: Endpoint): number;
}

/** What happened on a listener since it was opened. */
export interface UdpCounts {
  received: number;
  /** Requests longer than a slot, which are ignored. */
  oversized: number;
  sent: number;
  /** Replies that the kernel did not take. */
  sendFailures: number;
}

/** A client at one of our addresses: everything that a reply needs, now or later. */
export class UdpPeer implements Origin, Incoming {
  readonly transport = "udp";
  readonly client: Endpoint;
  readonly local: Endpoint;
  readonly listener: Listener;
  /** Socket address and control data as system calls take them, which also identify the peer. */
  readonly words: Int32Array;
  readonly #socket: UdpListener;

  constructor(
    socket: UdpListener,
    ends: { readonly client: Endpoint; readonly local: Endpoint },
    listener: Listener,
    words: Int32Array,
  ) {
    this.#socket = socket;
    this.client = ends.client;
    this.local = ends.local;
    this.listener = listener;
    this.words = words;
  }

  get origin(): Origin {
    return this;
  }

  deliver(message: Uint8Array): void {
    this.#socket.sendLater(this, message);
  }

  /** Zone transfers go over TCP only (spec/resolver.md 3.5). */
  deliverStream(answer: StreamAnswer): void {
    answer.close();
  }
}

/** A socket with its batches. Borrows the reactor. */
export class UdpListener {
  readonly counts: UdpCounts = { received: 0, oversized: 0, sent: 0, sendFailures: 0 };
  readonly #socket: DnsUdpSocket;
  readonly #reactor: Reactor;
  readonly #handler: DatagramHandler;
  readonly #local: Endpoint;
  readonly #nameLength: number;
  readonly #controlLength: number;
  /** Words of name and control data. */
  readonly #peerWords: number;
  readonly #requests: MessageSlots;
  /** Replies in the order they are sent; names and control data are those of the requests. */
  readonly #replies: MessageSlots;
  readonly #late: MessageSlots;
  #lateCount = 0;
  readonly #peers = new Array<UdpPeer | undefined>(PEERS_KNOWN);
  readonly #pollMemory = allocateMemory(8);
  #isClosed = false;

  /** Takes the socket; datagrams go to `handler` from the next turn on. */
  constructor(reactor: Reactor, socket: DnsUdpSocket, handler: DatagramHandler) {
    this.#socket = socket;
    this.#reactor = reactor;
    this.#handler = handler;
    this.#local = { address: socket.address, port: socket.port };
    const { version } = socket.address;
    const isWild = isUnspecified(socket.address);
    this.#nameLength = sockaddrLength(version);
    this.#controlLength = isWild ? (version === 4 ? PKTINFO4_SPACE : PKTINFO6_SPACE) : 0;
    this.#peerWords = (NAME_BYTES + this.#controlLength) >>> 2;
    this.#requests = new MessageSlots(this.#nameLength, this.#controlLength);
    this.#replies = new MessageSlots(this.#nameLength, this.#controlLength);
    this.#late = new MessageSlots(this.#nameLength, this.#controlLength);
    reactor.add(socket.fd, EPOLLIN, () => this.#onReadable());
  }

  get address(): IpAddress {
    return this.#socket.address;
  }

  get port(): number {
    return this.#socket.port;
  }

  /** Forgets which blocks answer which client; call after the plan of listeners changed. */
  forgetPeers(): void {
    this.#peers.fill(undefined);
  }

  /** Stops reading; late replies still leave. */
  stopReading(): void {
    if (!this.#isClosed) this.#reactor.modify(this.#socket.fd, 0);
  }

  /** Sends what waits and closes the socket. */
  close(): void {
    if (this.#isClosed) return;
    this.#flushLate();
    this.#isClosed = true;
    this.#reactor.remove(this.#socket.fd);
    this.#socket.close();
  }

  /** Sends a reply together with others of this turn. Borrows `message`. */
  sendLater(peer: UdpPeer, message: Uint8Array): void {
    if (this.#isClosed || message.length > SLOT_BYTES) return;
    if (this.#lateCount === BATCH) this.#flushLate();
    const slots = this.#late;
    const index = this.#lateCount;
    const payload = slots.payloads[index]!;
    payload.set(message);
    const length = this.#handler.limitReply(payload, message.length, peer.client);
    if (length === 0) return;
    slots.words.set(peer.words, slots.name(index) >>> 2);
    slots.words[(slots.scatter(index) + 8) >>> 2] = length;
    this.#lateCount = index + 1;
    if (index === 0) this.#reactor.defer(() => this.#flushLate());
  }

  #flushLate(): void {
    const count = this.#lateCount;
    this.#lateCount = 0;
    if (count > 0 && !this.#isClosed) this.#send(this.#late, count);
  }

  #onReadable(): void {
    const { memory } = this.#requests;
    for (let turn = 0; turn < BATCHES_PER_TURN_MAX && !this.#isClosed; turn++) {
      const received = libc.recvmmsg(this.#socket.fd, memory.address, BATCH, MSG_DONTWAIT, 0);
      if (received <= 0) return;
      this.#answerBatch(received);
      if (received < BATCH) return;
    }
  }

  #answerBatch(received: number): void {
    const requests = this.#requests;
    const replies = this.#replies;
    const { words } = requests;
    this.counts.received += received;
    let ready = 0;
    for (let index = 0; index < received; index++) {
      const message = requests.message(index);
      const length = words[(message + MMSGHDR_MESSAGE_LENGTH) >>> 2]!;
      if ((words[(message + MSGHDR_FLAGS) >>> 2]! & MSG_TRUNC) !== 0) {
        this.counts.oversized++;
      } else {
        this.#freeInterface(requests.name(index) + NAME_BYTES);
        const replyLength = this.#answer(index, length, replies.payloads[ready]!);
        if (replyLength > 0) this.#address(ready++, index, replyLength);
      }
      words[(message + MSGHDR_NAME_LENGTH) >>> 2] = this.#nameLength;
      words[(message + MSGHDR_CONTROL_LENGTH) >>> 2] = this.#controlLength;
    }
    if (ready > 0) this.#send(replies, ready);
  }

  /** The reply to request `index` in `target`; its length, 0 for none now. */
  #answer(index: number, length: number, target: Uint8Array): number {
    const requests = this.#requests;
    const peer = this.#peerOf(requests.name(index));
    if (peer === undefined) return 0;
    const made = this.#handler.receive(requests.payloads[index]!, length, peer, target);
    return made > 0 ? this.#handler.limitReply(target, made, peer.client) : 0;
  }

  /** Points reply `reply` at the sender of request `request`. */
  #address(reply: number, request: number, length: number): void {
    const { words, memory } = this.#replies;
    const message = this.#replies.message(reply);
    const name = this.#requests.memory.address + this.#requests.name(request);
    words[(this.#replies.scatter(reply) + 8) >>> 2] = length;
    setAddress(memory.view, message + MSGHDR_NAME, name);
    if (this.#controlLength === 0) return;
    setAddress(memory.view, message + MSGHDR_CONTROL, name + NAME_BYTES);
  }

  /** Lets routing choose the interface, except towards a link-local address (RFC 4007 6). */
  #freeInterface(control: number): void {
    if (this.#controlLength === 0) return;
    const { view } = this.#requests.memory;
    if (this.#socket.address.version === 4) {
      view.setUint32(control + CMSGHDR_LENGTH, 0, true);
    } else if (view.getUint16(control + CMSGHDR_LENGTH) >>> 6 !== 0xfe80 >>> 6) {
      view.setUint32(control + PKTINFO6_INTERFACE, 0, true);
    }
  }

  #send(slots: MessageSlots, count: number): void {
    const { fd } = this.#socket;
    for (let next = 0; next < count; ) {
      const start = slots.memory.address + slots.message(next);
      const sent = libc.sendmmsg(fd, start, count - next, MSG_DONTWAIT);
      if (sent > 0) {
        this.counts.sent += sent;
        next += sent;
      } else if (libc.errno() !== libc.EAGAIN || !this.#waitForRoom()) {
        this.counts.sendFailures++;
        next++;
      }
    }
  }

  #waitForRoom(): boolean {
    const { view, address } = this.#pollMemory;
    view.setInt32(0, this.#socket.fd, true);
    view.setInt16(4, POLLOUT, true);
    return libc.poll(address, 1, SEND_WAIT_MS) > 0;
  }

  /** The sender whose address stands at `name`; undefined when it cannot be answered. */
  #peerOf(name: number): UdpPeer | undefined {
    const first = name >>> 2;
    const { words } = this.#requests;
    let hash = 0;
    for (let index = 0; index < this.#peerWords; index++) {
      hash = Math.imul(hash ^ words[first + index]!, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    const place = hash & (PEERS_KNOWN - 1);
    const peer = this.#peers[place];
    if (peer !== undefined && this.#isSame(peer, first)) return peer;
    const made = this.#makePeer(name);
    if (made !== undefined) this.#peers[place] = made;
    return made;
  }

  #isSame(peer: UdpPeer, first: number): boolean {
    const { words } = this.#requests;
    const known = peer.words;
    for (let index = 0; index < known.length; index++) {
      if (known[index] !== words[first + index]) return false;
    }
    return true;
  }

  #makePeer(name: number): UdpPeer | undefined {
    const { memory, words } = this.#requests;
    const client = decodeSockaddr(memory.view, name);
    // Port 0 cannot be answered (udp(7)).
    if (client === undefined || client.port === 0) return undefined;
    const local = this.#localOf(name + NAME_BYTES);
    if (local === undefined) return undefined;
    const listener = this.#handler.listenerAt(local);
    if (listener === undefined) return undefined;
    const first = name >>> 2;
    const own = words.slice(first, first + this.#peerWords);
    return new UdpPeer(this, { client, local }, listener, own);
  }

  /** The address that was asked. */
  #localOf(control: number): Endpoint | undefined {
    if (this.#controlLength === 0) return this.#local;
    const { view, bytes } = this.#requests.memory;
    const { version } = this.#socket.address;
    const level = view.getInt32(control + CMSGHDR_LEVEL, true);
    const type = view.getInt32(control + CMSGHDR_TYPE, true);
    const isInfo =
      version === 4
        ? level === SOL_IP && type === IP_PKTINFO
        : level === SOL_IPV6 && type === IPV6_PKTINFO;
    if (!isInfo) return undefined;
    const at = version === 4 ? control + PKTINFO4_LOCAL : control + CMSGHDR_LENGTH;
    const address = { version, bytes: bytes.slice(at, at + (version === 4 ? 4 : 16)) };
    return { address, port: this.#socket.port };
  }
}
