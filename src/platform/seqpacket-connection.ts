/**
 * One SOCK_SEQPACKET connection on the reactor: receives and sends whole messages in batches,
 * unix(7), recvmmsg(2), sendmmsg(2). Client and server use the same class. Main thread.
 *
 * Sending: `send` copies the message into the connection's outbound memory; everything written
 * during one turn leaves with one sendmmsg. What the kernel does not take waits for EPOLLOUT.
 * The queue is bounded: at half of its limit the connection stops reading, so that a peer that
 * pipelines without reading waits; at the limit it is closed (spec/mapper.md 8, item 3).
 *
 * Receiving: one batch buffer serves all connections; messages are borrowed by the handler. A
 * zero-length message means end of file (spec/mapper.md 2.1).
 */

import * as libc from "./libc.js";
import {
  allocateMemory,
  IOVEC_LENGTH,
  MMSGHDR_LENGTH,
  MMSGHDR_MESSAGE_LENGTH,
  MSGHDR_FLAGS,
  MSGHDR_IOV,
  MSGHDR_IOV_COUNT,
  type SystemMemory,
  setAddress,
  setIovec,
} from "./memory.js";
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, type Reactor } from "./reactor.js";
import { type PeerCredentials, peerCredentials } from "./unix-address.js";

const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

const BATCH_MESSAGES_MAX = 64;
/** A clients' message must fit: spec/mapper.md 2.1 asks for at least 4096. */
export const MESSAGE_BYTES_MAX = 8192;
const OUTBOUND_BYTES_INITIAL = 16 << 10;

/** One received message. `bytes` is borrowed: valid until the handler returns. */
export interface ReceivedMessage {
  readonly bytes: Uint8Array;
  /** The message was longer than MESSAGE_BYTES_MAX and has been cut. */
  readonly isTruncated: boolean;
}

/** Why a connection has ended. */
export type CloseReason = "closed-here" | "closed-by-peer" | "send-queue-full" | "failed";

/** What the owner of a connection wants to hear. */
export interface SeqpacketHandlers {
  onMessages(connection: SeqpacketConnection, messages: readonly ReceivedMessage[]): void;
  onClose?(connection: SeqpacketConnection, reason: CloseReason): void;
}

/** Bounds of what may wait to be sent on one connection. */
export interface SendLimits {
  readonly queueBytesMax: number;
  readonly queueMessagesMax: number;
}

/** 8,192 answers of 72 bytes fit; a client of the deployed kind has one outstanding. */
export const SEND_LIMITS_DEFAULT: SendLimits = { queueBytesMax: 1 << 20, queueMessagesMax: 8192 };

// Batch memory, one set a thread: headers, iovecs; receive buffers only where something reads.
const HEADERS = 0;
const IOVECS = BATCH_MESSAGES_MAX * MMSGHDR_LENGTH;
const BUFFERS = IOVECS + BATCH_MESSAGES_MAX * IOVEC_LENGTH;
let receiveMemory: SystemMemory | undefined;
let sendMemory: SystemMemory | undefined;

function newBatch(lengthBytes: number): SystemMemory {
  const memory = allocateMemory(lengthBytes);
  for (let index = 0; index < BATCH_MESSAGES_MAX; index++) {
    const header = HEADERS + index * MMSGHDR_LENGTH;
    const iovec = IOVECS + index * IOVEC_LENGTH;
    setAddress(memory.view, header + MSGHDR_IOV, memory.address + iovec);
    setAddress(memory.view, header + MSGHDR_IOV_COUNT, 1);
  }
  return memory;
}

function receiveBatch(): SystemMemory {
  if (receiveMemory !== undefined) return receiveMemory;
  receiveMemory = newBatch(BUFFERS + BATCH_MESSAGES_MAX * MESSAGE_BYTES_MAX);
  for (let index = 0; index < BATCH_MESSAGES_MAX; index++) {
    const buffer = receiveMemory.address + BUFFERS + index * MESSAGE_BYTES_MAX;
    setIovec(receiveMemory.view, IOVECS + index * IOVEC_LENGTH, buffer, MESSAGE_BYTES_MAX);
  }
  return receiveMemory;
}

/** A connection; made by a listener or by `connectSeqpacket`. Owns its descriptor. */
export class SeqpacketConnection {
  readonly peer: PeerCredentials;
  private readonly reactor: Reactor;
  private readonly fd: number;
  private readonly handlers: SeqpacketHandlers;
  private readonly limits: SendLimits;
  private outbound = allocateMemory(OUTBOUND_BYTES_INITIAL);
  /** Lengths of the queued messages; the first `sentCount` have left. */
  private lengths: number[] = [];
  private sentCount = 0;
  private headOffset = 0;
  private tailOffset = 0;
  private interest = EPOLLIN;
  private isFlushPlanned = false;
  private isBlocked = false;
  private closed = false;

  constructor(
    reactor: Reactor,
    fd: number,
    handlers: SeqpacketHandlers,
    limits: SendLimits = SEND_LIMITS_DEFAULT,
  ) {
    this.reactor = reactor;
    this.fd = fd;
    this.handlers = handlers;
    this.limits = limits;
    this.peer = peerCredentials(fd);
    reactor.add(fd, this.interest, (events) => this.onReady(events));
  }

  /** True after the connection has ended; sends are then refused. */
  get isClosed(): boolean {
    return this.closed;
  }

  /** Messages that wait to be sent. */
  get queuedCount(): number {
    return this.lengths.length - this.sentCount;
  }

