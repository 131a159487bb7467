/** The registry: text format, bounds, what is there from the beginning. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DECLARATIONS } from "../../../src/control/metrics/declarations.js";
import { mergePages } from "../../../src/control/metrics/merge.js";
import { MetricsRegistry, SERIES_MAX } from "../../../src/control/metrics/registry.js";
import { complaintsAboutPage, hasPromtool } from "../../support/promtool.js";

function linesOf(text: string, name: string): string[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
}

test("counters with known labels are there from the beginning, at 0", () => {
  const text = new MetricsRegistry("gateway").text();
  const drops = linesOf(text, "ipref_drops_total");
  assert.equal(drops.length, DECLARATIONS.get("ipref_drops_total")!.values!.length);
  assert.ok(drops.every((line) => line.endsWith(" 0")));
  assert.ok(drops.includes('ipref_drops_total{reason="slow-path-full"} 0'));
  assert.deepEqual(linesOf(text, "coredns_panics_total"), [], "the DNS server's are elsewhere");
  assert.deepEqual(linesOf(new MetricsRegistry("resolver").text(), "coredns_panics_total"), [
    "coredns_panics_total 0",
  ]);
});

test("HELP and TYPE stand once before the series of a metric", () => {
  const registry = new MetricsRegistry("gateway");
  registry.gauge("ipref_mappings", { kind: "local" }, 3);
  registry.gauge("ipref_mappings", { kind: "remote" }, 4);
  const lines = registry.text().split("\n");
  const at = lines.indexOf("# TYPE ipref_mappings gauge");
  assert.match(lines[at - 1]!, /^# HELP ipref_mappings [A-Z]/);
  assert.deepEqual(lines.slice(at + 1, at + 3), [
    'ipref_mappings{kind="local"} 3',
    'ipref_mappings{kind="remote"} 4',
  ]);
});

test("a histogram has buckets that add up, sum and count", () => {
  const registry = new MetricsRegistry("resolver");
  const name = "coredns_ipref_mapper_duration_seconds";
  for (const value of [0.0001, 0.0004, 0.0004, 100]) registry.observe(name, {}, value);
  const lines = registry.text().split("\n");
  assert.ok(lines.includes(`${name}_bucket{le="0.00025"} 1`));
  assert.ok(lines.includes(`${name}_bucket{le="0.0005"} 3`));
  assert.ok(lines.includes(`${name}_bucket{le="8.192"} 3`));
  assert.ok(lines.includes(`${name}_bucket{le="+Inf"} 4`));
  assert.ok(lines.includes(`${name}_count 4`));
  assert.ok(lines.includes(`${name}_sum 100.0009`));
});

test("undeclared metrics and labels are bugs", () => {
  const registry = new MetricsRegistry("gateway");
  assert.throws(() => registry.count("ipref_nothing_total", {}), /ipref_nothing_total is declared/);
  assert.throws(() => registry.count("ipref_drops_total", { cause: "x" }), /its declared labels/);
  assert.throws(() => registry.count("ipref_drops_total", {}), /its declared labels/);
});

test("the number of series of a metric is bounded, whatever names the network sends", () => {
  const registry = new MetricsRegistry("resolver");
  const name = "coredns_upstream_ignored_total";
  for (let index = 0; index < SERIES_MAX + 100; index++) {
    registry.count(name, { to: `server-${index}`, reason: "id" });
  }
  assert.equal(linesOf(registry.text(), name).length, SERIES_MAX);
});

test("frozen labels count into the series of equal ones", () => {
  const registry = new MetricsRegistry("gateway");
  const frozen = Object.freeze({ reason: "tunnel-empty" });
  for (let round = 0; round < 3; round++) registry.count("ipref_drops_total", frozen);
  registry.count("ipref_drops_total", { reason: "tunnel-empty" }, 4);
  assert.ok(registry.text().includes('ipref_drops_total{reason="tunnel-empty"} 7\n'));
});

test("no label value can forge a line or a label (property)", () => {
  const seed = Date.now() & 0xffff;
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), (source) => {
      const registry = new MetricsRegistry("agent");
      registry.gauge("ipref_agent_source_records", { source }, 1);
      const lines = registry.text().trimEnd().split("\n");
      const series = lines.filter((line) => line.startsWith("ipref_agent_source_records"));
      assert.equal(series.length, 1);
      assert.match(series[0]!, /^ipref_agent_source_records\{source="(?:[^"\\\n]|\\["\\n])*"\} 1$/);
      assert.doesNotMatch(series[0]!, /[\p{Cc}]/u);
    }),
    { seed, numRuns: 300 },
  );
});

test("hostile label values leave a page that promtool accepts", { skip: !hasPromtool }, () => {
  const registry = new MetricsRegistry("agent");
  for (const source of ['a"} 5', "b\nipref_x 1", "c\\", "d\u001b[2J\u0000", "ä☃"]) {
    registry.gauge("ipref_agent_source_records", { source }, 1);
  }
  assert.equal(complaintsAboutPage(registry.text()), "");
});

test("joined pages label what several parts have, and keep the rest", () => {
  const gateway = new MetricsRegistry("gateway");
  const agent = new MetricsRegistry("agent");
  gateway.total("process_cpu_seconds_total", {}, 1);
  agent.total("process_cpu_seconds_total", {}, 2);
  gateway.gauge("ipref_mappings", { kind: "local" }, 7);
  agent.gauge("ipref_agent_source_serial", { source: "a}b 1" }, 9);
  const text = mergePages([
    { part: "gateway", text: gateway.text() },
    { part: "agent", text: agent.text() },
  ]);
  assert.deepEqual(linesOf(text, "process_cpu_seconds_total"), [
    'process_cpu_seconds_total{part="gateway"} 1',
    'process_cpu_seconds_total{part="agent"} 2',
  ]);
  assert.equal(text.split("# TYPE process_cpu_seconds_total counter").length, 2);
  assert.deepEqual(linesOf(text, "ipref_mappings"), ['ipref_mappings{kind="local"} 7']);
  assert.deepEqual(linesOf(text, "ipref_agent_source_serial"), [
    'ipref_agent_source_serial{source="a}b 1"} 9',
  ]);
  if (hasPromtool) assert.equal(complaintsAboutPage(text), "");
});

test("a part cannot bring in metrics of another part, or garbage", () => {
  const forged = [
    'ipref_mappings{kind="local"} 7',
    "ipref_invented 1",
    "# HELP ipref_agent_mapper_connected forged",
    "ipref_agent_mapper_connected 1",
    "ipref_agent_mapper_connected one",
    "process_open_fds 5",
  ].join("\n");
  assert.deepEqual(
    mergePages([{ part: "agent", text: forged }])
      .trim()
      .split("\n"),
    [
      "# HELP ipref_agent_mapper_connected 1 while the gateway is reached",
      "# TYPE ipref_agent_mapper_connected gauge",
      "ipref_agent_mapper_connected 1",
      "# HELP process_open_fds Open file descriptors",
      "# TYPE process_open_fds gauge",
      'process_open_fds{part="agent"} 5',
    ],
  );
});

test("labels that are not the metric's, or not well written, are left out line by line", () => {
  const page = (...lines: string[]) => mergePages([{ part: "gateway", text: lines.join("\n") }]);
  const good = 'ipref_mappings{kind="a\\"b\\\\c\\nd"} 7';
  const forged = [
    ...['ipref_mappings{kind="x",part="agent"} 1', 'ipref_mappings{kind="x",kind="y"} 1'],
    ...[
      'ipref_mappings{kind="x"kind="y"} 1',
      'ipref_mappings{kind="x} 1',
      "ipref_mappings{kind} 1",
    ],
    ...['ipref_mappings{kind="\\x"} 1', "ipref_mappings{,} 1", 'ipref_mappings{kind="x",} 1'],
    ...['ipref_mappings{kind="x"} e', 'ipref_mappings{kind="x"} 1.2.3', "ipref_mappings_sum 1"],
    'process_open_fds{part="agent"} 5',
  ];
  assert.deepEqual(linesOf(page(good, ...forged), "ipref_mappings"), [good]);
  assert.equal(page(...forged), page());
  if (hasPromtool) assert.equal(complaintsAboutPage(page(good, ...forged)), "");
});
