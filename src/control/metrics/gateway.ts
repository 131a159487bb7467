/**
 * Metrics of the gateway. Packets are counted by the workers in shared memory (tables/counters.ts)
 * and everything else by its owner; all of it is read when the page is asked for, and only then.
 */

import { DROP_REASONS, type DropReason } from "../../base/drop-reason.js";
import type { Mapper } from "../../mapper/mapper.js";
import type { MapperStatistics } from "../../mapper/status.js";
import type { CounterName } from "../../tables/counters.js";
import { ringUsedBytes } from "../../tables/packet-ring.js";
import type { WorkerHealth } from "../ports.js";
import type { SharedState } from "../shared-state.js";
import type { Labels, MetricsRegistry } from "./registry.js";

const EGRESS: Labels = { direction: "egress" };
const INGRESS: Labels = { direction: "ingress" };
const NONE: Labels = {};

/** Metric and labels of each counter of the workers. */
export const COUNTER_METRICS: Readonly<Partial<Record<CounterName, readonly [string, Labels]>>> = {
  "egress-packets": ["ipref_fast_path_packets_total", EGRESS],
  "egress-bytes": ["ipref_fast_path_bytes_total", EGRESS],
  "egress-slow-path": ["ipref_slow_path_packets_total", EGRESS],
  "egress-batches": ["ipref_batches_total", EGRESS],
  "egress-super-packets": ["ipref_super_packets_total", EGRESS],
  "ingress-packets": ["ipref_fast_path_packets_total", INGRESS],
  "ingress-bytes": ["ipref_fast_path_bytes_total", INGRESS],
  "ingress-slow-path": ["ipref_slow_path_packets_total", INGRESS],
  "ingress-batches": ["ipref_batches_total", INGRESS],
  "ingress-super-packets": ["ipref_super_packets_total", INGRESS],
  "ingress-joined": ["ipref_joined_packets_total", NONE],
  "send-groups": ["ipref_datagram_groups_total", EGRESS],
  "send-groups-off": ["ipref_datagram_groups_refused_total", NONE],
  "receive-groups": ["ipref_datagram_groups_total", INGRESS],
  "send-waits": ["ipref_send_waits_total", NONE],
  "send-errors": ["ipref_send_errors_total", NONE],
  "write-waits": ["ipref_write_waits_total", NONE],
  heartbeats: ["ipref_worker_heartbeats_total", NONE],
};

/** A remote gateway heard from within this time counts as active. */
export const ACTIVE_SECONDS = 300;

/** What the mapper socket tells. */
export interface MapperSocketCounts {
  readonly clients: number;
  readonly received: number;
  readonly sent: number;
  readonly held: number;
  readonly complaints: ReadonlyMap<string, number>;
}

/** Remote gateways in numbers. */
export interface RemoteGatewayCounts {
  readonly active: number;
  readonly silent: number;
}

/** Where the values come from. */
export interface GatewayMetricSources {
  readonly shared: SharedState;
  readonly mapper: Pick<Mapper, "statistics" | "sourceStatus">;
  readonly nowSeconds: () => number;
  readonly remotes: () => RemoteGatewayCounts;
  readonly mapperSocket: () => MapperSocketCounts;
  readonly tickLatenessMs: () => number;
}

/** Adds the metrics of the gateway to a page. */
export function addGatewayMetrics(registry: MetricsRegistry, sources: GatewayMetricSources): void {
  registry.refreshers.add(() => {
    addCounters(registry, sources.shared);
    addRings(registry, sources.shared);
    addMapper(registry, sources.mapper.statistics());
    addRemotes(registry, sources);
    addSources(registry, sources);
    addMapperSocket(registry, sources.mapperSocket());
    registry.gauge("ipref_tick_lateness_seconds", NONE, sources.tickLatenessMs() / 1000);
  });
}

/** Sets what the workers answered when they were asked for a sign of life. */
export function setWorkerHealth(registry: MetricsRegistry, workers: readonly WorkerHealth[]): void {
  registry.clear("ipref_worker_answer_seconds");
  for (const { name, answerMs } of workers) {
    const labels = { worker: name };
    registry.gauge("ipref_worker_alive", labels, answerMs === undefined ? 0 : 1);
    if (answerMs !== undefined) {
      registry.gauge("ipref_worker_answer_seconds", labels, answerMs / 1000);
    }
  }
}

