/**
 * Sending on the tunnel socket: sendmmsg(2) over the message headers, scatter entries, socket
 * addresses and control data at fixed places of the worker's slab. Worker thread.
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
import { type PacketBatch, SEND_DONE, SEND_FAILED, SEND_TOO_BIG } from "../forward/ports.js";
import { BATCH_PACKETS_MAX, GROUP_PACKETS_MAX, SCATTER_MAX } from "../tables/arena.js";
import { type CounterBlock, counterIndex } from "../tables/counters.js";
import * as libc from "./libc.js";
import {
  CMSGHDR_LENGTH,
  CMSGHDR_LEVEL,
  CMSGHDR_TYPE,
  IOVEC_LENGTH,
  MMSGHDR_LENGTH,
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
import { SOL_UDP, UDP_SEGMENT } from "./udp-socket.js";
import { POLLOUT, type WorkerMemory } from "./worker-memory.js";

const MSG_DONTWAIT = 0x40;
const EMSGSIZE = libc.ERRNO["EMSGSIZE"]!;
const EINVAL = libc.ERRNO["EINVAL"]!;
const EIO = libc.ERRNO["EIO"]!;

const SOCKADDR_BYTES = 32;
const SOCKADDR_PORT = 2;
const CONTROL_BYTES = 32;
/** CMSG_SPACE of a 16-bit number. */
const SEGMENT_CONTROL_BYTES = CMSGHDR_LENGTH + 8;
/** Failures of one message, one after the other, after which it is given up. */
const ATTEMPTS_MAX = 4;
/** A send buffer that stays full for longer than this loses the batch. */
const SEND_WAIT_MS = 100;
/** 65,535 octets of IPv4 packet less 20 and 8 octets of headers. */
const GROUP_BYTES_MAX = 65_507;
/** Refused groups after which grouping is given up: an old kernel, or an odd device. */
const GROUP_FAILURES_MAX = 16;

const SEND_WAITS = counterIndex("send-waits");
const SEND_ERRORS = counterIndex("send-errors");
const SEND_GROUPS = counterIndex("send-groups");
const GROUPS_OFF = counterIndex("send-groups-off");

/** The system calls of sending; another one in tests of what a kernel rarely does. */
export type SendCalls = Pick<typeof libc, "sendmmsg" | "errno">;

/** Sends batches from one slab. */
export class TunnelSender {
  readonly #fd: number;
  readonly #worker: WorkerMemory;
  readonly #counters: CounterBlock;
  readonly #calls: SendCalls;
  readonly #sockaddrLength: number;
  readonly #family: number;
  /** Offset of the address in a socket address, and its 32-bit words. */
  readonly #addressOffset: 4 | 8;
  readonly #addressWords: 1 | 4;
  readonly #words: Int32Array;
  /** Packets of each message that is being sent. */
  readonly #groupSizes = new Uint8Array(BATCH_PACKETS_MAX);
  #messageCount = 0;
  #sentPackets = 0;
  #scatterCount = 0;
  #groupPacketsMax: number;
  #groupFailures = 0;

  /** `hasGroups` is false when each packet shall be a message of its own. */
  constructor(
    fd: number,
    version: IpVersion,
    worker: WorkerMemory,
    counters: CounterBlock,
    hasGroups: boolean,
    calls: SendCalls = libc,
  ) {
    this.#calls = calls;
    this.#fd = fd;
    this.#worker = worker;
    this.#counters = counters;
    this.#sockaddrLength = sockaddrLength(version);
    this.#family = version === 4 ? AF_INET : AF_INET6;
    this.#addressOffset = version === 4 ? 4 : 8;
    this.#addressWords = version === 4 ? 1 : 4;
    this.#words = new Int32Array(worker.memory.buffer);
    this.#groupPacketsMax = hasGroups ? GROUP_PACKETS_MAX : 1;
  }

