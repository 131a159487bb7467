/**
 * System calls: every function of the C library that this program calls, in one place. Any thread.
 *
 * All memory arguments are addresses as numbers (`addressOf`), so that nothing is marshalled; one
 * call costs about 0.2 microseconds (Node 20, koffi 3.3, November 2026). A failed call returns -1;
 * read `errno()` before anything else. Declarations follow the man pages of section 2. Variadic
 * calls (open, ioctl) are declared with fixed arguments, which the calling conventions of x86_64
 * and arm64 Linux pass alike. glibc only.
 */

import koffi from "koffi";
import { assert } from "../base/assert.js";

const library = koffi.load("libc.so.6");

type Call<Arguments extends number[]> = (...values: Arguments) => number;
type Three = [number, number, number];
type Four = [number, number, number, number];
type Five = [number, number, number, number, number];
type Six = [number, number, number, number, number, number];

function bind<Arguments extends number[]>(prototype: string): Call<Arguments> {
  return library.func(prototype) as unknown as Call<Arguments>;
}

/** (path address, flags, mode) */
export const open = bind<Three>("int open(uint64_t, int, uint32_t)");
/** (fd) */
export const close = bind<[number]>("int close(int)");
/** (fd, buffer, length) */
export const read = bind<Three>("long read(int, uint64_t, size_t)");
/** (fd, buffer, length) */
export const write = bind<Three>("long write(int, uint64_t, size_t)");
/** (fd, iovecs, count) */
export const readv = bind<Three>("long readv(int, uint64_t, int)");
/** (fd, iovecs, count) */
export const writev = bind<Three>("long writev(int, uint64_t, int)");
/** (fd, request, argument) */
export const ioctl = bind<Three>("int ioctl(int, uint64_t, uint64_t)");
/** (pollfds, count, timeout in milliseconds) */
export const poll = bind<Three>("int poll(uint64_t, uint64_t, int)");
/** (domain, type, protocol) */
export const socket = bind<Three>("int socket(int, int, int)");
/** (fd, sockaddr, length) */
export const bindSocket = bind<Three>("int bind(int, uint64_t, uint32_t)");
/** (fd, sockaddr, length) */
export const connect = bind<Three>("int connect(int, uint64_t, uint32_t)");
/** (fd, backlog) */
export const listen = bind<[number, number]>("int listen(int, int)");
/** (fd, sockaddr or 0, address of length or 0, flags) */
export const accept4 = bind<Four>("int accept4(int, uint64_t, uint64_t, int)");
/** (fd, buffer, length, flags) */
export const recv = bind<Four>("long recv(int, uint64_t, size_t, int)");
/** (fd, buffer, length, flags) */
export const send = bind<Four>("long send(int, uint64_t, size_t, int)");
/** (fd, buffer, length, flags, sockaddr, sockaddr length) */
export const sendto = bind<Six>("long sendto(int, uint64_t, size_t, int, uint64_t, uint32_t)");
/** (fd, buffer, length, flags, sockaddr, address of sockaddr length) */
export const recvfrom = bind<Six>("long recvfrom(int, uint64_t, size_t, int, uint64_t, uint64_t)");
/** (fd, msghdr, flags) */
export const recvmsg = bind<Three>("long recvmsg(int, uint64_t, int)");
/** (fd, msghdr, flags) */
export const sendmsg = bind<Three>("long sendmsg(int, uint64_t, int)");
/** (fd, mmsghdrs, count, flags, timespec or 0) */
export const recvmmsg = bind<Five>("int recvmmsg(int, uint64_t, uint32_t, int, uint64_t)");
/** (fd, mmsghdrs, count, flags) */
export const sendmmsg = bind<Four>("int sendmmsg(int, uint64_t, uint32_t, int)");
/** (fd, level, name, value, address of value length) */
export const getsockopt = bind<Five>("int getsockopt(int, int, int, uint64_t, uint64_t)");
/** (fd, level, name, value, value length) */
export const setsockopt = bind<Five>("int setsockopt(int, int, int, uint64_t, uint32_t)");
/** (fd, sockaddr, address of length) */
export const getsockname = bind<Three>("int getsockname(int, uint64_t, uint64_t)");
/** (initial count, flags) */
export const eventfd = bind<[number, number]>("int eventfd(uint32_t, int)");
/** (flags) */
export const epollCreate1 = bind<[number]>("int epoll_create1(int)");
/** (epoll fd, operation, fd, epoll_event) */
export const epollCtl = bind<Four>("int epoll_ctl(int, int, int, uint64_t)");
/** (epoll fd, epoll_events, count, timeout in milliseconds) */
export const epollWait = bind<Four>("int epoll_wait(int, uint64_t, int, int)");
/** (microseconds) */
export const usleep = bind<[number]>("int usleep(uint32_t)");
/** (option, four arguments) */
export const prctl = bind<Five>("int prctl(int, uint64_t, uint64_t, uint64_t, uint64_t)");
/** (clock, timespec) */
export const clockGettime = bind<[number, number]>("int clock_gettime(int, uint64_t)");
/** (timex) */
export const adjtimex = bind<[number]>("int adjtimex(uint64_t)");
/** (fd, operation) */
export const flock = bind<[number, number]>("int flock(int, int)");

/** (number, three arguments): system calls without a function */
export const syscall = bind<Four>("long syscall(long, uint64_t, uint64_t, uint64_t)");

const mmap = library.func("int64_t mmap(uint64_t, size_t, int, int, int, int64_t)");

/**
 * Maps the object behind `fd` from its beginning, for the rest of the process; undefined when the
 * kernel refuses.
 */
export function mapMemory(
  lengthBytes: number,
  protection: number,
  flags: number,
  fd: number,
): Uint8Array | undefined {
  const address = Number(mmap(0, lengthBytes, protection, flags, fd, 0));
  return address === -1 ? undefined : new Uint8Array(koffi.view(address, lengthBytes));
}

/** Number of the last error; valid right after a call that returned -1. */
export function errno(): number {
  return koffi.errno();
}

/** Error numbers by name, for this machine. */
export const ERRNO = koffi.os.errno as Readonly<Record<string, number>>;

/** "Try again": nothing to read, or no room to write (errno(3)). */
export const EAGAIN = 11;
/** "Interrupted by a signal" (errno(3)). */
export const EINTR = 4;

const errnoNames = nameErrors();

function nameErrors(): Map<number, string> {
  const names = new Map<number, string>();
  for (const [name, value] of Object.entries(ERRNO)) if (!names.has(value)) names.set(value, name);
  names.set(EAGAIN, "EAGAIN"); // the same number as EWOULDBLOCK
  return names;
}

/** Name of an error number, such as "EACCES". */
export function errnoName(value: number): string {
  return errnoNames.get(value) ?? `errno ${value}`;
}

/** Name of the last error; valid right after a call that returned -1. */
export function lastErrorName(): string {
  return errnoName(koffi.errno());
}

/**
 * Address of the first byte. It stays valid as long as the caller keeps `memory` alive; a
 * WebAssembly.Memory may move when it grows unless it is shared.
 */
export function addressOf(memory: ArrayBufferLike): number {
  const address = Number(koffi.address(new Uint8Array(memory)));
  assert(Number.isSafeInteger(address), "memory address fits a number");
  return address;
}

/** True where `struct epoll_event` is packed to 12 bytes (epoll_ctl(2), sys/epoll.h). */
export const EPOLL_EVENT_PACKED = process.arch === "x64";
