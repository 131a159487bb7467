/**
 * A capture as lines of JSON, for people at a terminal and for programs: one for each packet, and
 * one at the end. Shared by server and client.
 */

import { formatIp } from "../../base/ip.js";
import { formatIprefAddress } from "../../base/reference.js";
import type { CaptureDescription, CaptureEnd, VerdictName } from "../../capture/describe.js";
import type { DatagramEnd } from "../../capture/outer-header.js";

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