function addCounters(registry: MetricsRegistry, { totals }: SharedState): void {
  for (const [counter, [name, labels]] of Object.entries(COUNTER_METRICS)) {
    registry.total(name, labels, totals.total(counter as CounterName));
  }
  for (const { name } of DROP_REASONS) {
    const reason = name as DropReason;
    registry.total("ipref_drops_total", { reason }, totals.drops(reason));
  }
}

function addRings(registry: MetricsRegistry, { memory, plan }: SharedState): void {
  const { ringBytes } = plan.options;
  for (const [lane, { egressRingOffset, ingressRingOffset }] of plan.lanes.entries()) {
    const offsets = { egress: egressRingOffset, ingress: ingressRingOffset };
    for (const [direction, offset] of Object.entries(offsets)) {
      const labels = { direction, lane: String(lane) };
      registry.gauge("ipref_ring_used_bytes", labels, ringUsedBytes(memory, offset));
      registry.gauge("ipref_ring_size_bytes", labels, ringBytes);
    }
  }
}

function addMapper(registry: MetricsRegistry, statistics: MapperStatistics): void {
  registry.gauge("ipref_mappings", { kind: "remote" }, statistics.remoteHosts);
  registry.gauge("ipref_mappings", { kind: "local" }, statistics.localHosts);
  registry.gauge("ipref_mapping_records", NONE, statistics.records);
  registry.gauge("ipref_mapping_records_max", NONE, statistics.recordsMax);
  registry.gauge("ipref_mapping_contexts", NONE, statistics.contexts);
  registry.gauge("ipref_encoded_addresses", NONE, statistics.encodedAddresses);
  registry.total("ipref_mappings_created_total", NONE, statistics.created);
  registry.total("ipref_mappings_revived_total", NONE, statistics.revived);
  registry.total("ipref_mappings_refreshed_total", NONE, statistics.refreshed);
  registry.total("ipref_mappings_expired_total", NONE, statistics.expired);
  registry.total("ipref_mappings_recovered_total", NONE, statistics.recovered);
  registry.total("ipref_mappings_reclaimed_total", NONE, statistics.reclaimed);
  registry.total("ipref_store_commits_total", NONE, statistics.storeCommits);
  registry.total("ipref_store_commit_failures_total", NONE, statistics.storeFailures);
  for (const [reason, count] of statistics.refused) {
    registry.total("ipref_mapping_refusals_total", { reason }, count);
  }
}

function addRemotes(registry: MetricsRegistry, { remotes, shared }: GatewayMetricSources): void {
  const { active, silent } = remotes();
  registry.gauge("ipref_remote_gateways", { state: "active" }, active);
  registry.gauge("ipref_remote_gateways", { state: "silent" }, silent);
  registry.gauge("ipref_remote_gateways_max", NONE, shared.plan.options.peersMax);
}

/** The mapper keeps 64 sources at most, which bounds the label. */
function addSources(registry: MetricsRegistry, sources: GatewayMetricSources): void {
  const states = { loading: 0, current: 0, stale: 0 };
  registry.clear("ipref_source_records");
  registry.clear("ipref_source_last_heard_seconds");
  for (const source of sources.mapper.sourceStatus()) {
    const labels = { source: source.name };
    states[source.isStale ? "stale" : source.isLoading ? "loading" : "current"]++;
    const silence = Math.max(0, sources.nowSeconds() - source.lastHeardSeconds);
    registry.gauge("ipref_source_records", labels, source.recordCount);
    registry.gauge("ipref_source_last_heard_seconds", labels, silence);
  }
  for (const [state, count] of Object.entries(states)) {
    registry.gauge("ipref_sources", { state }, count);
  }
}

function addMapperSocket(registry: MetricsRegistry, counts: MapperSocketCounts): void {
  registry.gauge("ipref_mapper_clients", NONE, counts.clients);
  registry.gauge("ipref_mapper_answers_held", NONE, counts.held);
  registry.total("ipref_mapper_messages_total", { direction: "received" }, counts.received);
  registry.total("ipref_mapper_messages_total", { direction: "sent" }, counts.sent);
  for (const [fault, count] of counts.complaints) {
    registry.total("ipref_mapper_complaints_total", { fault }, count);
  }
}
