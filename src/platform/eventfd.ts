/**
 * Event descriptors, eventfd(2): wake a thread that blocks in poll. Nonblocking. Any thread may
 * signal; the reader drains. The number is an ordinary descriptor and may be handed to workers.
 */

import * as libc from "./libc.js";
import { allocateMemory } from "./memory.js";
import { lastRefusal } from "./system-error.js";

const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;

const counter = allocateMemory(24);
const SIGNAL = 8;
const NUDGE = 16;
/** A nudge counts in the upper half of the descriptor's value, a signal in the lower half. */
counter.view.setBigUint64(SIGNAL, 1n, true);
counter.view.setBigUint64(NUDGE, 2n ** 32n, true);

/** What has been added to a descriptor. */
export const EVENT_NONE = 0;
export const EVENT_NUDGE = 1;
export const EVENT_SIGNAL = 2;

/** A new event descriptor, not signalled. */
export function createEventFd(): number {
  const fd = libc.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw lastRefusal("create an event descriptor", "eventfd");
  return fd;
}

/** Makes the descriptor readable until it is drained. */
export function signalEventFd(fd: number): void {
  libc.write(fd, counter.address + SIGNAL, 8); // EAGAIN means: signalled 2^64 - 2 times already
}

/** Takes all signals; returns whether there was one. */
export function drainEventFd(fd: number): boolean {
  return libc.read(fd, counter.address, 8) === 8;
}

/** Makes the descriptor readable in a way that its reader can tell from a signal. */
export function nudgeEventFd(fd: number): void {
  libc.write(fd, counter.address + NUDGE, 8);
}

/** Takes everything; a signal outranks nudges. */
export function takeEvent(fd: number): number {
  if (libc.read(fd, counter.address, 8) !== 8) return EVENT_NONE;
  return counter.view.getUint32(0, true) === 0 ? EVENT_NUDGE : EVENT_SIGNAL;
}

/** Closes the descriptor. */
export function closeEventFd(fd: number): void {
  libc.close(fd);
}
