/**
 * The event hub of the main thread: descriptors become ready, handlers run. epoll(7).
 *
 * All descriptors are in one epoll set; libuv watches that set's own descriptor, so waiting costs
 * no thread and a wake-up takes about 4 microseconds (Node 20, November 2026). Level-triggered: a
 * handler that leaves data is called again in the next turn of the event loop, after timers and
 * promises had theirs. A handler that throws is a bug and ends the process.
 */

import koffi from "koffi";
import { assert } from "../base/assert.js";
import * as libc from "./libc.js";
import { allocateMemory } from "./memory.js";
import { lastRefusal } from "./system-error.js";

// sys/epoll.h
export const EPOLLIN = 0x001;
export const EPOLLOUT = 0x004;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

// struct epoll_event: events 4, then 8 bytes of user data; packed on x86_64 only.
const EVENT_DATA = libc.EPOLL_EVENT_PACKED ? 4 : 8;
const EVENT_LENGTH = EVENT_DATA + 8;
const EVENTS_PER_TURN_MAX = 64;

/** Called with the events that hold: EPOLLIN and so on; EPOLLERR and EPOLLHUP come unasked. */
export type EventHandler = (events: number) => void;

interface Registration {
  readonly handler: EventHandler;
  /** Tells a reused descriptor number from its predecessor within one turn. */
  readonly generation: number;
}

/** Dispatches readiness of descriptors to handlers. */
export class Reactor {
  private readonly epollFd: number;
  private readonly pollHandle: ReturnType<typeof koffi.node.poll>;
  private readonly events = allocateMemory(EVENT_LENGTH * EVENTS_PER_TURN_MAX);
  private readonly control = allocateMemory(EVENT_LENGTH);
  private readonly registrations = new Map<number, Registration>();
  private deferred: (() => void)[] = [];
  private isDispatching = false;
  private isClosed = false;
  private nextGeneration = 1;

  constructor() {
    this.epollFd = libc.epollCreate1(EPOLL_CLOEXEC);
    if (this.epollFd < 0) throw lastRefusal("create the event set", "epoll_create1");
    this.pollHandle = koffi.node.poll(this.epollFd, { readable: true }, () => this.dispatch());
  }

  /** Watches a descriptor. The caller keeps it open until `remove`. */
  add(fd: number, events: number, handler: EventHandler): void {
    assert(!this.registrations.has(fd), "descriptor is watched once");
    const generation = this.nextGeneration++ >>> 0;
    this.registrations.set(fd, { handler, generation });
    this.change(EPOLL_CTL_ADD, fd, events, generation);
  }

  /** Changes the events that a watched descriptor waits for; 0 keeps only errors. */
  modify(fd: number, events: number): void {
    const registration = this.registrations.get(fd);
    assert(registration !== undefined, "descriptor is watched");
    this.change(EPOLL_CTL_MOD, fd, events, registration.generation);
  }

  /** Stops watching; call before closing the descriptor. No handler call follows. */
  remove(fd: number): void {
    if (!this.registrations.delete(fd) || this.isClosed) return;
    this.change(EPOLL_CTL_DEL, fd, 0, 0);
  }

  /** Runs `work` once after the handlers of this turn, or after the present callback. */
  defer(work: () => void): void {
    this.deferred.push(work);
    if (this.deferred.length === 1 && !this.isDispatching) {
      process.nextTick(() => this.guard(() => this.runDeferred()));
    }
  }

  /** Lets the process end although descriptors are watched. */
  unref(): void {
    this.pollHandle.unref();
  }

  /** Keeps the process alive (the state at the beginning). */
  ref(): void {
    this.pollHandle.ref();
  }

  /** Stops all watching; the descriptors themselves belong to their owners. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.pollHandle.close();
    this.registrations.clear();
    libc.close(this.epollFd);
  }

  private change(operation: number, fd: number, events: number, generation: number): void {
    const { view, address } = this.control;
    view.setUint32(0, events, true);
    view.setUint32(EVENT_DATA, fd, true);
    view.setUint32(EVENT_DATA + 4, generation, true);
    if (libc.epollCtl(this.epollFd, operation, fd, address) < 0) {
      throw lastRefusal(`watch descriptor ${fd}`, "epoll_ctl");
    }
  }

  private dispatch(): void {
    if (this.isClosed || this.isDispatching) return;
    this.isDispatching = true;
    const { view, address } = this.events;
    const count = libc.epollWait(this.epollFd, address, EVENTS_PER_TURN_MAX, 0);
    this.guard(() => {
      for (let index = 0; index < count; index++) this.deliver(view, index * EVENT_LENGTH);
      this.runDeferred();
    });
    this.isDispatching = false;
  }

  private deliver(view: DataView, offset: number): void {
    const registration = this.registrations.get(view.getUint32(offset + EVENT_DATA, true));
    const generation = view.getUint32(offset + EVENT_DATA + 4, true);
    if (registration?.generation !== generation) return; // removed by an earlier handler
    registration.handler(view.getUint32(offset, true));
  }

  private runDeferred(): void {
    while (this.deferred.length > 0) {
      const work = this.deferred;
      this.deferred = [];
      for (const step of work) step();
    }
  }

  /** An exception must reach the process's uncaughtException, not be lost in native code. */
  private guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.close();
      setImmediate(() => {
        throw error;
      });
    }
  }
}
