/**
 * Event descriptors, eventfd(2): wake a thread that blocks in poll. Nonblocking. Any thread may
 * signal; the reader drains. The number is an ordinary descriptor and may be handed to workers.
 */

import * as libc from "./libc.js";
import { allocateMemory } from "./memory.js";
import { lastRefusal } from "./system-error.js";

const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;

const counter = allocateMemory(16);
counter.view.setBigUint64(8, 1n, true); // what a signal adds

/** A new event descriptor, not signalled. */
export function createEventFd(): number {
  const fd = libc.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw lastRefusal("create an event descriptor", "eventfd");
  return fd;
}

/** Makes the descriptor readable until it is drained. */
export function signalEventFd(fd: number): void {
  libc.write(fd, counter.address + 8, 8); // EAGAIN means: signalled 2^64 - 2 times already
}

/** Takes all signals; returns whether there was one. */
export function drainEventFd(fd: number): boolean {
  return libc.read(fd, counter.address, 8) === 8;
}

/** Closes the descriptor. */
export function closeEventFd(fd: number): void {
  libc.close(fd);
}
