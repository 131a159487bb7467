/**
 * The tunnel socket as a port of a forwarding worker: recvmmsg(2) and sendmmsg(2) over the message
 * headers, scatter entries and socket addresses at fixed places of the worker's slab. The socket is
 * nonblocking, unconnected, and shared with the other workers and the main thread.
 *
 * Packets in a row that go to one remote gateway and have one length leave as one message with
 * UDP_SEGMENT: they cross the network stack together, whatever flows they belong to. The kernel
 * refuses a group of packets larger than the device's MTU (EINVAL); the batch then goes on packet
 * by packet, and each gets its own verdict.
 *
 * With IP_RECVERR an ICMP error that came in for an earlier datagram makes the next call fail once,
 * for whatever it does (ip(7)); so every error but EAGAIN is tried again before it is believed.
 */

import type { IpVersion } from "../base/ip.js";
import {
  type PacketBatch,
  SEND_DONE,
  SEND_FAILED,
  SEND_TOO_BIG,
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
import { POLLOUT, type WorkerMemory } from "./worker-memory.js";

const MSG_DONTWAIT = 0x40;
const EMSGSIZE = libc.ERRNO["EMSGSIZE"]!;

/** Distance of two socket addresses in the slab. */
const SOCKADDR_BYTES = 32;
const SOCKADDR_PORT = 2;
/** Failures of one message, one after the other, after which it is given up. */
const ATTEMPTS_MAX = 4;
/** A send buffer that stays full for longer than this loses the batch. */
const SEND_WAIT_MS = 100;

// linux/udp.h, udp(7): one message of equal datagrams, cut by the kernel (since Linux 4.18).
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
/** CMSG_SPACE of a 16-bit number. */
const SEGMENT_CONTROL_BYTES = CMSGHDR_LENGTH + 8;
const CONTROL_BYTES = 32;
/** UDP_MAX_SEGMENTS of linux/udp.h before Linux 6.9. */
const GROUP_PACKETS_MAX = 64;
/** 65,535 octets of IPv4 packet less 20 and 8 octets of headers. */
const GROUP_BYTES_MAX = 65_507;
/** Refused groups after which grouping is given up: an old kernel, or an odd device. */
const GROUP_FAILURES_MAX = 16;

const SEND_WAITS = counterIndex("send-waits");
const SEND_ERRORS = counterIndex("send-errors");

/** Receives into the slots of one slab, or sends from it; one direction per object. */
export class TunnelSocketPort implements TunnelPort {
  readonly #fd: number;
  readonly #worker: WorkerMemory;
  readonly #counters: CounterBlock;
  readonly #sockaddrLength: number;
  /** Offset of the address in a socket address, and its 32-bit words. */
  readonly #addressOffset: 4 | 8;
  readonly #addressWords: 1 | 4;
  readonly #words: Int32Array;
  #hasErrorNotice = false;
  /** Packets of each message that is being sent. */
  readonly #groupSizes = new Uint8Array(BATCH_PACKETS_MAX);
  #messageCount = 0;
  #sentPackets = 0;
  #groupPacketsMax = GROUP_PACKETS_MAX;
  #groupFailures = 0;

  constructor(fd: number, version: IpVersion, worker: WorkerMemory, counters: CounterBlock) {
    this.#fd = fd;
    this.#worker = worker;
    this.#counters = counters;
    this.#sockaddrLength = sockaddrLength(version);
    this.#addressOffset = version === 4 ? 4 : 8;
    this.#addressWords = version === 4 ? 1 : 4;
    this.#words = new Int32Array(worker.memory.buffer);
    for (let index = 0; index < BATCH_PACKETS_MAX; index++) this.#prepare(index, version);
  }

  /** Sets up everything of a message that stays. Sending and receiving share this form. */
  #prepare(index: number, version: IpVersion): void {
    const { memory, slab } = this.#worker;
    const { view, address } = memory;
    const message = slab.messagesOffset + index * MMSGHDR_LENGTH;
    const scatter = slab.scatterOffset + index * IOVEC_LENGTH;
    const name = slab.socketAddressesOffset + index * SOCKADDR_BYTES;
    setAddress(view, message + MSGHDR_NAME, address + name);
    view.setUint32(message + MSGHDR_NAME_LENGTH, this.#sockaddrLength, true);
    setAddress(view, message + MSGHDR_IOV, address + scatter);
    setAddress(view, message + MSGHDR_IOV_COUNT, 1);
    setAddress(view, message + MSGHDR_CONTROL, 0);
    setAddress(view, message + MSGHDR_CONTROL_LENGTH, 0);
    view.setUint32(message + MSGHDR_FLAGS, 0, true);
    view.setUint16(name, version === 4 ? AF_INET : AF_INET6, true);
    const slot = slotPacketOffset(slab, index);
    setIovec(view, scatter, address + slot, SLOT_PACKET_BYTES_MAX);
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
    const { memory, slab } = this.#worker;
    const { messagesOffset } = slab;
    batch.count = 0;
    const messages = memory.address + messagesOffset;
    let received = -1;
    for (let attempt = 0; received < 0 && attempt < ATTEMPTS_MAX; attempt++) {
      received = libc.recvmmsg(this.#fd, messages, batch.capacity, MSG_DONTWAIT, 0);
      if (received < 0 && libc.errno() === libc.EAGAIN) return;
    }
    for (let index = 0; index < received; index++) this.#accept(batch, index);
  }

  /** Appends received message `index`; restores what the kernel wrote into its header. */
  #accept(batch: PacketBatch, index: number): void {
    const { memory, slab } = this.#worker;
    const message = slab.messagesOffset + index * MMSGHDR_LENGTH;
    const name = slab.socketAddressesOffset + index * SOCKADDR_BYTES;
    const length = this.#words[(message + MMSGHDR_MESSAGE_LENGTH) >>> 2]!;
    const port = memory.view.getUint16(name + SOCKADDR_PORT);
    this.#words[(message + MSGHDR_NAME_LENGTH) >>> 2] = this.#sockaddrLength;
    batch.addTunnel(slotPacketOffset(slab, index), length, name + this.#addressOffset, port);
  }

  sendBatch(batch: PacketBatch): number {
    for (let index = 0; index < batch.count; index++) this.#address(batch, index);
    const grouping = this.#groupPacketsMax;
    let failed = 0;
    for (let next = 0; next < batch.count; ) {
      this.#messageCount = this.#groupFrom(batch, next);
      failed += this.#sendMessages(batch, next);
      next = this.#sentPackets;
    }
    if (this.#groupFailures < GROUP_FAILURES_MAX) this.#groupPacketsMax = grouping;
    return failed;
  }

  /** Points scatter entry and socket address `index` at a packet and its remote gateway. */
  #address(batch: PacketBatch, index: number): void {
    const { memory, slab } = this.#worker;
    const words = this.#words;
    const scatter = slab.scatterOffset + index * IOVEC_LENGTH;
    const name = slab.socketAddressesOffset + index * SOCKADDR_BYTES;
    setIovec(memory.view, scatter, memory.address + batch.offsets[index]!, batch.lengths[index]!);
    memory.view.setUint16(name + SOCKADDR_PORT, batch.ports[index]!);
    const target = (name + this.#addressOffset) >>> 2;
    const source = batch.addressOffsets[index]! >>> 2;
    for (let word = 0; word < this.#addressWords; word++) {
      words[target + word] = words[source + word]!;
    }
    batch.outcomes[index] = SEND_DONE;
  }

  /** Makes messages of the packets from `first` on; returns how many messages. */
  #groupFrom(batch: PacketBatch, first: number): number {
    let messages = 0;
    for (let next = first; next < batch.count; messages++) {
      const size = this.#groupSize(batch, next);
      this.#groupSizes[messages] = size;
      this.#fillMessage(messages, next, size, batch.lengths[next]!);
      next += size;
    }
    return messages;
  }

  /** Packets from `first` on that can be one message: one remote gateway, one length. */
  #groupSize(batch: PacketBatch, first: number): number {
    const { lengths, ports } = batch;
    const length = lengths[first]!;
    const most = Math.min(batch.count - first, this.#groupPacketsMax);
    let total = length;
    let size = 1;
    // Only the last packet may be shorter (udp(7), UDP_SEGMENT).
    while (size < most && lengths[first + size - 1] === length) {
      const next = first + size;
      const added = lengths[next]!;
      total += added;
      const fits = added > 0 && added <= length && total <= GROUP_BYTES_MAX;
      if (!fits || ports[next] !== ports[first] || !this.#sameGateway(first, next)) break;
      size++;
    }
    return size;
  }

  #sameGateway(a: number, b: number): boolean {
    const base = this.#worker.slab.socketAddressesOffset + this.#addressOffset;
    const [wordA, wordB] = [(base + a * SOCKADDR_BYTES) >>> 2, (base + b * SOCKADDR_BYTES) >>> 2];
    for (let word = 0; word < this.#addressWords; word++) {
      if (this.#words[wordA + word] !== this.#words[wordB + word]) return false;
    }
    return true;
  }

  /** Writes message header `message` for `size` packets of `length` octets from `first` on. */
  #fillMessage(message: number, first: number, size: number, length: number): void {
    const { memory, slab } = this.#worker;
    const { view, address } = memory;
    const header = slab.messagesOffset + message * MMSGHDR_LENGTH;
    setAddress(view, header + MSGHDR_NAME, address + this.#nameOffset(first));
    setAddress(view, header + MSGHDR_IOV, address + slab.scatterOffset + first * IOVEC_LENGTH);
    this.#words[(header + MSGHDR_IOV_COUNT) >>> 2] = size;
    const control = slab.controlOffset + message * CONTROL_BYTES;
    const isGroup = size > 1;
    setAddress(view, header + MSGHDR_CONTROL, isGroup ? address + control : 0);
    this.#words[(header + MSGHDR_CONTROL_LENGTH) >>> 2] = isGroup ? SEGMENT_CONTROL_BYTES : 0;
    if (!isGroup) return;
    setAddress(view, control, CMSGHDR_LENGTH + 2);
    this.#words[(control + CMSGHDR_LEVEL) >>> 2] = SOL_UDP;
    this.#words[(control + CMSGHDR_TYPE) >>> 2] = UDP_SEGMENT;
    view.setUint16(control + CMSGHDR_LENGTH, length, true);
  }

  #nameOffset(index: number): number {
    return this.#worker.slab.socketAddressesOffset + index * SOCKADDR_BYTES;
  }

  /**
   * Sends the messages made from packet `first` on; returns how many packets failed. Ends early,
   * and has later packets grouped anew, when the kernel refuses a group. `#sentPackets` tells how
   * far it came.
   */
  #sendMessages(batch: PacketBatch, first: number): number {
    const messages = this.#worker.memory.address + this.#worker.slab.messagesOffset;
    let failed = 0;
    let attempts = 0;
    this.#sentPackets = first;
    for (let next = 0; next < this.#messageCount; ) {
      const start = messages + next * MMSGHDR_LENGTH;
      const sent = libc.sendmmsg(this.#fd, start, this.#messageCount - next, MSG_DONTWAIT);
      if (sent > 0) {
        this.#noteSent(next, sent);
        next += sent;
        attempts = 0;
        continue;
      }
      const error = libc.errno();
      if (this.#mayRetry(error, ++attempts)) continue;
      const size = this.#groupSizes[next++]!;
      if (size > 1 && error !== libc.EAGAIN) {
        this.#stopGrouping();
        return failed;
      }
      failed += this.#giveUp(batch, size, error);
      attempts = 0;
    }
    return failed;
  }

  /** Counts the packets of `sent` messages; a group that went out proves that groups work. */
  #noteSent(first: number, sent: number): void {
    for (let message = first; message < first + sent; message++) {
      const size = this.#groupSizes[message]!;
      this.#sentPackets += size;
      if (size > 1) this.#groupFailures = 0;
    }
  }

  /** Sends the rest of the batch packet by packet; for good after several refusals. */
  #stopGrouping(): void {
    this.#groupFailures++;
    this.#groupPacketsMax = 1;
  }

  /** Notes the outcome of a refused message of `size` packets; returns `size`. */
  #giveUp(batch: PacketBatch, size: number, error: number): number {
    const outcome = error === EMSGSIZE ? SEND_TOO_BIG : SEND_FAILED;
    // Too big alone, so too big in a group: that was not the fault of groups.
    if (error === EMSGSIZE) this.#groupFailures = 0;
    batch.outcomes.fill(outcome, this.#sentPackets, this.#sentPackets + size);
    this.#sentPackets += size;
    return size;
  }

  /** After a failed call: waits while the buffer is full; else says whether to try again. */
  #mayRetry(error: number, attempts: number): boolean {
    if (error !== libc.EAGAIN) {
      this.#counters.add(SEND_ERRORS, 1);
      return attempts < ATTEMPTS_MAX;
    }
    this.#counters.add(SEND_WAITS, 1);
    return this.#worker.wait(this.#fd, POLLOUT, SEND_WAIT_MS) > 0;
  }
}
