/**
 * A worker's slab as system calls need it, and waiting for one descriptor or the order to end.
 * Worker thread. poll(2); the layout of the slab is that of tables/arena.ts.
 *
 * One descriptor brings two messages (eventfd.ts): a signal ends the worker, a nudge asks whether
 * it is alive, which it answers from the same place where it waits. Nobody asks: no cost.
 */

import { type SlabLayout, slabLayout } from "../tables/arena.js";
import { EVENT_NUDGE, EVENT_SIGNAL, signalEventFd, takeEvent } from "./eventfd.js";
import * as libc from "./libc.js";
import { type SystemMemory, wrapMemory } from "./memory.js";

// poll(2), asm-generic/poll.h. struct pollfd: fd 4, events 2, revents 2.
export const POLLIN = 0x1;
export const POLLOUT = 0x4;
export const POLLERR = 0x8;
const POLLFD_LENGTH = 8;
const POLLFD_EVENTS = 4;
const POLLFD_REVENTS = 6;

/** What `waitForTwo` found. */
export const READY_FIRST = 1;
export const READY_SECOND = 2;

/** After an error without data: how long a worker stays away from the descriptor. */
const BACK_OFF_MS = 2;

/** A slab, its memory, and the descriptor that ends or nudges the worker. */
export class WorkerMemory {
  readonly memory: SystemMemory;
  readonly slab: SlabLayout;
  readonly #stopFd: number;
  readonly #onNudge: () => void;
  readonly #words: Int32Array;

  /** `onNudge` is called in the worker for each nudge; nudges need a descriptor of its own. */
  constructor(
    buffer: SharedArrayBuffer | ArrayBuffer,
    slabOffset: number,
    stopFd: number,
    onNudge: () => void = () => {},
  ) {
    this.memory = wrapMemory(buffer);
    this.slab = slabLayout(slabOffset);
    this.#words = new Int32Array(buffer);
    this.#stopFd = stopFd;
    this.#onNudge = onNudge;
  }

  /**
   * Waits for events of `fd`, at most `timeoutMs` (-1: any time). Returns the events that
   * happened, 0 after the time, -1 when the worker is told to end.
   */
  wait(fd: number, events: number, timeoutMs: number): number {
    const { view, address } = this.memory;
    const own = this.slab.pollOffset;
    const stop = own + POLLFD_LENGTH;
    view.setInt32(own, fd, true);
    view.setInt32(own + POLLFD_EVENTS, events, true);
    view.setInt32(stop, this.#stopFd, true);
    view.setInt32(stop + POLLFD_EVENTS, POLLIN, true);
    for (;;) {
      if (libc.poll(address + own, 2, timeoutMs) <= 0) return 0;
      if (view.getInt16(stop + POLLFD_REVENTS, true) !== 0 && this.#mustEnd()) return -1;
      const happened = view.getInt16(own + POLLFD_REVENTS, true);
      // After a mere nudge the wait begins again: a nudge must not look like the end of the time.
      if (happened !== 0 || timeoutMs === 0) return happened;
    }
  }

  /**
   * Waits until one of two descriptors can be read, at most `timeoutMs` (-1: any time); a negative
   * `second` is left out. Returns READY_… bits, 0 after the time, -1 when told to end.
   */
  waitForTwo(first: number, second: number, timeoutMs: number): number {
    const { address } = this.memory;
    const words = this.#words;
    const own = this.slab.pollOffset;
    // Three times struct pollfd: descriptor, events below revents.
    const word = own >>> 2;
    words[word] = first;
    words[word + 1] = POLLIN;
    words[word + 2] = this.#stopFd;
    words[word + 3] = POLLIN;
    words[word + 4] = second;
    words[word + 5] = POLLIN;
    for (;;) {
      if (libc.poll(address + own, 3, timeoutMs) <= 0) return 0;
      if (words[word + 3]! >>> 16 !== 0 && this.#mustEnd()) return -1;
      const a = words[word + 1]! >>> 16;
      const b = second < 0 ? 0 : words[word + 5]! >>> 16;
      const ready =
        ((a & POLLIN) !== 0 ? READY_FIRST : 0) | ((b & POLLIN) !== 0 ? READY_SECOND : 0);
      if (ready !== 0 || timeoutMs === 0) return ready;
      if ((a | b) !== 0) return this.#backOff() ? 0 : -1;
    }
  }

  /** Takes what came to the worker itself; the order to end stays for others, and for later. */
  #mustEnd(): boolean {
    const event = takeEvent(this.#stopFd);
    if (event === EVENT_SIGNAL) signalEventFd(this.#stopFd);
    if (event === EVENT_NUDGE) this.#onNudge();
    return event === EVENT_SIGNAL;
  }

  /** True when the worker is told to end; does not wait. */
  isStopped(): boolean {
    return this.wait(-1, 0, 0) < 0;
  }

  /** Waits until `fd` can be read; false when told to end. `onError` hears of each error state. */
  waitReadable(fd: number, onError: () => void): boolean {
    for (;;) {
      const events = this.wait(fd, POLLIN, -1);
      if (events < 0) return false;
      if ((events & ~POLLIN) !== 0) onError();
      if ((events & POLLIN) !== 0) return true;
      if (events !== 0) return this.#backOff();
    }
  }

  #backOff(): boolean {
    return this.wait(-1, 0, BACK_OFF_MS) === 0;
  }
}
