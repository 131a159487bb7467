/**
 * A capture as lines of JSON, for people at a terminal and for programs: one for each packet, and
 * one at the end. Shared by server and client.
 */

import { toHex } from "../../base/hex.js";
import { formatIp } from "../../base/ip.js";
import { formatIprefAddress } from "../../base/reference.js";
import type { CaptureDescription, CaptureEnd, VerdictName } from "../../capture/describe.js";
import type { DatagramEnd } from "../../capture/outer-header.js";
import {
  COMMAND_GET_EA,
  COMMAND_HOST_DATA,
  COMMAND_HOST_DATA_HASH,
  COMMAND_NOOP,
  MODE_ACK,
  MODE_DATA,
  MODE_MASK,
  MODE_NACK,
  MODE_REQUEST,
  OFFSET_COMMAND,
} from "../../wire/mapper-message.js";

export type CaptureEndReason = "count" | "size" | "duration" | "stopped";

/** One packet on one side of the gateway. */
export interface CaptureLine {
  /** RFC 3339, UTC, with nanoseconds. */
  readonly time: string;
  readonly side: "local" | "tunnel";
  readonly direction: "to-tunnel" | "from-tunnel";
  readonly protocol: string;
  readonly source: CaptureLineEnd;
  readonly destination: CaptureLineEnd;
  /** Tunnel side: the ends of the datagram, `address:port`. */
  readonly from?: string;
  readonly to?: string;
  /** Octets, without the headers of the datagram. */
  readonly length: number;
  readonly path: "fast" | "slow";
  readonly verdict: VerdictName;
  readonly reason?: string;
  readonly comment: string;
}

/** One end as both sides know it; what is not known is left out. */
export interface CaptureLineEnd {
  readonly native?: string;
  readonly ipref?: string;
  readonly port?: number;
}

/** A message of the mapper socket. */
export interface MessageLine {
  readonly time: string;
  readonly side: "mapper";
  /** Seen from the gateway. */
  readonly direction: "received" | "sent";
  /** What it is: `MC_GET_EA request`. */
  readonly kind: string;
  /** The client. */
  readonly pid: number;
  readonly uid: number;
  readonly length: number;
  /** The message itself, hexadecimal. */
  readonly message: string;
}

/** The last line. */
export interface CaptureLast {
  readonly end: {
    readonly reason: CaptureEndReason;
    readonly packets: number;
    readonly lost: number;
  };
}

/** What a line has beside the description. */
export interface LineParts {
  readonly timeNs: bigint;
  readonly ends: { readonly source: DatagramEnd; readonly destination: DatagramEnd } | undefined;
}

/** The line of a packet. */
export function captureLine(of: CaptureDescription, { timeNs, ends }: LineParts): CaptureLine {
  return {
    time: formatTime(timeNs),
    side: of.side,
    direction: of.direction,
    protocol: of.protocol,
    source: lineEnd(of.source),
    destination: lineEnd(of.destination),
    ...(ends && { from: datagramEnd(ends.source), to: datagramEnd(ends.destination) }),
    length: of.length,
    path: of.path,
    verdict: of.verdict,
    ...(of.reason !== undefined && { reason: of.reason }),
    comment: of.comment,
  };
}

const COMMANDS: Readonly<Record<number, string>> = {
  [COMMAND_NOOP]: "NOOP",
  [COMMAND_GET_EA]: "MC_GET_EA",
  [COMMAND_HOST_DATA]: "MC_HOST_DATA",
  [COMMAND_HOST_DATA_HASH]: "MC_HOST_DATA_HASH",
};
const MODES: Readonly<Record<number, string>> = {
  [MODE_DATA]: "data",
  [MODE_REQUEST]: "request",
  [MODE_ACK]: "ACK",
  [MODE_NACK]: "NACK",
};

/** The line of a message. */
export function messageLine(
  message: Uint8Array,
  client: { readonly pid: number; readonly uid: number },
  isReceived: boolean,
  timeNs: bigint,
): MessageLine {
  const octet = message[OFFSET_COMMAND] ?? 0;
  const command = octet & ~MODE_MASK;
  return {
    time: formatTime(timeNs),
    side: "mapper",
    direction: isReceived ? "received" : "sent",
    kind: `${COMMANDS[command] ?? `command ${command}`} ${MODES[octet & MODE_MASK]}`,
    ...{ pid: client.pid, uid: client.uid },
    length: message.length,
    message: toHex(message),
  };
}

function lineEnd({ native, ipref, port }: CaptureEnd): CaptureLineEnd {
  return {
    ...(native && { native: formatIp(native) }),
    ...(ipref && { ipref: formatIprefAddress(ipref) }),
    ...(port !== undefined && { port }),
  };
}

function datagramEnd({ address, port }: DatagramEnd): string {
  return address.version === 4 ? `${formatIp(address)}:${port}` : `[${formatIp(address)}]:${port}`;
}

function formatTime(timeNs: bigint): string {
  const seconds = new Date(Number(timeNs / 1_000_000n)).toISOString().slice(0, 19);
  return `${seconds}.${String(timeNs % 1_000_000_000n).padStart(9, "0")}Z`;
}
