/**
 * What is known about one server of a group: health (spec/resolver.md 4.2), whether it understands
 * EDNS (4.3), whether it keeps the case of names (4.4), whether it leads back here (1.15).
 */

import { formatIp } from "../../base/ip.js";
import { rcodeName } from "../../wire/dns/numbers.js";
import type { Metrics, UpstreamServer } from "../ports.js";
import type { StreamPool } from "./stream-pool.js";
import type { DatagramTarget } from "./transport.js";

/** spec/resolver.md 4.3: a server without EDNS is remembered for an hour. */
const NO_EDNS_MS = 3_600_000;
/** spec/resolver.md 4.4: twice in a row. */
const CASE_STRIKES_MAX = 2;
/** A server that changes case stays suspect as long as one without EDNS. */
const SUSPECT_MS = 3_600_000;

/** Name of a server in logs and metrics, as CoreDNS writes it. */
export function serverLabel({ endpoint, transport }: UpstreamServer): string {
  const { address, port } = endpoint;
  const host = address.version === 6 ? `[${formatIp(address)}]` : formatIp(address);
  return transport === "tls" ? `tls://${host}:${port}` : `${host}:${port}`;
}

/** One server. */
export class ServerState {
  readonly server: UpstreamServer;
  readonly label: string;
  readonly target: DatagramTarget;
  readonly pool: StreamPool;
  /** Failed checks in a row. */
  failCount = 0;
  isChecking = false;
  /** A probe came back: questions would run in circles. */
  isLooping = false;
  #withoutEdnsUntilMs = Number.NEGATIVE_INFINITY;
  #suspectUntilMs = Number.NEGATIVE_INFINITY;
  #caseStrikes = 0;
  /** TCP failed although the server is suspect: UDP without random case is what is left. */
  #isStreamUseless = false;
  readonly #metrics: Metrics;
  readonly #durationLabels = new Map<number, Readonly<Record<string, string>>>();

  constructor(server: UpstreamServer, target: DatagramTarget, pool: StreamPool, metrics: Metrics) {
    this.server = server;
    this.label = serverLabel(server);
    this.target = target;
    this.pool = pool;
    this.#metrics = metrics;
  }

  hasEdns(nowMs: number): boolean {
    return nowMs >= this.#withoutEdnsUntilMs;
  }

  /** FORMERR without OPT answered a question with OPT. */
  rememberWithoutEdns(nowMs: number): void {
    this.#withoutEdnsUntilMs = nowMs + NO_EDNS_MS;
  }

  isSuspect(nowMs: number): boolean {
    return nowMs < this.#suspectUntilMs;
  }

  /** The server is to be asked over a connection, where nobody can forge. */
  needsStream(nowMs: number): boolean {
    return this.server.transport === "tls" || (this.isSuspect(nowMs) && !this.#isStreamUseless);
  }

  /** A reply with the right id and a question in other case; true when the server is suspect. */
  noteCaseChanged(nowMs: number): boolean {
    if (++this.#caseStrikes < CASE_STRIKES_MAX) return false;
    this.#caseStrikes = 0;
    this.#suspectUntilMs = nowMs + SUSPECT_MS;
    this.#isStreamUseless = false;
    return true;
  }

  noteCaseKept(): void {
    this.#caseStrikes = 0;
  }

  noteStreamFailed(): void {
    this.#isStreamUseless = true;
  }

  /** Counts a message that was not the reply (spec/resolver.md 4.4). */
  countIgnored(reason: string): void {
    this.#metrics.count("coredns_upstream_ignored_total", { to: this.label, reason });
  }

  countCheckFailed(): void {
    this.#metrics.count("coredns_proxy_healthcheck_failures_total", {
      proxy_name: "forward",
      to: this.label,
    });
  }

  /** CoreDNS's histogram of answered questions. */
  observe(rcode: number, durationMs: number): void {
    let labels = this.#durationLabels.get(rcode);
    if (labels === undefined) {
      const name = rcodeName(rcode);
      labels = Object.freeze({ proxy_name: "forward", to: this.label, rcode: name });
      this.#durationLabels.set(rcode, labels);
    }
    this.#metrics.observe("coredns_proxy_request_duration_seconds", labels, durationMs / 1000);
  }
}
