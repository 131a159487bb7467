/**
 * Memory shared with system calls: a block of bytes with its address and one view. Layouts of C
 * structures live here; x86_64 and arm64 Linux (both LP64, little-endian) agree on all of them.
 */

import { assert } from "../base/assert.js";
import { addressOf } from "./libc.js";

/** A block of memory that system calls read and write; keep it alive while a call may use it. */
export interface SystemMemory {
  readonly buffer: ArrayBufferLike;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Address of byte 0. */
  readonly address: number;
}

/** Wraps memory that somebody else owns. */
export function wrapMemory(buffer: ArrayBufferLike): SystemMemory {
  return {
    buffer,
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    address: addressOf(buffer),
  };
}

/** A new zeroed block. */
export function allocateMemory(lengthBytes: number): SystemMemory {
  return wrapMemory(new ArrayBuffer(lengthBytes));
}

/** Writes an address or a size_t. */
export function setAddress(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** Reads a size_t. */
export function getSize(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 0x1_0000_0000;
}

/** Copies a path or name with its final zero byte; fills `memory` from `offset`, returns the end. */
export function cStringInto(memory: SystemMemory, offset: number, text: string): number {
  const encoded = new TextEncoder().encode(text);
  assert(offset + encoded.length < memory.bytes.length, "string fits its memory");
  memory.bytes.set(encoded, offset);
  memory.bytes[offset + encoded.length] = 0;
  return offset + encoded.length + 1;
}

// struct iovec, readv(2): base 8, length 8.
export const IOVEC_LENGTH = 16;

// struct msghdr, recvmsg(2): name 8, namelen 4, pad 4, iov 8, iovlen 8, control 8, controllen 8,
// flags 4, pad 4.
export const MSGHDR_NAME = 0;
export const MSGHDR_NAME_LENGTH = 8;
export const MSGHDR_IOV = 16;
export const MSGHDR_IOV_COUNT = 24;
export const MSGHDR_CONTROL = 32;
export const MSGHDR_CONTROL_LENGTH = 40;
export const MSGHDR_FLAGS = 48;
export const MSGHDR_LENGTH = 56;

// struct mmsghdr, recvmmsg(2): msghdr 56, msg_len 4, pad 4.
export const MMSGHDR_MESSAGE_LENGTH = MSGHDR_LENGTH;
export const MMSGHDR_LENGTH = 64;

// struct cmsghdr, cmsg(3): len 8, level 4, type 4, then data; entries align to 8.
export const CMSGHDR_LEVEL = 8;
export const CMSGHDR_TYPE = 12;
export const CMSGHDR_LENGTH = 16;

/** Writes one iovec. */
export function setIovec(view: DataView, offset: number, base: number, lengthBytes: number): void {
  setAddress(view, offset, base);
  setAddress(view, offset + 8, lengthBytes);
}
