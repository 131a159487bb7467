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
import { type ControlKind, ReceivedMessage } from "./received-message.js";
import { decodeSockaddr } from "./sockaddr.js";
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

const ERROR_KINDS: readonly ControlKind[] = [
  [SOL_IP, IP_RECVERR],
  [SOL_IPV6, IPV6_RECVERR],
];

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

/** Of the datagram the first octets are enough. */
const message = new ReceivedMessage({ controlBytes: 256, dataBytes: 128 });

/** Takes the waiting errors off the queue. */
export function readErrorQueue(fd: number): UdpError[] {
  const errors: UdpError[] = [];
  for (let count = 0; count < ENTRIES_MAX; count++) {
    const length = message.receive(fd, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (length < 0) break;
    const error = parseEntry(length);
    if (error !== undefined) errors.push(error);
  }
  return errors;
}

function parseEntry(quotedBytes: number): UdpError | undefined {
  const { memory, dataOffset } = message;
  const target = message.name();
  const offset = message.findControl(ERROR_KINDS, ERROR_LENGTH);
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
    quoted: memory.bytes.slice(dataOffset, dataOffset + quotedBytes),
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
