/** A stand-in for the service manager: a socket that collects notices, as sd_notify(3) has them. */

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import * as libc from "../../src/platform/libc.js";
import { allocateMemory } from "../../src/platform/memory.js";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;
const NOTICE_BYTES_MAX = 4096;

/** Collects what is sent to it. */
export interface NotifySocket {
  /** Value for NOTIFY_SOCKET. */
  readonly name: string;
  /** Everything so far, one notice each, as its lines. */
  notices(): readonly (readonly string[])[];
  close(): void;
}

/** Opens the socket; a name with `@` in front is abstract (unix(7)). */
export function openNotifySocket(name: string): NotifySocket {
  const memory = allocateMemory(NOTICE_BYTES_MAX);
  const bytes = new TextEncoder().encode(name);
  const isAbstract = name.startsWith("@");
  memory.view.setUint16(0, AF_UNIX, true);
  memory.bytes.set(bytes, 2);
  if (isAbstract) memory.bytes[2] = 0;
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM, 0);
  const length = 2 + bytes.length + (isAbstract ? 0 : 1);
  assert.equal(libc.bindSocket(fd, memory.address, length), 0, libc.lastErrorName());
  const collected: string[][] = [];
  return {
    name,
    notices() {
      for (;;) {
        const got = libc.recv(fd, memory.address, NOTICE_BYTES_MAX, MSG_DONTWAIT);
        if (got < 0) return collected;
        collected.push(new TextDecoder().decode(memory.bytes.slice(0, got)).split("\n"));
      }
    },
    close() {
      libc.close(fd);
      if (!isAbstract) rmSync(name, { force: true });
    },
  };
}
