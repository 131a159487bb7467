/**
 * All metrics of all parts: the one table from which the registry, docs/METRICS.md and the tests of
 * the board and the alert rules are made. Pure.
 *
 * Names follow prometheus.io/docs/practices/naming: base units, `_total` for counters. The names
 * that begin with `coredns_` are those of CoreDNS (spec/resolver.md 2.6).
 */

import { DROP_REASONS } from "../../base/drop-reason.js";

/** A program that has a page of metrics. */
export type MetricPart = "gateway" | "resolver" | "agent" | "up";

/** What the numbers mean to Prometheus. */
export type MetricKind = "counter" | "gauge" | "histogram";

/** One metric. */
export interface MetricDeclaration {
  readonly name: string;
  readonly kind: MetricKind;
  /** One phrase without a full stop. */
  readonly help: string;
  readonly labels: readonly string[];
  /** Values of the first label that are there from the beginning, at 0. */
  readonly values?: readonly string[];
  /** Upper bounds of a histogram's buckets. */
  readonly bounds?: readonly number[];
  readonly parts: readonly MetricPart[];
}

/** CoreDNS's duration buckets: 0.25 ms doubling, 16 of them (spec/resolver.md 1.15). */
const DURATION_BUCKETS = Array.from({ length: 16 }, (_, index) => 0.00025 * 2 ** index);
/** CoreDNS's size buckets in octets. */
const SIZE_BUCKETS = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3];

const ALL_PARTS: readonly MetricPart[] = ["gateway", "resolver", "agent", "up"];
const DIRECTIONS = ["egress", "ingress"] as const;
/** Levels of log lines. */
const LOG_LEVELS = ["debug", "info", "warning", "error", "fatal"] as const;

/** Drop reasons of the mapper. */
const MAPPER_REASON =
  /^(reference-exhausted|encoded-address-exhausted|mapping-(quota|rate|storage))$/;

type Row = readonly [
  name: string,
  kind: MetricKind,
  help: string,
  labels?: readonly string[],
  values?: readonly string[],
];

const PROCESS: readonly Row[] = [
  ["ipref_build_info", "gauge", "Always 1; the labels tell the versions", ["version", "node"]],
  ["ipref_event_loop_active_seconds_total", "counter", "Time for which the main thread was busy"],
  ["ipref_log_lines_total", "counter", "Lines written to the log", ["level"], LOG_LEVELS],
  ["ipref_log_lines_suppressed_total", "counter", "Lines held back because an event repeated"],
  ["process_cpu_seconds_total", "counter", "Processor time of all threads, user and system"],
  ["process_max_fds", "gauge", "Limit of open file descriptors"],
  ["process_open_fds", "gauge", "Open file descriptors"],
  ["process_resident_memory_bytes", "gauge", "Resident memory"],
  ["process_start_time_seconds", "gauge", "Start of the process, in seconds since 1970"],
  ["process_virtual_memory_bytes", "gauge", "Address space in use, most of it never touched"],
];

const TRAFFIC: readonly Row[] = [
  [
    "ipref_fast_path_packets_total",
    "counter",
    "Packets that the workers forwarded: egress to the tunnel, ingress from it",
    ["direction"],
    DIRECTIONS,
  ],
  [
    "ipref_fast_path_bytes_total",
    "counter",
    "Octets of these packets as the local network sees them",
    ["direction"],
    DIRECTIONS,
  ],
  [
    "ipref_slow_path_packets_total",
    "counter",
    "Packets that a worker handed to the main thread",
    ["direction"],
    DIRECTIONS,
  ],
  ["ipref_batches_total", "counter", "Batches of packets forwarded", ["direction"], DIRECTIONS],
  [
    "ipref_super_packets_total",
    "counter",
    "Packets of several segments read from or written to the device",
    ["direction"],
    DIRECTIONS,
  ],
  ["ipref_joined_packets_total", "counter", "Packets that were joined to the one before"],
  [
    "ipref_datagram_groups_total",
    "counter",
    "Messages of several datagrams sent (egress) or received (ingress)",
    ["direction"],
    DIRECTIONS,
  ],
  ["ipref_datagram_groups_refused_total", "counter", "Sockets that turned out to refuse such"],
  ["ipref_send_waits_total", "counter", "Waits for room in the tunnel socket"],
  ["ipref_send_errors_total", "counter", "Calls to send that failed and were repeated"],
  ["ipref_write_waits_total", "counter", "Waits for room in the device's queue"],
  [
    "ipref_drops_total",
    "counter",
    "Packets that were not forwarded, by reason (docs/DROP-REASONS.md)",
    ["reason"],
    DROP_REASONS.map(({ name }) => name),
  ],
  ["ipref_ring_used_bytes", "gauge", "Octets waiting for the slow path", ["direction", "lane"]],
  ["ipref_ring_size_bytes", "gauge", "Room for packets on the way to it", ["direction", "lane"]],
  ["ipref_worker_alive", "gauge", "1 when the worker answered just now", ["worker"]],
  ["ipref_worker_answer_seconds", "gauge", "Time until the worker answered", ["worker"]],
  ["ipref_worker_heartbeats_total", "counter", "Nudges that the workers have answered"],
  ["ipref_tick_lateness_seconds", "gauge", "Greatest delay of the main thread's last 60 ticks"],
];