  /** As TunnelPort.sendBatch. */
  sendBatch(batch: PacketBatch): number {
    batch.outcomes.fill(SEND_DONE, 0, batch.count);
    const grouping = this.#groupPacketsMax;
    let failed = 0;
    for (let next = 0; next < batch.count; ) {
      this.#makeMessages(batch, next);
      failed += this.#sendMessages(batch, next);
      next = this.#sentPackets;
    }
    if (this.#groupFailures < GROUP_FAILURES_MAX) this.#groupPacketsMax = grouping;
    return failed;
  }

  /** Makes messages of the packets from `first` on, as many as there is room for. */
  #makeMessages(batch: PacketBatch, first: number): void {
    this.#messageCount = 0;
    this.#scatterCount = 0;
    const scatterMax = SCATTER_MAX - 2 * GROUP_PACKETS_MAX;
    for (let next = first; next < batch.count; ) {
      if (this.#messageCount === BATCH_PACKETS_MAX || this.#scatterCount > scatterMax) return;
      const size = this.#groupSize(batch, next);
      this.#fillMessage(batch, next, size);
      next += size;
    }
  }

  /** Packets from `first` on that can be one message: one remote gateway, one length. */
  #groupSize(batch: PacketBatch, first: number): number {
    const length = batch.totalLength(first);
    const most = Math.min(batch.count - first, this.#groupPacketsMax);
    let total = length;
    let size = 1;
    // Only the last packet may be shorter (udp(7), UDP_SEGMENT).
    for (let last = length; size < most && last === length; size++) {
      last = batch.totalLength(first + size);
      total += last;
      const fits = last > 0 && last <= length && total <= GROUP_BYTES_MAX;
      if (!fits || !this.#sameGateway(batch, first, first + size)) break;
    }
    return size;
  }

  #sameGateway(batch: PacketBatch, a: number, b: number): boolean {
    const { ports, addressOffsets } = batch;
    if (ports[a] !== ports[b]) return false;
    const wordA = addressOffsets[a]! >>> 2;
    const wordB = addressOffsets[b]! >>> 2;
    if (wordA === wordB) return true;
    for (let word = 0; word < this.#addressWords; word++) {
      if (this.#words[wordA + word] !== this.#words[wordB + word]) return false;
    }
    return true;
  }

  /** Writes the next message header, for `size` packets from `first` on. */
  #fillMessage(batch: PacketBatch, first: number, size: number): void {
    const { memory, slab } = this.#worker;
    const { view, address } = memory;
    const message = this.#messageCount++;
    this.#groupSizes[message] = size;
    const header = slab.messagesOffset + message * MMSGHDR_LENGTH;
    const scatter = slab.scatterOffset + this.#scatterCount * IOVEC_LENGTH;
    const entries = this.#scatter(batch, first, size);
    setAddress(view, header + MSGHDR_NAME, address + this.#address(batch, first, message));
    view.setUint32(header + MSGHDR_NAME_LENGTH, this.#sockaddrLength, true);
    setAddress(view, header + MSGHDR_IOV, address + scatter);
    setAddress(view, header + MSGHDR_IOV_COUNT, entries);
    view.setUint32(header + MSGHDR_FLAGS, 0, true);
    const control = slab.controlOffset + message * CONTROL_BYTES;
    const isGroup = size > 1;
    setAddress(view, header + MSGHDR_CONTROL, isGroup ? address + control : 0);
    setAddress(view, header + MSGHDR_CONTROL_LENGTH, isGroup ? SEGMENT_CONTROL_BYTES : 0);
    if (!isGroup) return;
    setAddress(view, control, CMSGHDR_LENGTH + 2);
    view.setInt32(control + CMSGHDR_LEVEL, SOL_UDP, true);
    view.setInt32(control + CMSGHDR_TYPE, UDP_SEGMENT, true);
    view.setUint16(control + CMSGHDR_LENGTH, batch.totalLength(first), true);
  }

  /** Fills scatter entries for headers and payloads; returns how many. */
  #scatter(batch: PacketBatch, first: number, size: number): number {
    const { memory, slab } = this.#worker;
    const { view, address } = memory;
    const start = this.#scatterCount;
    for (let packet = first; packet < first + size; packet++) {
      const entry = slab.scatterOffset + this.#scatterCount++ * IOVEC_LENGTH;
      setIovec(view, entry, address + batch.offsets[packet]!, batch.lengths[packet]!);
      const length = batch.payloadLengths[packet]!;
      if (length === 0) continue;
      this.#scatterCount++;
      setIovec(view, entry + IOVEC_LENGTH, address + batch.payloadOffsets[packet]!, length);
    }
    return this.#scatterCount - start;
  }

  /** Fills the socket address of a message; returns its offset. */
  #address(batch: PacketBatch, packet: number, message: number): number {
    const { memory, slab } = this.#worker;
    const words = this.#words;
    const name = slab.socketAddressesOffset + message * SOCKADDR_BYTES;
    memory.view.setUint16(name, this.#family, true);
    memory.view.setUint16(name + SOCKADDR_PORT, batch.ports[packet]!);
    const target = (name + this.#addressOffset) >>> 2;
    const source = batch.addressOffsets[packet]! >>> 2;
    for (let word = 0; word < this.#addressWords; word++) {
      words[target + word] = words[source + word]!;
    }
    return name;
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
      const sent = this.#calls.sendmmsg(this.#fd, start, this.#messageCount - next, MSG_DONTWAIT);
      if (sent > 0) {
        this.#noteSent(next, sent);
        next += sent;
        attempts = 0;
        continue;
      }
      const error = this.#calls.errno();
      if (this.#mayRetry(error, ++attempts)) continue;
      const size = this.#groupSizes[next++]!;
      if (size > 1 && isGroupRefusal(error)) {
        this.#stopGrouping(error);
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
      if (size === 1) continue;
      this.#groupFailures = 0;
      this.#counters.add(SEND_GROUPS, 1);
    }
  }

  /**
   * Sends the rest of the batch packet by packet; for good after several refusals, and at once
   * when the device cannot finish checksums (EIO, net/ipv4/udp.c, udp_send_skb).
   */
  #stopGrouping(error: number): void {
    this.#groupFailures = error === EIO ? GROUP_FAILURES_MAX : this.#groupFailures + 1;
    this.#groupPacketsMax = 1;
    if (this.#groupFailures === GROUP_FAILURES_MAX) this.#counters.add(GROUPS_OFF, 1);
  }

  /** Notes the outcome of a refused message of `size` packets; returns `size`. */
  #giveUp(batch: PacketBatch, size: number, error: number): number {
    const outcome = error === EMSGSIZE ? SEND_TOO_BIG : SEND_FAILED;
    // Too big alone, so too big in a group: that was not the fault of groups.
    if (error === EMSGSIZE && this.#groupFailures < GROUP_FAILURES_MAX) this.#groupFailures = 0;
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

/**
 * Refusals that may concern the group and not its packets: too large for the device (EINVAL,
 * EMSGSIZE), or a device without checksums (EIO). A full queue (ENOBUFS) is none.
 */
function isGroupRefusal(error: number): boolean {
  return error === EINVAL || error === EMSGSIZE || error === EIO;
}
