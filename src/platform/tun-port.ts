/**
 * The TUN device as a port of a forwarding worker: one packet or super-packet per read and write,
 * directly from and to the worker's slab. The descriptor is nonblocking. Worker thread.
 *
 * Documentation/networking/tuntap.rst; drivers/net/tun.c: a read ends with EAGAIN when the queue is
 * empty; EIO and EBADFD mean that the device is down or gone; a write gathers its pieces.
 *
 * What was read lies one packet behind the other, at cache lines, so that small packets touch
 * few pages and a batch of super-packets stays in the processor's cache.
 */

import {
  type PacketBatch,
  type TunPort,
  VNET_HEADER_BYTES,
  type WriteBatch,
} from "../forward/ports.js";
import {
  BATCH_PACKETS_MAX,
  GROUP_PACKETS_MAX,
  SLOT_BYTES,
  SLOT_HEADROOM_BYTES,
  SLOT_PACKET_BYTES_MAX,
} from "../tables/arena.js";
import type { CounterBlock } from "../tables/counters.js";
import { counterIndex } from "../tables/counters.js";
import { pauseThread } from "./clock.js";
import * as libc from "./libc.js";
import { IOVEC_LENGTH, setIovec } from "./memory.js";
import { POLLOUT, READY_FIRST, READY_SECOND, type WorkerMemory } from "./worker-memory.js";

const EINTR = libc.ERRNO["EINTR"]!;
/** A queue that stays full for longer than this loses the packet. */
const WRITE_WAIT_MS = 100;
const WRITE_WAITS = counterIndex("write-waits");
const CACHE_LINE_BYTES = 64;
/** Octets of a batch after which no more packets are read: what a level-2 cache holds. */
const BATCH_BYTES = 256 * 1024;

/** Reads into and writes from one slab. */
export class TunDevicePort implements TunPort {
  readonly #fd: number;
  readonly #worker: WorkerMemory;
  readonly #counters: CounterBlock;
  readonly #headerBytes: number;
  /** The side queue, or -1. */
  readonly #sideFd: number;
  readonly #areaEnd: number;
  /** Behind the scatter entries that belong to received messages. */
  readonly #scatterOffset: number;
  /** The last batch was full: more packets may wait, and no wait is needed to know. */
  #mayHaveMore = false;
  /** READY_… of the last wait. */
  #ready = READY_FIRST;

  /**
   * `hasDeviceHeader`: the device was opened with IFF_VNET_HDR. `sideFd`: the queue of packets that
   * are not simple, where there is one (tun-steering.ts).
   */
  constructor(
    fd: number,
    worker: WorkerMemory,
    counters: CounterBlock,
    hasDeviceHeader: boolean,
    sideFd = -1,
  ) {
    this.#fd = fd;
    this.#sideFd = sideFd;
    this.#worker = worker;
    this.#counters = counters;
    this.#headerBytes = hasDeviceHeader ? VNET_HEADER_BYTES : 0;
    this.#scatterOffset = worker.slab.scatterOffset + BATCH_PACKETS_MAX * IOVEC_LENGTH;
    this.#areaEnd = worker.slab.slotsOffset + BATCH_PACKETS_MAX * SLOT_BYTES;
  }

  waitReadable(sideRestMs: number, pauseUs: number): boolean {
    const restMs = Math.ceil(sideRestMs);
    const sideFd = restMs > 0 ? -1 : this.#sideFd;
    if (pauseUs > 0 && !this.#mayHaveMore) {
      pauseThread(pauseUs);
      this.#ready = this.#worker.waitForTwo(this.#fd, sideFd, 0);
      if (this.#ready !== 0) return this.#ready > 0;
    }
    if (this.#mayHaveMore) {
      const ready = this.#worker.waitForTwo(this.#fd, sideFd, 0);
      this.#ready = ready | READY_FIRST;
      return ready >= 0;
    }
    const timeoutMs = restMs > 0 ? restMs : -1;
    this.#ready = this.#worker.waitForTwo(this.#fd, sideFd, timeoutMs);
    return this.#ready >= 0;
  }

  readBatch(batch: PacketBatch): void {
    batch.count = 0;
    this.#mayHaveMore = false;
    if ((this.#ready & READY_FIRST) === 0) return;
    this.#mayHaveMore = this.#read(this.#fd, batch);
  }

  hasSidePackets(): boolean {
    return (this.#ready & READY_SECOND) !== 0;
  }

  readSideBatch(batch: PacketBatch): void {
    batch.count = 0;
    this.#read(this.#sideFd, batch);
  }

  /** Reads until the queue is empty or the batch full; true when it was full. */
  #read(fd: number, batch: PacketBatch): boolean {
    const { memory, slab } = this.#worker;
    const header = this.#headerBytes;
    const bytesMax = SLOT_PACKET_BYTES_MAX + header;
    const end = Math.min(this.#areaEnd - bytesMax, slab.slotsOffset + BATCH_BYTES);
    for (let next = slab.slotsOffset; batch.count < batch.capacity && next < end; ) {
      const offset = next + SLOT_HEADROOM_BYTES;
      const length = libc.read(fd, memory.address + offset - header, bytesMax);
      if (length > 0) {
        batch.addLocal(offset, length - header);
        next = (offset + length + CACHE_LINE_BYTES - 1) & -CACHE_LINE_BYTES;
      } else if (length === 0 || libc.errno() !== EINTR) return false;
    }
    return true;
  }

  writeBatch(batch: WriteBatch): number {
    const header = this.#headerBytes;
    let refused = 0;
    batch.refusedPackets = 0;
    for (let index = 0; index < batch.count; index++) {
      const address = this.#worker.memory.address + batch.offsets[index]! - header;
      const length = batch.lengths[index]! + header;
      const pieces = this.#gather(batch, index, address, length);
      if (this.#write(address, length, pieces)) continue;
      refused++;
      batch.refused[index] = 1;
      batch.refusedPackets += batch.packetCounts[index]!;
    }
    return refused;
  }

  /** Fills the scatter entries of a packet in pieces; returns how many, 0 for one in one piece. */
  #gather(batch: WriteBatch, index: number, address: number, length: number): number {
    const pieces = batch.pieceCounts[index]!;
    if (pieces === 0) return 0;
    const { memory } = this.#worker;
    let entry = this.#scatterOffset;
    setIovec(memory.view, entry, address, length);
    const first = index * GROUP_PACKETS_MAX;
    for (let piece = first; piece < first + pieces; piece++) {
      entry += IOVEC_LENGTH;
      const start = memory.address + batch.pieceOffsets[piece]!;
      setIovec(memory.view, entry, start, batch.pieceLengths[piece]!);
    }
    return pieces + 1;
  }

  /** Writes one packet: `pieces` scatter entries, or the bytes at `address` when it is 0. */
  #write(address: number, length: number, pieces: number): boolean {
    const scatter = this.#worker.memory.address + this.#scatterOffset;
    for (;;) {
      const written =
        pieces === 0
          ? libc.write(this.#fd, address, length)
          : libc.writev(this.#fd, scatter, pieces);
      if (written >= 0) return true;
      const error = libc.errno();
      if (error === EINTR) continue;
      if (error !== libc.EAGAIN) return false;
      this.#counters.add(WRITE_WAITS, 1);
      if (this.#worker.wait(this.#fd, POLLOUT, WRITE_WAIT_MS) <= 0) return false;
    }
  }
}
