/**
 * `GET /status` of the gateway, and the shapes of all parts' answers, which their readers share.
 * Numbers are plain; a unit is part of its name. `null` stands for "not known".
 */

import { DROP_REASONS, type DropReason } from "../../base/drop-reason.js";
import { formatIp, formatPrefix, isUnspecified } from "../../base/ip.js";
import { formatReference } from "../../base/reference.js";
import { OFFLOAD_NAMES, type OffloadName } from "../../forward/offloads.js";
import type { MappingCounts } from "../../mapper/mapping-query.js";
import type { HealthCheck } from "../health.js";
import { ownEncodedAddress } from "../packet-desk.js";
import { type ControlHandler, jsonReply } from "./api.js";
import type { InspectionParts } from "./gateway-routes.js";
import { countAllMappings } from "./mapping-steps.js";
import type { Rate } from "./rates.js";

/** What every part tells. */
export interface PartStatus {
  readonly part: "gateway" | "resolver" | "agent" | "up";
  readonly version: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly isHealthy: boolean;
  /** Why it is not, one sentence each. */
  readonly problems: readonly string[];
}

/** One direction of traffic. Rates are null during the first seconds. */
export interface TrafficStatus extends Sums {
  /** Packets that took the slow path, not in `packets`. */
  readonly slowPackets: number;
  readonly rate: Rate | null;
}

interface Sums {
  readonly packets: number;
  readonly bytes: number;
}

/** A DNS source as the mapper knows it. */
export interface SourceReport {
  readonly name: string;
  readonly recordCount: number;
  /** A new generation is arriving. */
  readonly isLoading: boolean;
  readonly isStale: boolean;
  /** An agent that delivers it is connected. */
  readonly isConnected: boolean;
  readonly lastHeardSecondsAgo: number | null;
  readonly lastDataSecondsAgo: number | null;
}

/** Packets dropped for one reason. */
export interface DropReport {
  readonly reason: DropReason;
  readonly meaning: string;
  readonly count: number;
  readonly perSecond: number | null;
}

/** Where a gateway is. */
export interface GatewayAddresses {
  readonly bind: string;
  readonly port: number;
  /** Null: unknown; hosts here reach others, and cannot be reached first. */
  readonly public: string | null;
  readonly reference: string;
  readonly encodeNet: string;
  readonly ownEncoded: string;
  readonly mapperSocket: string;
  readonly hostsFile: string | null;
}

/** How packets are forwarded; null in -devmode. */
export interface ForwardingReport {
  readonly tun: string;
  readonly tunMtuBytes: number;
  readonly interfaceMtuBytes: number;
  readonly kernel: "wasm" | "ts";
  readonly lanes: number;
  readonly offloads: readonly OffloadName[];
  /** Asked for, and refused by this kernel. */
  readonly offloadsRefused: readonly OffloadName[];
}

/** The mapper's tables. */
export interface MappingReport {
  readonly byKind: MappingCounts;
  readonly records: number;
  readonly recordsMax: number;
  /** Encoded addresses given out by the mapper, and all it may give out. */
  readonly encodedUsed: number;
  readonly encodedMax: number;
  readonly created: number;
  readonly expired: number;
  readonly storeFailures: number;
}

/** Answer of the gateway. */
export interface GatewayStatus extends PartStatus {
  readonly part: "gateway";
  readonly addresses: GatewayAddresses;
  readonly forwarding: ForwardingReport | null;
  readonly traffic: {
    /** Seconds that the rates are of. */
    readonly windowSeconds: number;
    readonly toTunnel: TrafficStatus;
    readonly fromTunnel: TrafficStatus;
  };
  readonly mappings: MappingReport;
  readonly peers: { readonly count: number; readonly max: number };
  readonly sources: readonly SourceReport[];
  /** Reasons that have occurred, in the order of the list of reasons. */
  readonly drops: readonly DropReport[];
  /** What was looked at for the health, workers among them. */
  readonly checks: readonly HealthCheck[];
}

/** A table this full is a problem. */
const FULL_SHARE = 0.95;

/** Handler of `GET /status`. */
export function statusHandler(parts: InspectionParts): ControlHandler {
  return async ({ signal }) => {
    const counts = await countAllMappings(parts.mapper, parts.machine, signal);
    return jsonReply(gatewayStatus(parts, counts, await healthChecks(parts)));
  };
}

/** Whether it works, and whether it can serve; the workers are asked for it. */
async function healthChecks({ health }: InspectionParts): Promise<readonly HealthCheck[]> {
  const checks = new Map((await health.live()).checks.map((check) => [check.name, check]));
  for (const check of health.ready().checks) {
    if (check.state !== "ok" || !checks.has(check.name)) checks.set(check.name, check);
  }
  return [...checks.values()];
}

