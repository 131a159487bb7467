/**
 * The tunnel socket as a port of a forwarding worker: recvmmsg(2) over the message headers, scatter
 * entries, socket addresses and control data at fixed places of the worker's slab; sending is in
 * tunnel-sender.ts. The socket is nonblocking, unconnected, and shared with the other workers and
 * the main thread. One direction per object.
 *
 * With UDP_GRO (udp(7), since Linux 5.0) one message may hold many datagrams of one sender; a
 * control message tells their size. What the kernel wrote is checked before it is believed.
 *
 * With IP_RECVERR an ICMP error that came in for an earlier datagram makes the next call fail once,
 * for whatever it does (ip(7)); so every error but EAGAIN is tried again before it is believed.
 */

import type { IpVersion } from "../base/ip.js";
import type { Offloads } from "../forward/offloads.js";
import {
  MESSAGE_BAD_CONTROL,
  MESSAGE_BAD_SEGMENT_SIZE,
  MESSAGE_TRUNCATED,
  type PacketBatch,
  type TunnelPort,
} from "../forward/ports.js";
import { BATCH_PACKETS_MAX, SLOT_PACKET_BYTES_MAX, slotPacketOffset } from "../tables/arena.js";
import { type CounterBlock, counterIndex } from "../tables/counters.js";
import * as libc from "./libc.js";
import {
  CMSGHDR_LENGTH,
  CMSGHDR_LEVEL,
  CMSGHDR_TYPE,
  IOVEC_LENGTH,
  MMSGHDR_LENGTH,
  MMSGHDR_MESSAGE_LENGTH,
  MSGHDR_CONTROL,
  MSGHDR_CONTROL_LENGTH,
  MSGHDR_FLAGS,
  MSGHDR_IOV,
  MSGHDR_IOV_COUNT,
  MSGHDR_NAME,
  MSGHDR_NAME_LENGTH,
  setAddress,
  setIovec,
} from "./memory.js";
import { AF_INET, AF_INET6, sockaddrLength } from "./sockaddr.js";
import { TunnelSender } from "./tunnel-sender.js";
import { SOL_UDP, UDP_GRO } from "./udp-socket.js";
import type { WorkerMemory } from "./worker-memory.js";

const MSG_CTRUNC = 0x08;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;

/** Distance of two socket addresses, and of two blocks of control data, in the slab. */
const SOCKADDR_BYTES = 32;
const SOCKADDR_PORT = 2;
const CONTROL_BYTES = 32;
/** CMSG_LEN of the int that tells the size of datagrams. */
const SEGMENT_CONTROL_BYTES = CMSGHDR_LENGTH + 4;
/** Failures of one call, one after the other, after which it is given up. */
const ATTEMPTS_MAX = 4;
/** Octets that one batch should hold: what a level-2 cache holds. */
const BATCH_BYTES = 512 * 1024;
const MESSAGES_MIN = 8;

const RECEIVE_GROUPS = counterIndex("receive-groups");

/** Receives into the slots of one slab, or sends from it; one direction per object. */
export class TunnelSocketPort implements TunnelPort {
  readonly #fd: number;
  readonly #worker: WorkerMemory;
  readonly #counters: CounterBlock;
  readonly #sockaddrLength: number;
  /** Offset of the address in a socket address. */
  readonly #addressOffset: 4 | 8;
  readonly #words: Int32Array;
  readonly #hasControl: boolean;
  readonly #sender: TunnelSender;
  #hasErrorNotice = false;
  /** Messages to ask for: fewer when they have turned out to be large. */
  #messagesMax = BATCH_PACKETS_MAX;
  #isPrepared = false;

  constructor(
    fd: number,
    version: IpVersion,
    worker: WorkerMemory,
    counters: CounterBlock,
    offloads: Pick<Offloads, "gso" | "gro">,
  ) {
    this.#fd = fd;
    this.#worker = worker;
    this.#counters = counters;
    this.#sockaddrLength = sockaddrLength(version);
    this.#addressOffset = version === 4 ? 4 : 8;
    this.#words = new Int32Array(worker.memory.buffer);
    this.#hasControl = offloads.gro;
    this.#sender = new TunnelSender(fd, version, worker, counters, offloads.gso);
  }

