/**
 * Memory for batches of datagrams: message headers, scatter entries, socket addresses with control
 * data, and payload slots, at fixed places of one block (recvmmsg(2), sendmmsg(2)).
 */

import {
  allocateMemory,
  IOVEC_LENGTH,
  MMSGHDR_LENGTH,
  MSGHDR_CONTROL,
  MSGHDR_CONTROL_LENGTH,
  MSGHDR_IOV,
  MSGHDR_IOV_COUNT,
  MSGHDR_NAME,
  MSGHDR_NAME_LENGTH,
  type SystemMemory,
  setAddress,
  setIovec,
} from "./memory.js";

/** Datagrams of one system call. */
export const BATCH = 64;
/** spec/resolver.md 5.2: octets read of a request; the longest `bufsize` is as long. */
export const REQUEST_BYTES_MAX = 4096;
/** A reply slot, with the room that the server asks for beyond the longest reply. */
export const SLOT_BYTES = REQUEST_BYTES_MAX + 1024;

/** Room for a socket address, and distance of two with their control data. */
export const NAME_BYTES = 32;
export const NAME_DISTANCE = 96;

/** Message headers from offset 0 on, with a name, control data and a payload slot each. */
export class MessageSlots {
  readonly memory: SystemMemory;
  readonly words: Int32Array;
  readonly payloads: readonly Uint8Array[];
  readonly #scatters: number;
  readonly #names: number;
  readonly #payloadsOffset: number;

  constructor(nameLength: number, controlLength: number) {
    this.#scatters = BATCH * MMSGHDR_LENGTH;
    this.#names = this.#scatters + BATCH * IOVEC_LENGTH;
    this.#payloadsOffset = this.#names + BATCH * NAME_DISTANCE;
    this.memory = allocateMemory(this.#payloadsOffset + BATCH * SLOT_BYTES);
    this.words = new Int32Array(this.memory.buffer);
    this.payloads = Array.from({ length: BATCH }, (_, index) => {
      this.#prepare(index, nameLength, controlLength);
      const start = this.#payloadsOffset + index * SLOT_BYTES;
      return this.memory.bytes.subarray(start, start + SLOT_BYTES);
    });
  }

  #prepare(index: number, nameLength: number, controlLength: number): void {
    const { view, address } = this.memory;
    const message = this.message(index);
    setAddress(view, message + MSGHDR_NAME, address + this.name(index));
    view.setUint32(message + MSGHDR_NAME_LENGTH, nameLength, true);
    setAddress(view, message + MSGHDR_IOV, address + this.scatter(index));
    setAddress(view, message + MSGHDR_IOV_COUNT, 1);
    const control = this.name(index) + NAME_BYTES;
    setAddress(view, message + MSGHDR_CONTROL, controlLength === 0 ? 0 : address + control);
    setAddress(view, message + MSGHDR_CONTROL_LENGTH, controlLength);
    const payload = this.#payloadsOffset + index * SLOT_BYTES;
    setIovec(view, this.scatter(index), address + payload, REQUEST_BYTES_MAX);
  }

  message(index: number): number {
    return index * MMSGHDR_LENGTH;
  }

  scatter(index: number): number {
    return this.#scatters + index * IOVEC_LENGTH;
  }

  /** Socket address; the control data follows at `NAME_BYTES`. */
  name(index: number): number {
    return this.#names + index * NAME_DISTANCE;
  }
}
