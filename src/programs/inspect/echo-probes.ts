/** Echo requests one by one: each ends with a reply, an ICMP error, a refusal, or in silence. */

import type { IpAddress, IpVersion } from "../../base/ip.js";
import { monotonicMs } from "../../platform/clock.js";
import {
  type EchoError,
  type EchoReply,
  type EchoSocket,
  openEchoSocket,
} from "../../platform/echo-socket.js";
import { systemRandom } from "../../platform/random.js";
import type { Reactor } from "../../platform/reactor.js";
import {
  ICMP_FRAGMENTATION_NEEDED,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMPV6_PACKET_TOO_BIG,
  ICMPV6_TIME_EXCEEDED,
  ICMPV6_UNREACHABLE,
} from "../../wire/icmp.js";

const SEQUENCE_MAX = 0xffff;

/** How one request ended. */
export type EchoOutcome =
  | (Pick<EchoReply, "source" | "ttl" | "octets"> & {
      readonly kind: "reply";
      readonly roundTripMs: number;
    })
  | {
      readonly kind: "error";
      readonly offender: IpAddress | undefined;
      /** The TTL ran out on the way. */
      readonly isTimeExceeded: boolean;
      readonly text: string;
      readonly roundTripMs: number;
    }
  | { readonly kind: "refused"; readonly code: string }
  | { readonly kind: "silent" };

/** What to send. */
export interface EchoRequest {
  readonly destination: IpAddress;
  readonly data: Uint8Array;
  readonly ttl?: number | undefined;
  readonly waitMs: number;
}

interface Waiting {
  readonly sentMs: number;
  readonly end: (outcome: EchoOutcome) => void;
}

/** Requests to addresses of one version, over one socket. */
export class EchoProbes {
  readonly #version: IpVersion;
  readonly #socket: EchoSocket;
  readonly #waiting = new Map<number, Waiting>();
  #sequence = 0;

  /** Throws SystemCallError when the kernel gives no socket. */
  constructor(reactor: Reactor, version: IpVersion) {
    this.#version = version;
    this.#socket = openEchoSocket(reactor, version, systemRandom().word() & 0xffff, {
      onReply: (reply) => this.#replied(reply),
      onError: (error) => this.#failed(error),
    });
  }

  /** Sends one request and waits for its end. */
  probe({ destination, data, ttl, waitMs }: EchoRequest): Promise<EchoOutcome> {
    this.#sequence = this.#sequence === SEQUENCE_MAX ? 1 : this.#sequence + 1;
    const sequence = this.#sequence;
    // After 65535 others nobody can tell a late answer to the old request from one to this.
    this.#end(sequence, { kind: "silent" });
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#end(sequence, { kind: "silent" }), waitMs);
      this.#waiting.set(sequence, {
        sentMs: monotonicMs(),
        end: (outcome) => {
          clearTimeout(timer);
          resolve(outcome);
        },
      });
      const code = this.#socket.send(destination, sequence, data, ttl);
      if (code !== undefined) this.#end(sequence, { kind: "refused", code });
    });
  }

  /** Ends what still waits, in silence. */
  close(): void {
    for (const sequence of [...this.#waiting.keys()]) this.#end(sequence, { kind: "silent" });
    this.#socket.close();
  }

  #replied({ sequence, source, ttl, octets, receivedMs }: EchoReply): void {
    const waiting = this.#waiting.get(sequence);
    if (waiting === undefined) return;
    const roundTripMs = receivedMs - waiting.sentMs;
    this.#end(sequence, { kind: "reply", source, ttl, octets, roundTripMs });
  }

  #failed(error: EchoError): void {
    const waiting = this.#waiting.get(error.sequence);
    if (waiting === undefined) return;
    this.#end(error.sequence, {
      kind: "error",
      offender: error.offender,
      isTimeExceeded: isTimeExceeded(error, this.#version),
      text: errorText(error, this.#version),
      roundTripMs: error.receivedMs - waiting.sentMs,
    });
  }

  #end(sequence: number, outcome: EchoOutcome): void {
    const waiting = this.#waiting.get(sequence);
    this.#waiting.delete(sequence);
    waiting?.end(outcome);
  }
}

type IcmpError = Pick<EchoError, "icmpType" | "icmpCode" | "mtuBytes" | "code" | "kind">;

function isTimeExceeded({ icmpType }: IcmpError, version: IpVersion): boolean {
  return icmpType === (version === 4 ? ICMP_TIME_EXCEEDED : ICMPV6_TIME_EXCEEDED);
}

/** RFC 792 and RFC 1812 5.2.7. */
const UNREACHABLE_V4: Readonly<Record<number, string>> = {
  0: "network unreachable",
  1: "host unreachable",
  2: "protocol unreachable",
  3: "port unreachable",
  9: "network administratively prohibited",
  10: "host administratively prohibited",
  13: "administratively prohibited",
};
/** RFC 4443 3.1. */
const UNREACHABLE_V6: Readonly<Record<number, string>> = {
  0: "no route",
  1: "administratively prohibited",
  3: "address unreachable",
  4: "port unreachable",
};

/** An ICMP error in words. */
export function errorText(error: IcmpError, version: IpVersion): string {
  const { icmpType, icmpCode, mtuBytes, code } = error;
  if (error.kind === "message-too-big" || isTooBig(error, version)) {
    return `packet too big, the path carries ${mtuBytes} octets`;
  }
  if (isTimeExceeded(error, version)) return "time to live exceeded";
  const names = version === 4 ? UNREACHABLE_V4 : UNREACHABLE_V6;
  const isUnreachable = icmpType === (version === 4 ? ICMP_UNREACHABLE : ICMPV6_UNREACHABLE);
  const name = isUnreachable ? names[icmpCode] : undefined;
  return name ?? `ICMP type ${icmpType} code ${icmpCode} (${code})`;
}

function isTooBig({ icmpType, icmpCode }: IcmpError, version: IpVersion): boolean {
  if (version === 6) return icmpType === ICMPV6_PACKET_TOO_BIG;
  return icmpType === ICMP_UNREACHABLE && icmpCode === ICMP_FRAGMENTATION_NEEDED;
}