/** The whole answer. */
export function gatewayStatus(
  parts: InspectionParts,
  counts: MappingCounts,
  checks: readonly HealthCheck[],
): GatewayStatus {
  const { machine, startedMs, shared, desk } = parts;
  const mappings = mappingReport(parts, counts);
  const sources = sourceReports(parts);
  const problems = problemsOf(checks, mappings, sources);
  return {
    part: "gateway",
    version: machine.version,
    pid: process.pid,
    uptimeSeconds: Math.max(0, Math.round((machine.wallClockMs() - startedMs) / 1000)),
    isHealthy: problems.length === 0,
    problems,
    addresses: addressesOf(parts),
    forwarding: forwardingReport(parts),
    traffic: {
      windowSeconds: parts.rates.windowSeconds,
      toTunnel: trafficOf(parts, "egress"),
      fromTunnel: trafficOf(parts, "ingress"),
    },
    mappings,
    peers: { count: desk?.remoteGatewayCount ?? 0, max: shared.peers.peersMax },
    sources,
    drops: dropReports(parts),
    checks,
  };
}

function addressesOf({ settings }: InspectionParts): GatewayAddresses {
  return {
    bind: formatIp(settings.bind),
    port: settings.port,
    public: isUnspecified(settings.publicAddress) ? null : formatIp(settings.publicAddress),
    reference: formatReference(settings.gatewayReference),
    encodeNet: formatPrefix(settings.encodeNet),
    ownEncoded: formatIp(ownEncodedAddress(settings.encodeNet)),
    mapperSocket: settings.mapperSocket,
    hostsFile: settings.hostsFile ?? null,
  };
}

function forwardingReport({ facts, settings, machine }: InspectionParts): ForwardingReport | null {
  if (facts === undefined) return null;
  const { offloads } = facts;
  return {
    tun: facts.tunName,
    tunMtuBytes: facts.tunMtuBytes,
    interfaceMtuBytes: facts.interfaceMtuBytes,
    kernel: machine.kernel,
    lanes: settings.lanes,
    offloads: OFFLOAD_NAMES.filter((name) => offloads[name]),
    offloadsRefused: OFFLOAD_NAMES.filter((name) => settings.offloads[name] && !offloads[name]),
  };
}

function trafficOf({ shared, rates }: InspectionParts, role: "egress" | "ingress"): TrafficStatus {
  const { totals } = shared;
  const packetsPerSecond = rates.counterPerSecond(`${role}-packets`);
  const slowPerSecond = rates.counterPerSecond(`${role}-slow-path`);
  const bytesPerSecond = rates.counterPerSecond(`${role}-bytes`);
  return {
    packets: totals.total(`${role}-packets`),
    bytes: totals.total(`${role}-bytes`),
    slowPackets: totals.total(`${role}-slow-path`),
    rate:
      packetsPerSecond === undefined
        ? null
        : {
            packetsPerSecond: packetsPerSecond + (slowPerSecond ?? 0),
            bitsPerSecond: 8 * (bytesPerSecond ?? 0),
          },
  };
}

function mappingReport({ mapper }: InspectionParts, byKind: MappingCounts): MappingReport {
  const statistics = mapper.statistics();
  const { records, recordsMax, created, expired, storeFailures } = statistics;
  return {
    byKind,
    ...{ records, recordsMax, created, expired, storeFailures },
    encodedUsed: statistics.remoteHosts,
    encodedMax: statistics.encodedAddresses,
  };
}

function sourceReports({ mapper, nowSeconds }: InspectionParts): SourceReport[] {
  const now = nowSeconds();
  const ago = (seconds: number) => (seconds === 0 ? null : Math.max(0, now - seconds));
  return mapper.sourceStatus().map((source) => ({
    name: source.name,
    recordCount: source.recordCount,
    isLoading: source.isLoading,
    isStale: source.isStale,
    isConnected: source.isConnected,
    lastHeardSecondsAgo: ago(source.lastHeardSeconds),
    lastDataSecondsAgo: ago(source.lastDataSeconds),
  }));
}

function dropReports({ shared, rates }: InspectionParts): DropReport[] {
  return DROP_REASONS.flatMap(({ name, meaning }) => {
    const reason = name as DropReason;
    const count = shared.totals.drops(reason);
    if (count === 0) return [];
    return [{ reason, meaning, count, perSecond: rates.dropsPerSecond(reason) ?? null }];
  });
}

/** What somebody should look at. */
function problemsOf(
  checks: readonly HealthCheck[],
  mappings: MappingReport,
  sources: readonly SourceReport[],
): string[] {
  const problems = checks
    .filter(({ state }) => state !== "ok")
    .map(({ name, detail }) => `The ${name} is not in order: ${detail}`);
  const { records, recordsMax, encodedUsed, encodedMax } = mappings;
  if (records >= FULL_SHARE * recordsMax) {
    problems.push(`The table of mappings is nearly full: ${records} of ${recordsMax}`);
  }
  if (encodedUsed >= FULL_SHARE * encodedMax) {
    problems.push(`The encode net is nearly used up: ${encodedUsed} of ${encodedMax} addresses`);
  }
  for (const { name, isStale } of sources) {
    if (isStale) problems.push(`The DNS source ${name} is silent: is its agent running?`);
  }
  return problems;
}
