/**
 * The TUN device as a port of a forwarding worker: one packet per read and write (no offloads),
 * directly from and to the worker's slab. The descriptor is nonblocking. Worker thread.
 *
 * Documentation/networking/tuntap.rst; drivers/net/tun.c: a read ends with EAGAIN when the queue is
 * empty; EIO and EBADFD mean that the device is down or gone.
 */

import type { PacketBatch, TunPort } from "../forward/ports.js";
import { SLOT_PACKET_BYTES_MAX, slotPacketOffset } from "../tables/arena.js";
import type { CounterBlock } from "../tables/counters.js";
import { counterIndex } from "../tables/counters.js";
import * as libc from "./libc.js";
import { POLLOUT, type WorkerMemory } from "./worker-memory.js";

const EINTR = libc.ERRNO["EINTR"]!;
/** A queue that stays full for longer than this loses the packet. */
const WRITE_WAIT_MS = 100;
const WRITE_WAITS = counterIndex("write-waits");

/** Reads into and writes from the slots of one slab. */
export class TunDevicePort implements TunPort {
  readonly #fd: number;
  readonly #worker: WorkerMemory;
  readonly #counters: CounterBlock;

  constructor(fd: number, worker: WorkerMemory, counters: CounterBlock) {
    this.#fd = fd;
    this.#worker = worker;
    this.#counters = counters;
  }

  waitReadable(): boolean {
    return this.#worker.waitReadable(this.#fd, () => {});
  }

  readBatch(batch: PacketBatch): void {
    const { memory, slab } = this.#worker;
    batch.count = 0;
    while (batch.count < batch.capacity) {
      const offset = slotPacketOffset(slab, batch.count);
      const length = libc.read(this.#fd, memory.address + offset, SLOT_PACKET_BYTES_MAX);
      if (length > 0) batch.addLocal(offset, length);
      else if (length === 0 || libc.errno() !== EINTR) return;
    }
  }

  writeBatch(batch: PacketBatch): number {
    let refused = 0;
    for (let index = 0; index < batch.count; index++) {
      const address = this.#worker.memory.address + batch.offsets[index]!;
      if (!this.#write(address, batch.lengths[index]!)) refused++;
    }
    return refused;
  }

  #write(address: number, length: number): boolean {
    for (;;) {
      if (libc.write(this.#fd, address, length) >= 0) return true;
      const error = libc.errno();
      if (error === EINTR) continue;
      if (error !== libc.EAGAIN) return false;
      this.#counters.add(WRITE_WAITS, 1);
      if (this.#worker.wait(this.#fd, POLLOUT, WRITE_WAIT_MS) <= 0) return false;
    }
  }
}
