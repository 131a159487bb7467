/**
 * Questions to the kernel for `ipref doctor`: does the TUN driver answer, is the clock kept by a
 * time service. Nothing is changed. Main thread.
 */

import * as libc from "./libc.js";
import { allocateMemory, cStringInto } from "./memory.js";

// fcntl(2)
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
// linux/if_tun.h
const TUNGETFEATURES = 0x800454cf;
const IFF_TUN = 0x0001;
/** adjtimex(2): the clock is not synchronised. */
const STA_UNSYNC = 0x0040;
/** struct timex: modes 4 and padding, offset 8, freq 8, maxerror 8, esterror 8, status 4. */
const TIMEX_STATUS = 40;
const TIMEX_LENGTH = 208;
const PATH_BYTES_MAX = 4096;

/** Opens the TUN device and asks for its features; the error's name, or undefined. */
export function tunDriverError(path: string): string | undefined {
  const memory = allocateMemory(PATH_BYTES_MAX);
  cStringInto(memory, 0, path);
  const fd = libc.open(memory.address, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
  if (fd < 0) return libc.lastErrorName();
  try {
    memory.view.setUint32(0, 0, true);
    if (libc.ioctl(fd, TUNGETFEATURES, memory.address) < 0) return libc.lastErrorName();
    return (memory.view.getUint32(0, true) & IFF_TUN) === 0 ? "no IFF_TUN" : undefined;
  } finally {
    libc.close(fd);
  }
}

/** Whether a time service keeps the clock; undefined when the kernel does not tell. */
export function isClockSynchronized(): boolean | undefined {
  const memory = allocateMemory(TIMEX_LENGTH);
  memory.bytes.fill(0);
  if (libc.adjtimex(memory.address) < 0) return undefined;
  return (memory.view.getInt32(TIMEX_STATUS, true) & STA_UNSYNC) === 0;
}