  /**
   * Queues one message (borrows `message`, which must not be empty). False when the connection is
   * closed, or has just been closed because its queue was full.
   */
  send(message: Uint8Array): boolean {
    if (this.closed) return false;
    if (!this.makeRoom(message.length)) {
      this.end("send-queue-full");
      return false;
    }
    this.outbound.bytes.set(message, this.tailOffset);
    this.tailOffset += message.length;
    this.lengths.push(message.length);
    this.planFlush();
    return true;
  }

  /** Sends what the kernel takes at once, drops the rest and closes. */
  close(): void {
    if (!this.closed && this.queuedCount > 0) this.flush();
    this.end("closed-here");
  }

  private onReady(events: number): void {
    if ((events & EPOLLIN) !== 0) this.receive();
    else if ((events & (EPOLLHUP | EPOLLERR)) !== 0) this.end("closed-by-peer");
    if (!this.closed && (events & EPOLLOUT) !== 0) {
      this.isBlocked = false;
      this.flush();
    }
  }

  private receive(): void {
    const memory = receiveBatch();
    const flags = MSG_DONTWAIT;
    const count = libc.recvmmsg(this.fd, memory.address, BATCH_MESSAGES_MAX, flags, 0);
    if (count < 0) {
      const code = libc.errno();
      if (code !== libc.EAGAIN && code !== libc.EINTR) {
        this.end(libc.errnoName(code) === "ECONNRESET" ? "closed-by-peer" : "failed");
      }
      return;
    }
    const messages = collect(memory, count);
    if (messages.length > 0) this.handlers.onMessages(this, messages);
    if (messages.length < count) this.end("closed-by-peer");
  }

  private planFlush(): void {
    if (this.isBlocked) this.updateInterest();
    if (this.isFlushPlanned || this.isBlocked) return;
    this.isFlushPlanned = true;
    this.reactor.defer(() => {
      this.isFlushPlanned = false;
      if (!this.closed) this.flush();
    });
  }

  private flush(): void {
    while (this.queuedCount > 0) {
      const wanted = this.prepareSend();
      const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
      const sent = libc.sendmmsg(this.fd, sendMemory!.address, wanted, flags);
      if (sent < 0) {
        const code = libc.errno();
        if (code === libc.EINTR) continue;
        if (code !== libc.EAGAIN) {
          this.end("closed-by-peer");
          return;
        }
        this.isBlocked = true;
        break;
      }
      this.advance(sent);
    }
    this.updateInterest();
  }

  /** Points the batch headers at the next queued messages; returns their count. */
  private prepareSend(): number {
    sendMemory ??= newBatch(BUFFERS);
    const { view } = sendMemory;
    const count = Math.min(this.queuedCount, BATCH_MESSAGES_MAX);
    let base = this.outbound.address + this.headOffset;
    for (let index = 0; index < count; index++) {
      const lengthBytes = this.lengths[this.sentCount + index]!;
      setIovec(view, IOVECS + index * IOVEC_LENGTH, base, lengthBytes);
      base += lengthBytes;
    }
    return count;
  }

  private advance(sent: number): void {
    for (let index = 0; index < sent; index++) this.headOffset += this.lengths[this.sentCount++]!;
    if (this.queuedCount > 0) return;
    this.lengths.length = 0;
    this.sentCount = 0;
    this.headOffset = 0;
    this.tailOffset = 0;
  }

  /** Room for one more message behind the tail: by moving the queue forward, or by growing. */
  private makeRoom(lengthBytes: number): boolean {
    if (this.queuedCount >= this.limits.queueMessagesMax) return false;
    const queuedBytes = this.tailOffset - this.headOffset;
    if (queuedBytes + lengthBytes > this.limits.queueBytesMax) return false;
    if (this.tailOffset + lengthBytes <= this.outbound.bytes.length) return true;
    const needed = queuedBytes + lengthBytes;
    const old = this.outbound;
    if (2 * needed > old.bytes.length) {
      this.outbound = allocateMemory(Math.max(2 * needed, 2 * old.bytes.length));
    }
    this.outbound.bytes.set(old.bytes.subarray(this.headOffset, this.tailOffset), 0);
    this.lengths.splice(0, this.sentCount);
    this.sentCount = 0;
    this.headOffset = 0;
    this.tailOffset = queuedBytes;
    return true;
  }

  /** Asks for EPOLLOUT while blocked, and for EPOLLIN while the queue is less than half full. */
  private updateInterest(): void {
    const isHalfFull =
      2 * this.queuedCount >= this.limits.queueMessagesMax ||
      2 * (this.tailOffset - this.headOffset) >= this.limits.queueBytesMax;
    const interest = (isHalfFull ? 0 : EPOLLIN) | (this.isBlocked ? EPOLLOUT : 0);
    if (interest === this.interest) return;
    this.interest = interest;
    this.reactor.modify(this.fd, interest);
  }

  private end(reason: CloseReason): void {
    if (this.closed) return;
    this.closed = true;
    this.reactor.remove(this.fd);
    libc.close(this.fd);
    this.lengths = [];
    this.sentCount = 0;
    this.handlers.onClose?.(this, reason);
  }
}

/** The messages of a batch up to the first empty one, which stands for end of file. */
function collect(memory: SystemMemory, count: number): ReceivedMessage[] {
  const messages: ReceivedMessage[] = [];
  for (let index = 0; index < count; index++) {
    const header = HEADERS + index * MMSGHDR_LENGTH;
    const lengthBytes = memory.view.getUint32(header + MMSGHDR_MESSAGE_LENGTH, true);
    if (lengthBytes === 0) break;
    const start = BUFFERS + index * MESSAGE_BYTES_MAX;
    const isTruncated = (memory.view.getUint32(header + MSGHDR_FLAGS, true) & MSG_TRUNC) !== 0;
    messages.push({ bytes: memory.bytes.subarray(start, start + lengthBytes), isTruncated });
  }
  return messages;
}