const MAPPINGS: readonly Row[] = [
  [
    "ipref_mappings",
    "gauge",
    "Mappings made by packets and look-ups, with those that rest",
    ["kind"],
  ],
  ["ipref_mapping_records", "gauge", "Records in the address table, published ones included"],
  ["ipref_mapping_records_max", "gauge", "Room for records in the address table"],
  ["ipref_mapping_contexts", "gauge", "Addresses of remote gateways that mappings refer to"],
  ["ipref_encoded_addresses", "gauge", "Addresses of the encode net that can be given out"],
  ["ipref_mappings_created_total", "counter", "Mappings made"],
  ["ipref_mappings_revived_total", "counter", "Resting mappings taken into use again"],
  ["ipref_mappings_refreshed_total", "counter", "Mappings whose life was renewed by use"],
  ["ipref_mappings_expired_total", "counter", "Mappings that ended for want of use"],
  ["ipref_mappings_recovered_total", "counter", "Mappings known again after a start"],
  ["ipref_mappings_reclaimed_total", "counter", "Values taken from mappings that rested"],
  [
    "ipref_mapping_refusals_total",
    "counter",
    "Mappings that were not made, by reason",
    ["reason"],
    DROP_REASONS.map(({ name }) => name).filter((name) => MAPPER_REASON.test(name)),
  ],
  ["ipref_store_commits_total", "counter", "Groups of changes on the disk"],
  ["ipref_store_commit_failures_total", "counter", "Groups of changes that the disk refused"],
  ["ipref_remote_gateways", "gauge", "Remote gateways known, by state", ["state"]],
  ["ipref_remote_gateways_max", "gauge", "Room for remote gateways"],
  ["ipref_sources", "gauge", "DNS sources that agents deliver, by state", ["state"]],
  ["ipref_source_records", "gauge", "Published hosts of a DNS source", ["source"]],
  ["ipref_source_last_heard_seconds", "gauge", "Time since a DNS source was heard of", ["source"]],
  ["ipref_mapper_clients", "gauge", "Connections to the mapper socket"],
  [
    "ipref_mapper_messages_total",
    "counter",
    "Messages on the mapper socket",
    ["direction"],
    ["received", "sent"],
  ],
  ["ipref_mapper_complaints_total", "counter", "Messages that were refused, by fault", ["fault"]],
  ["ipref_mapper_answers_held", "gauge", "Answers that wait for the store"],
];

const CACHE = ["server", "zones", "view"];
const CACHE_KIND = [...CACHE, "type"];

