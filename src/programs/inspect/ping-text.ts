/** What `ipref ping` prints, and its statistics. */

import { formatIp } from "../../base/ip.js";
import { formatIprefAddress } from "../../base/reference.js";
import type { EchoOutcome } from "./echo-probes.js";
import type { Destination } from "./way.js";

/** "web.example (10.240.0.22 = 198.51.100.7 + 1025 via gateway 198.51.100.7 port 1045)". */
export function headText({ text, address, ipref, route }: Destination): string {
  const plain = formatIp(address);
  const same = ipref === undefined ? [] : [`= ${formatIprefAddress(ipref)}`];
  const via = route === undefined ? [] : [`via gateway ${route.gateway} port ${route.port}`];
  return `${text} (${[plain, ...same, ...via].join(" ")})`;
}

/** A time of a round trip, as ping(8) shows it: three figures or more. */
export function timeText(timeMs: number): string {
  if (timeMs < 1) return `${timeMs.toFixed(3)} ms`;
  if (timeMs < 10) return `${timeMs.toFixed(2)} ms`;
  return timeMs < 100 ? `${timeMs.toFixed(1)} ms` : `${timeMs.toFixed(0)} ms`;
}

/** The line of one request; `name` says who answered or objected. */
export function outcomeLine(sequence: number, outcome: EchoOutcome, name: string): string {
  if (outcome.kind === "reply") {
    const ttl = outcome.ttl === undefined ? "" : ` ttl=${outcome.ttl}`;
    const time = timeText(outcome.roundTripMs);
    return `${outcome.octets} octets from ${name}: icmp_seq=${sequence}${ttl} time=${time}`;
  }
  if (outcome.kind === "error") return `From ${name} icmp_seq=${sequence} ${outcome.text}`;
  if (outcome.kind === "refused") return `icmp_seq=${sequence} not sent: ${outcome.code}`;
  return `icmp_seq=${sequence} no answer`;
}

/** Counts round trips in constant memory. */
export class PingStatistics {
  transmitted = 0;
  received = 0;
  errors = 0;
  #sumMs = 0;
  #sumOfSquares = 0;
  #leastMs = Number.POSITIVE_INFINITY;
  #mostMs = 0;

  take(outcome: EchoOutcome): void {
    if (outcome.kind === "error" || outcome.kind === "refused") this.errors++;
    if (outcome.kind !== "reply") return;
    const { roundTripMs } = outcome;
    this.received++;
    this.#sumMs += roundTripMs;
    this.#sumOfSquares += roundTripMs * roundTripMs;
    this.#leastMs = Math.min(this.#leastMs, roundTripMs);
    this.#mostMs = Math.max(this.#mostMs, roundTripMs);
  }

  get lossPercent(): number {
    if (this.transmitted === 0) return 0;
    return (100 * (this.transmitted - this.received)) / this.transmitted;
  }

  /** Round trips in milliseconds; undefined when there was none. */
  get roundTrips(): { min: number; avg: number; max: number; mdev: number } | undefined {
    if (this.received === 0) return undefined;
    const avg = this.#sumMs / this.received;
    const variance = Math.max(0, this.#sumOfSquares / this.received - avg * avg);
    return { min: this.#leastMs, avg, max: this.#mostMs, mdev: Math.sqrt(variance) };
  }

  /** The lines at the end, as those of ping(8). */
  lines(text: string, elapsedMs: number): string[] {
    const { transmitted, received, errors, lossPercent, roundTrips } = this;
    const loss = Number(lossPercent.toFixed(1));
    const failed = errors === 0 ? "" : `+${errors} errors, `;
    const counts = `${transmitted} packets transmitted, ${received} received, ${failed}`;
    const lines = [
      "",
      `--- ${text} ping statistics ---`,
      `${counts}${loss}% packet loss, time ${Math.round(elapsedMs)} ms`,
    ];
    if (roundTrips === undefined) return lines;
    const { min, avg, max, mdev } = roundTrips;
    const values = [min, avg, max, mdev].map((value) => value.toFixed(3)).join("/");
    return [...lines, `rtt min/avg/max/mdev = ${values} ms`];
  }
}
