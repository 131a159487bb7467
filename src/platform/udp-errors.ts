/**
 * The error queue of a socket: ICMP errors about datagrams that were sent, recvmsg(2)
 * MSG_ERRQUEUE and ip(7) IP_RECVERR, struct sock_extended_err of linux/errqueue.h:
 *
 *   errno 4 | origin 1 | type 1 | code 1 | pad 1 | info 4 (MTU) | data 4 | offender sockaddr
 *
 * Main thread. Each entry names the destination of the datagram that caused it.
 */

import type { IpAddress } from "../base/ip.js";
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
  setAddress,
  setIovec,
} from "./memory.js";
import { decodeSockaddr, SOCKADDR_IN6_LENGTH } from "./sockaddr.js";
import { IP_RECVERR, IPV6_RECVERR, SOL_IP, SOL_IPV6 } from "./udp-socket.js";

const MSG_DONTWAIT = 0x40;
const MSG_ERRQUEUE = 0x2000;

// linux/errqueue.h
const ERROR_ORIGIN = 4;
const ERROR_TYPE = 5;
const ERROR_CODE = 6;
const ERROR_INFO = 8;
const ERROR_LENGTH = 16;
const ORIGINS = ["none", "local", "icmp", "icmp6"] as const;

// One message at a time: header, name, iovec, control, and the first bytes of the datagram.
const NAME = 64;
const IOVEC = 96;
const CONTROL = 128;
const CONTROL_BYTES = 256;
const DATA = CONTROL + CONTROL_BYTES;
const DATA_BYTES = 128;

/** More errors than this are left for the next call, so that a flood cannot hold the thread. */
const ENTRIES_MAX = 256;

/** One error about a datagram sent to `destination`. */
export interface UdpError {
  readonly kind: "message-too-big" | "refused" | "unreachable" | "other";
  readonly destination: IpAddress;
  /** Destination port; 0 for local IPv4 errors, which do not tell it (ip_local_error). */
  readonly port: number;
  /** MTU of the narrow link; 0 when the error tells none. */
  readonly mtuBytes: number;
  readonly origin: (typeof ORIGINS)[number];
  readonly icmpType: number;
  readonly icmpCode: number;
  /** Name of the error number, such as "EMSGSIZE". */
  readonly code: string;
  /** Who sent the ICMP error; undefined for an error of the local machine. */
  readonly offender: IpAddress | undefined;
  /** The beginning of what was sent, as far as the error quotes it: behind UDP, or from ICMP on. */
  readonly quoted: Uint8Array;
}

const memory = allocateMemory(DATA + DATA_BYTES);

/** Takes the waiting errors off the queue. */
export function readErrorQueue(fd: number): UdpError[] {
  const errors: UdpError[] = [];
  for (let count = 0; count < ENTRIES_MAX; count++) {
    prepare();
    const length = libc.recvmsg(fd, memory.address, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (length < 0) break;
    const error = parseEntry(length);
    if (error !== undefined) errors.push(error);
  }
  return errors;
}

function prepare(): void {
  const { view, address } = memory;
  memory.bytes.fill(0, 0, MSGHDR_LENGTH);
  setAddress(view, MSGHDR_NAME, address + NAME);
  view.setUint32(MSGHDR_NAME_LENGTH, SOCKADDR_IN6_LENGTH, true);
  setAddress(view, MSGHDR_IOV, address + IOVEC);
  view.setUint32(MSGHDR_IOV_COUNT, 1, true);
  setAddress(view, MSGHDR_CONTROL, address + CONTROL);
  view.setUint32(MSGHDR_CONTROL_LENGTH, CONTROL_BYTES, true);
  setIovec(view, IOVEC, address + DATA, DATA_BYTES);
}

function parseEntry(quotedBytes: number): UdpError | undefined {
  const target = decodeSockaddr(memory.view, NAME);
  const offset = findExtendedError();
  if (target === undefined || offset === undefined) return undefined;
  const code = libc.errnoName(memory.view.getUint32(offset, true));
  return {
    kind: kindOf(code),
    destination: target.address,
    port: target.port,
    mtuBytes: code === "EMSGSIZE" ? memory.view.getUint32(offset + ERROR_INFO, true) : 0,
    origin: ORIGINS[memory.view.getUint8(offset + ERROR_ORIGIN)] ?? "none",
    icmpType: memory.view.getUint8(offset + ERROR_TYPE),
    icmpCode: memory.view.getUint8(offset + ERROR_CODE),
    code,
    offender: decodeSockaddr(memory.view, offset + ERROR_LENGTH)?.address,
    quoted: memory.bytes.slice(DATA, DATA + Math.min(quotedBytes, DATA_BYTES)),
  };
}

function kindOf(code: string): UdpError["kind"] {
  if (code === "EMSGSIZE") return "message-too-big";
  if (code === "ECONNREFUSED") return "refused";
  if (["EHOSTUNREACH", "ENETUNREACH", "EACCES", "ENETDOWN", "EHOSTDOWN"].includes(code)) {
    return "unreachable";
  }
  return "other";
}

/** Offset of the sock_extended_err among the control messages. */
function findExtendedError(): number | undefined {
  const { view } = memory;
  const end = CONTROL + getSize(view, MSGHDR_CONTROL_LENGTH);
  let offset = CONTROL;
  while (offset + CMSGHDR_LENGTH <= end) {
    const lengthBytes = getSize(view, offset);
    const level = view.getInt32(offset + CMSGHDR_LEVEL, true);
    const type = view.getInt32(offset + CMSGHDR_TYPE, true);
    const isError =
      (level === SOL_IP && type === IP_RECVERR) || (level === SOL_IPV6 && type === IPV6_RECVERR);
    if (isError && lengthBytes >= CMSGHDR_LENGTH + ERROR_LENGTH) return offset + CMSGHDR_LENGTH;
    if (lengthBytes < CMSGHDR_LENGTH) return undefined;
    offset += (lengthBytes + 7) & ~7;
  }
  return undefined;
}
