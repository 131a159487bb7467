/**
 * Counters, gauges and histograms in the text format of Prometheus (exposition format 0.0.4). A
 * metric comes into being at its first use; the number of label sets of one metric is bounded.
 */

import type { Metrics } from "../dns/ports.js";

type Kind = "counter" | "gauge" | "histogram";
type Labels = Readonly<Record<string, string>>;

/** Label sets of one metric; what comes beyond is not counted. */
const SERIES_MAX = 2000;

/** CoreDNS's duration buckets: 0.25 ms doubling, 16 of them (spec/resolver.md 1.15). */
const DURATION_BUCKETS = Array.from({ length: 16 }, (_, index) => 0.00025 * 2 ** index);
/** CoreDNS's size buckets in octets. */
const SIZE_BUCKETS = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3];

/** What the metrics mean; others are shown without explanation. */
const HELP: Readonly<Record<string, string>> = {
  coredns_build_info: "Version of the program",
  coredns_dns_request_duration_seconds: "Time from a request to its reply",
  coredns_dns_request_size_bytes: "Size of requests",
  coredns_dns_requests_total: "Requests by zone, protocol, family and type",
  coredns_dns_response_size_bytes: "Size of replies",
  coredns_dns_responses_total: "Replies by zone and response code",
  coredns_ipref_outcome_total: "What became of queries in the ipref step",
  coredns_ipref_request_duration_seconds: "Time of queries in the ipref step",
  coredns_ipref_response_rcode_count_total: "Response codes of the ipref step",
  coredns_panics_total: "Queries answered SERVFAIL because of a bug",
  coredns_reload_failed_total: "Configurations that were refused while the old one stayed",
  ipref_dns_limited_total: "Replies truncated or dropped by the response rate limit",
  ipref_dns_rejected_total: "Messages that reached no block, by reason",
  ipref_dns_udp_oversized_total: "Requests longer than 4,096 octets, ignored",
  ipref_dns_udp_send_failures_total: "Replies that the kernel did not take",
  process_resident_memory_bytes: "Resident memory",
};

interface Series {
  readonly labelText: string;
  value: number;
  buckets: number[] | undefined;
  count: number;
}

interface Family {
  readonly kind: Kind;
  readonly bounds: readonly number[];
  readonly series: Map<string, Series>;
  /** Series of frozen label objects, which callers keep for what they count often. */
  readonly byLabels: WeakMap<Labels, Series>;
}

/** All metrics of the process. */
export class MetricsRegistry implements Metrics {
  readonly #families = new Map<string, Family>();
  /** Called before the text is made, to bring gauges up to date. */
  readonly refreshers = new Set<() => void>();

  count(name: string, labels: Labels, by = 1): void {
    const series = this.#seriesOf(name, "counter", labels);
    if (series !== undefined) series.value += by;
  }

  gauge(name: string, labels: Labels, value: number): void {
    const series = this.#seriesOf(name, "gauge", labels);
    if (series !== undefined) series.value = value;
  }

  /** Sets a counter that somebody else keeps. */
  total(name: string, labels: Labels, value: number): void {
    const series = this.#seriesOf(name, "counter", labels);
    if (series !== undefined) series.value = value;
  }

  observe(name: string, labels: Labels, value: number): void {
    const series = this.#seriesOf(name, "histogram", labels);
    if (series === undefined) return;
    const { bounds } = this.#families.get(name)!;
    series.value += value;
    series.count++;
    series.buckets ??= new Array<number>(bounds.length).fill(0);
    const index = bounds.findIndex((bound) => value <= bound);
    if (index >= 0) series.buckets[index]!++;
  }

  #seriesOf(name: string, kind: Kind, labels: Labels): Series | undefined {
    let family = this.#families.get(name);
    if (family === undefined) {
      const bounds = name.endsWith("_bytes") ? SIZE_BUCKETS : DURATION_BUCKETS;
      family = { kind, bounds, series: new Map(), byLabels: new WeakMap() };
      this.#families.set(name, family);
    }
    const known = family.byLabels.get(labels);
    if (known !== undefined) return known;
    let key = "";
    for (const label in labels) key += `${labels[label]!}\0`;
    let series = family.series.get(key);
    if (series === undefined) {
      if (family.series.size >= SERIES_MAX) return undefined;
      series = { labelText: labelsText(labels), value: 0, buckets: undefined, count: 0 };
      family.series.set(key, series);
    }
    if (Object.isFrozen(labels)) family.byLabels.set(labels, series);
    return series;
  }

  /** The page for `/metrics`. */
  text(): string {
    for (const refresh of this.refreshers) refresh();
    const lines: string[] = [];
    for (const name of [...this.#families.keys()].sort()) {
      const family = this.#families.get(name)!;
      const help = HELP[name];
      if (help !== undefined) lines.push(`# HELP ${name} ${help}`);
      lines.push(`# TYPE ${name} ${family.kind}`);
      for (const series of family.series.values()) lines.push(...seriesLines(name, family, series));
    }
    return `${lines.join("\n")}\n`;
  }
}

function seriesLines(name: string, { kind, bounds }: Family, series: Series): string[] {
  if (kind !== "histogram") return [`${name}${braced(series.labelText)} ${series.value}`];
  const lines: string[] = [];
  const bucket = (bound: string, sum: number): void => {
    const labels = joined(series.labelText, `le="${bound}"`);
    lines.push(`${name}_bucket${braced(labels)} ${sum}`);
  };
  let sum = 0;
  for (const [index, bound] of bounds.entries()) {
    sum += series.buckets?.[index] ?? 0;
    bucket(String(bound), sum);
  }
  bucket("+Inf", series.count);
  lines.push(`${name}_sum${braced(series.labelText)} ${series.value}`);
  lines.push(`${name}_count${braced(series.labelText)} ${series.count}`);
  return lines;
}

function labelsText(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabel(value)}"`)
    .join(",");
}

function escapeLabel(value: string): string {
  return value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}

function braced(labels: string): string {
  return labels === "" ? "" : `{${labels}}`;
}

function joined(first: string, second: string): string {
  return first === "" ? second : `${first},${second}`;
}
