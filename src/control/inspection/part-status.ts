/** `GET /status` of resolver, agent and supervisor: the shapes, and the agent's judgement. */

import type { SourceStatus } from "../../agent/agent.js";
import type { PartStatus } from "./status.js";

/** A server, file or list of names that an agent reads a zone from. */
export interface SourcePlaceReport {
  readonly label: string;
  readonly serial: number | null;
  /** AA records in what it gave last. */
  readonly recordCount: number | null;
  /** Since it last confirmed its content. */
  readonly lastSyncSecondsAgo: number | null;
  /** Why the last try failed; null when it did not. */
  readonly failure: string | null;
}

/** A source of an agent. */
export interface AgentSourceReport {
  readonly name: string;
  /** Hosts to publish; null before there is a set. */
  readonly hostCount: number | null;
  /** The gateway has acknowledged the whole set. */
  readonly isDelivered: boolean;
  readonly places: readonly SourcePlaceReport[];
}

/** Answer of the DNS agent. */
export interface AgentPartStatus extends PartStatus {
  readonly part: "agent";
  readonly mapperSocket: string;
  readonly isMapperConnected: boolean;
  readonly intervalSeconds: number;
  readonly sources: readonly AgentSourceReport[];
}

/** A server that the resolver asks. */
export interface UpstreamReport {
  readonly server: string;
  readonly isDown: boolean;
  /** Questions to it come back here. */
  readonly isLooping: boolean;
  readonly failedChecks: number;
}

/** A block of the Corefile. */
export interface BlockReport {
  /** With ports, as in the Corefile. */
  readonly zones: readonly string[];
  readonly plugins: readonly string[];
}

/** Answer of the DNS server. */
export interface ResolverStatus extends PartStatus {
  readonly part: "resolver";
  readonly listening: readonly string[];
  readonly blocks: readonly BlockReport[];
  readonly upstreams: readonly UpstreamReport[];
  readonly cacheEntries: number;
  readonly queriesInFlight: number;
  readonly tcpConnections: number;
  readonly mappers: readonly { readonly socket: string; readonly isReady: boolean }[];
}

/** A program that the supervisor keeps running. */
export interface SupervisedReport {
  readonly name: "gateway" | "resolver" | "agent";
  /** Null while it does not run. */
  readonly pid: number | null;
  readonly restarts: number;
}

/** Answer of `ipref up`. */
export interface SupervisorStatus extends PartStatus {
  readonly part: "up";
  readonly supervised: readonly SupervisedReport[];
}

/** What the sources of an agent look like from outside. `nowMs`: the agent's monotonic clock. */
export function agentSources(
  sources: readonly SourceStatus[],
  nowMs: number,
): readonly AgentSourceReport[] {
  return sources.map(({ name, hostCount, isComplete, places }) => ({
    name,
    hostCount: hostCount ?? null,
    isDelivered: isComplete,
    places: places.map(({ label, serial, recordCount, confirmedAtMs, failure }) => ({
      label,
      serial: serial ?? null,
      recordCount: recordCount ?? null,
      lastSyncSecondsAgo:
        confirmedAtMs === undefined
          ? null
          : Math.max(0, Math.round((nowMs - confirmedAtMs) / 1000)),
      failure: failure ?? null,
    })),
  }));
}

/** What somebody should look at; an agent without sources has nothing to do. */
export function agentProblems(
  sources: readonly AgentSourceReport[],
  isConnected: boolean,
): readonly string[] {
  const problems: string[] = [];
  if (sources.length > 0 && !isConnected) problems.push("No connection to the gateway's mapper");
  for (const { name, places } of sources) {
    const failures = places.filter(({ failure }) => failure !== null);
    if (places.length === 0 || failures.length < places.length) continue;
    const { label, failure } = failures[0]!;
    problems.push(`No server of ${name} gives its zone; ${label}: ${failure}`);
  }
  return problems;
}