  /** Sets up everything of a message that stays while this object receives. */
  #prepare(index: number): void {
    const { memory, slab } = this.#worker;
    const { view, address } = memory;
    const message = slab.messagesOffset + index * MMSGHDR_LENGTH;
    const scatter = slab.scatterOffset + index * IOVEC_LENGTH;
    const name = slab.socketAddressesOffset + index * SOCKADDR_BYTES;
    const control = slab.controlOffset + index * CONTROL_BYTES;
    setAddress(view, message + MSGHDR_NAME, address + name);
    setAddress(view, message + MSGHDR_IOV, address + scatter);
    setAddress(view, message + MSGHDR_IOV_COUNT, 1);
    setAddress(view, message + MSGHDR_CONTROL, this.#hasControl ? address + control : 0);
    view.setUint16(name, this.#addressOffset === 4 ? AF_INET : AF_INET6, true);
    setIovec(view, scatter, address + slotPacketOffset(slab, index), SLOT_PACKET_BYTES_MAX);
    this.#restore(message);
  }

  /** Writes again what the kernel overwrites in a message header. */
  #restore(message: number): void {
    const { view } = this.#worker.memory;
    view.setUint32(message + MSGHDR_NAME_LENGTH, this.#sockaddrLength, true);
    setAddress(view, message + MSGHDR_CONTROL_LENGTH, this.#hasControl ? CONTROL_BYTES : 0);
    view.setUint32(message + MSGHDR_FLAGS, 0, true);
  }

  waitReadable(): boolean {
    return this.#worker.waitReadable(this.#fd, this.#noteError);
  }

  takeErrorNotice(): boolean {
    const hadNotice = this.#hasErrorNotice;
    this.#hasErrorNotice = false;
    return hadNotice;
  }

  readonly #noteError = (): void => {
    this.#hasErrorNotice = true;
  };

  receiveBatch(batch: PacketBatch): void {
    if (!this.#isPrepared) {
      for (let index = 0; index < BATCH_PACKETS_MAX; index++) this.#prepare(index);
      this.#isPrepared = true;
    }
    const { memory, slab } = this.#worker;
    const messages = memory.address + slab.messagesOffset;
    const countMax = Math.min(batch.capacity, this.#messagesMax);
    batch.count = 0;
    let received = -1;
    for (let attempt = 0; received < 0 && attempt < ATTEMPTS_MAX; attempt++) {
      received = libc.recvmmsg(this.#fd, messages, countMax, MSG_DONTWAIT, 0);
      if (received < 0 && libc.errno() === libc.EAGAIN) return;
    }
    let bytes = 0;
    for (let index = 0; index < received; index++) bytes += this.#accept(batch, index);
    if (received > 0) this.#adapt(bytes / received);
  }

  /** Chooses how many messages the next call asks for. */
  #adapt(messageBytes: number): void {
    const wanted = Math.floor(BATCH_BYTES / Math.max(1, messageBytes));
    this.#messagesMax = Math.max(MESSAGES_MIN, Math.min(BATCH_PACKETS_MAX, wanted));
  }

  /** Appends received message `index`, restores its header; returns its length. */
  #accept(batch: PacketBatch, index: number): number {
    const { memory, slab } = this.#worker;
    const message = slab.messagesOffset + index * MMSGHDR_LENGTH;
    const name = slab.socketAddressesOffset + index * SOCKADDR_BYTES;
    const length = this.#words[(message + MMSGHDR_MESSAGE_LENGTH) >>> 2]!;
    const port = memory.view.getUint16(name + SOCKADDR_PORT);
    const size = this.#segmentSize(message, slab.controlOffset + index * CONTROL_BYTES, length);
    if (size > 0 && size < length) this.#counters.add(RECEIVE_GROUPS, 1);
    this.#restore(message);
    const offset = slotPacketOffset(slab, index);
    batch.addMessage(offset, length, size, name + this.#addressOffset, port);
    return length;
  }

  /** Octets of each datagram of a received message but the last; or MESSAGE_…. */
  #segmentSize(message: number, control: number, length: number): number {
    const words = this.#words;
    const flags = words[(message + MSGHDR_FLAGS) >>> 2]!;
    if ((flags & MSG_TRUNC) !== 0) return MESSAGE_TRUNCATED;
    if ((flags & MSG_CTRUNC) !== 0) return MESSAGE_BAD_CONTROL;
    if (!this.#hasControl || words[(message + MSGHDR_CONTROL_LENGTH) >>> 2] === 0) return length;
    return readSegmentSize(words, control, length);
  }

  sendBatch(batch: PacketBatch): number {
    return this.#sender.sendBatch(batch);
  }
}

/**
 * The size that a control message at `control` (a multiple of 4) tells, checked against the length
 * of its message; or MESSAGE_…. struct cmsghdr: cmsg(3); UDP_GRO: an int.
 */
export function readSegmentSize(words: Int32Array, control: number, length: number): number {
  const isOurs =
    words[control >>> 2] === SEGMENT_CONTROL_BYTES &&
    words[(control >>> 2) + 1] === 0 &&
    words[(control + CMSGHDR_LEVEL) >>> 2] === SOL_UDP &&
    words[(control + CMSGHDR_TYPE) >>> 2] === UDP_GRO;
  if (!isOurs) return MESSAGE_BAD_CONTROL;
  const size = words[(control + CMSGHDR_LENGTH) >>> 2]!;
  return size > 0 && size <= length ? size : MESSAGE_BAD_SEGMENT_SIZE;
}