const RESOLVER: readonly Row[] = [
  ["coredns_cache_entries", "gauge", "Answers in the cache", CACHE_KIND],
  ["coredns_cache_evictions_total", "counter", "Answers that made room for others", CACHE],
  ["coredns_cache_hits_total", "counter", "Queries answered from the cache", CACHE_KIND],
  ["coredns_cache_misses_total", "counter", "Queries that the cache could not answer", CACHE],
  ["coredns_cache_prefetch_total", "counter", "Answers asked for again before their end", CACHE],
  ["coredns_cache_served_stale_total", "counter", "Answers given after their end", CACHE],
  [
    "coredns_dns_request_duration_seconds",
    "histogram",
    "Time from a request to its reply",
    ["server", "zone", "view"],
  ],
  [
    "coredns_dns_request_size_bytes",
    "histogram",
    "Size of requests",
    ["server", "zone", "view", "proto"],
  ],
  [
    "coredns_dns_requests_total",
    "counter",
    "Requests by zone, protocol, family and type",
    ["server", "zone", "view", "proto", "family", "type"],
  ],
  [
    "coredns_dns_response_size_bytes",
    "histogram",
    "Size of replies",
    ["server", "zone", "view", "proto"],
  ],
  [
    "coredns_dns_responses_total",
    "counter",
    "Replies by zone and response code",
    ["server", "zone", "view", "rcode", "plugin"],
  ],
  ["coredns_forward_healthcheck_broken_total", "counter", "Questions for which no server was well"],
  [
    "coredns_forward_max_concurrent_rejects_total",
    "counter",
    "Questions refused: too many at once",
  ],
  [
    "coredns_ipref_aa_invalid_total",
    "counter",
    "TXT records that are no IPREF address",
    ["reason"],
  ],
  ["coredns_ipref_cache_hits_total", "counter", "Look-ups of the ipref step from memory", ["kind"]],
  ["coredns_ipref_mapper_duration_seconds", "histogram", "Time of the gateway's answers"],
  [
    "coredns_ipref_outcome_total",
    "counter",
    "What became of queries in the ipref step",
    ["server", "outcome"],
  ],
  [
    "coredns_ipref_request_duration_seconds",
    "histogram",
    "Time of queries in the ipref step",
    ["server"],
  ],
  [
    "coredns_ipref_response_rcode_count_total",
    "counter",
    "Response codes of the ipref step",
    ["server", "rcode"],
  ],
  ["coredns_panics_total", "counter", "Queries answered SERVFAIL because of a bug"],
  [
    "coredns_proxy_healthcheck_failures_total",
    "counter",
    "Health checks that a server did not answer",
    ["proxy_name", "to"],
  ],
  [
    "coredns_proxy_request_duration_seconds",
    "histogram",
    "Time of the answers of other servers",
    ["proxy_name", "to", "rcode"],
  ],
  ["coredns_reload_failed_total", "counter", "Configurations refused while the old one stayed"],
  [
    "coredns_upstream_ignored_total",
    "counter",
    "Messages of other servers that were not the reply, by reason",
    ["to", "reason"],
  ],
  [
    "ipref_dns_limited_total",
    "counter",
    "Replies cut or dropped by the rate limit",
    ["action"],
    ["truncated", "dropped"],
  ],
  ["ipref_dns_queries_in_flight", "gauge", "Queries that wait for their reply"],
  ["ipref_dns_rejected_total", "counter", "Messages that reached no block, by reason", ["reason"]],
  ["ipref_dns_tcp_connections", "gauge", "Open TCP connections of clients"],
  ["ipref_dns_udp_oversized_total", "counter", "Requests longer than 4,096 octets, ignored"],
  ["ipref_dns_udp_send_failures_total", "counter", "Replies that the kernel did not take"],
];

const AGENT: readonly Row[] = [
  ["ipref_agent_mapper_connected", "gauge", "1 while the gateway is reached"],
  [
    "ipref_agent_source_last_success_timestamp_seconds",
    "gauge",
    "When a server of the source last confirmed its content; 0 before the first time",
    ["source"],
  ],
  ["ipref_agent_source_serial", "gauge", "Highest serial seen in the zone", ["source"]],
  ["ipref_agent_source_records", "gauge", "Hosts of the accepted set", ["source"]],
  ["ipref_agent_source_complete", "gauge", "1 when the gateway has the whole set", ["source"]],
  [
    "ipref_agent_transfers_total",
    "counter",
    "Questions to the servers of a source: content, unchanged or failed",
    ["source", "result"],
  ],
  [
    "ipref_agent_deliveries_total",
    "counter",
    "Messages to the gateway: sent, acknowledged, refused or lost",
    ["source", "result"],
  ],
];

const SUPERVISOR: readonly Row[] = [
  ["ipref_up_part_running", "gauge", "1 while the part runs", ["part"]],
  ["ipref_up_part_restarts_total", "counter", "Starts of the part after it had ended", ["part"]],
  ["ipref_up_part_scrape_success", "gauge", "1 when the part gave its metrics", ["part"]],
  [
    "ipref_up_reloads_total",
    "counter",
    "Reloads asked for: done or refused",
    ["result"],
    ["done", "refused"],
  ],
];

function declare(rows: readonly Row[], parts: readonly MetricPart[]): MetricDeclaration[] {
  return rows.map(([name, kind, help, labels = [], values = []]) => {
    const bounds = name.endsWith("_bytes") ? SIZE_BUCKETS : DURATION_BUCKETS;
    return { name, kind, help, labels, values, parts, ...(kind === "histogram" && { bounds }) };
  });
}

/** Sections of docs/METRICS.md. */
export const METRIC_SECTIONS: readonly (readonly [string, readonly MetricDeclaration[]])[] = [
  ["Every program", declare(PROCESS, ALL_PARTS)],
  ["Gateway: traffic", declare(TRAFFIC, ["gateway"])],
  ["Gateway: mappings", declare(MAPPINGS, ["gateway"])],
  ["DNS server", declare(RESOLVER, ["resolver"])],
  ["DNS agent", declare(AGENT, ["agent"])],
  ["ipref up", declare(SUPERVISOR, ["up"])],
];

/** All metrics by name. */
export const DECLARATIONS: ReadonlyMap<string, MetricDeclaration> = new Map(
  METRIC_SECTIONS.flatMap(([, metrics]) => metrics.map((metric) => [metric.name, metric] as const)),
);
