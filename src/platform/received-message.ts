/**
 * One message at a time from recvmsg(2): header, sender, control messages (cmsg(3)) and data in one
 * block of memory, which the next message overwrites. Main thread.
 */

import * as libc from "./libc.js";
import {
  allocateMemory,
  CMSGHDR_LENGTH,
  CMSGHDR_LEVEL,
  CMSGHDR_TYPE,
  getSize,
  MSGHDR_CONTROL,
  MSGHDR_CONTROL_LENGTH,
  MSGHDR_IOV,
  MSGHDR_IOV_COUNT,
  MSGHDR_LENGTH,
  MSGHDR_NAME,
  MSGHDR_NAME_LENGTH,
  type SystemMemory,
  setAddress,
  setIovec,
} from "./memory.js";
import { decodeSockaddr, SOCKADDR_IN6_LENGTH } from "./sockaddr.js";

const NAME = 64;
const IOVEC = 96;
const CONTROL = 128;

/** Room for the two parts whose length differs. */
export interface MessageRoom {
  /** A multiple of 8. */
  readonly controlBytes: number;
  readonly dataBytes: number;
}

/** A control message is told by level and type. */
export type ControlKind = readonly [level: number, type: number];

/** Memory for messages that are received one after the other. */
export class ReceivedMessage {
  readonly memory: SystemMemory;
  /** Where the data begins. */
  readonly dataOffset: number;
  readonly #room: MessageRoom;

  constructor(room: MessageRoom) {
    this.#room = room;
    this.dataOffset = CONTROL + room.controlBytes;
    this.memory = allocateMemory(this.dataOffset + room.dataBytes);
  }

  /** Octets of the next message; negative when there is none. */
  receive(fd: number, flags: number): number {
    const { view, address, bytes } = this.memory;
    const { controlBytes, dataBytes } = this.#room;
    bytes.fill(0, 0, MSGHDR_LENGTH);
    setAddress(view, MSGHDR_NAME, address + NAME);
    view.setUint32(MSGHDR_NAME_LENGTH, SOCKADDR_IN6_LENGTH, true);
    setAddress(view, MSGHDR_IOV, address + IOVEC);
    view.setUint32(MSGHDR_IOV_COUNT, 1, true);
    setAddress(view, MSGHDR_CONTROL, address + CONTROL);
    view.setUint32(MSGHDR_CONTROL_LENGTH, controlBytes, true);
    setIovec(view, IOVEC, address + this.dataOffset, dataBytes);
    return libc.recvmsg(fd, address, flags);
  }

  /** Sender; of an error queue: whom the datagram was for. */
  name(): ReturnType<typeof decodeSockaddr> {
    return decodeSockaddr(this.memory.view, NAME);
  }

  /** Offset of the data of the first control message of these kinds with so many octets. */
  findControl(kinds: readonly ControlKind[], bytesMin: number): number | undefined {
    const { view } = this.memory;
    const end = CONTROL + getSize(view, MSGHDR_CONTROL_LENGTH);
    for (let offset = CONTROL; offset + CMSGHDR_LENGTH + bytesMin <= end; ) {
      const lengthBytes = getSize(view, offset);
      const level = view.getInt32(offset + CMSGHDR_LEVEL, true);
      const type = view.getInt32(offset + CMSGHDR_TYPE, true);
      const isWanted = kinds.some((kind) => kind[0] === level && kind[1] === type);
      if (isWanted && lengthBytes >= CMSGHDR_LENGTH + bytesMin) return offset + CMSGHDR_LENGTH;
      if (lengthBytes < CMSGHDR_LENGTH) return undefined;
      offset += (lengthBytes + 7) & ~7;
    }
    return undefined;
  }
}
