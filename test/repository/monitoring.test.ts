/** Metrics, events, board and alert rules agree with each other and with the sources. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { DROP_REASONS } from "../../src/base/drop-reason.js";
import { DECLARATIONS } from "../../src/control/metrics/declarations.js";
import { COUNTER_METRICS } from "../../src/control/metrics/gateway.js";
import { COUNTER_NAMES } from "../../src/tables/counters.js";
import { promtool, WITHOUT_PROMTOOL } from "../support/promtool.js";
import { filesBelow, ROOT, readSource } from "./source-files.js";

const RULES = "packaging/prometheus/ipref.rules.yml";
const BOARD = "packaging/grafana/ipref.json";
const NAME = /\b(?:ipref|coredns|process)_[a-z0-9_]+\b/g;

/** Names of a text that are not those of declared metrics. */
function unknownNames(text: string): string[] {
  const names = [...text.matchAll(NAME)].map(([name]) => name);
  return names.filter((name) => {
    const family = name.replace(/_(bucket|sum|count)$/, "");
    return !DECLARATIONS.has(name) && DECLARATIONS.get(family)?.kind !== "histogram";
  });
}

test("docs/METRICS.md and docs/EVENTS.md are current", () => {
  const script = join(ROOT, "scripts/write-metrics.js");
  const result = spawnSync(process.execPath, [script, "--check"], { encoding: "utf8" });
  assert.equal(result.status, 0, result.stderr);
});

test("every metric that the sources name is declared, and every declared one is named", () => {
  const sources = filesBelow(["src"], [".ts"]).filter(
    ({ path }) => !path.endsWith("metrics/declarations.ts"),
  );
  const literals = sources.flatMap(({ path, text }) =>
    [...text.matchAll(/"((?:ipref|coredns|process)_[a-z0-9_]+)"/g)].map(
      ([, name]) => [path, name!] as const,
    ),
  );
  for (const [path, name] of literals) assert.ok(DECLARATIONS.has(name), `${path}: ${name}`);
  const used = new Set(literals.map(([, name]) => name));
  for (const name of DECLARATIONS.keys()) assert.ok(used.has(name), `${name} is never set`);
});

test("metrics are named as Prometheus asks, and explained in a phrase", () => {
  for (const { name, kind, help } of DECLARATIONS.values()) {
    assert.equal(name.endsWith("_total"), kind === "counter", name);
    assert.doesNotMatch(name, /_(ms|milliseconds|kilobytes|minutes|percent)(_|$)/);
    assert.match(help, /^[A-Z0-9].*[^.]$/, name);
  }
});

test("every counter of the workers has a metric, and every drop reason its series", () => {
  for (const name of COUNTER_NAMES) {
    assert.ok(COUNTER_METRICS[name] !== undefined, `${name} is in no metric`);
  }
  const { values } = DECLARATIONS.get("ipref_drops_total")!;
  assert.deepEqual(
    values,
    DROP_REASONS.map(({ name }) => name),
  );
});

test("board and alert rules use declared metrics only", () => {
  const board = JSON.parse(readSource(BOARD).text) as {
    panels: { title: string; targets?: { expr: string }[] }[];
  };
  const expressions = board.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  assert.ok(expressions.length > 30);
  for (const expr of expressions) assert.deepEqual(unknownNames(expr), [], expr);
  const rules = readSource(RULES);
  assert.deepEqual(unknownNames(rules.text), []);
  const alerts = [...rules.text.matchAll(/- alert: (\w+)/g)];
  assert.ok(alerts.length >= 15);
  assert.equal([...rules.text.matchAll(/^ +runbook: \S/gm)].length, alerts.length);
});

test("drop reasons and commands that the alert rules name exist", () => {
  const { text } = readSource(RULES);
  const known = new Set<string>(DROP_REASONS.map(({ name }) => name));
  for (const [, reasons] of text.matchAll(/reason=~?"([a-z|-]+)"/g)) {
    for (const reason of reasons!.split("|")) assert.ok(known.has(reason), reason);
  }
  const table = readSource("src/programs/commands.ts").text;
  for (const [, command] of text.matchAll(
    /\bipref (status|doctor|top|maps|peers|bundle|capture)/g,
  )) {
    assert.match(table, new RegExp(`name: "${command}"`), `ipref ${command}`);
  }
});

test("promtool accepts the alert rules, and their tests pass", { skip: WITHOUT_PROMTOOL }, () => {
  assert.equal(promtool(["check", "rules", join(ROOT, RULES)]), "");
  const tests = join(ROOT, "packaging/prometheus/ipref.test.yml");
  assert.equal(promtool(["test", "rules", tests]), "");
  assert.equal(promtool(["check", "config", join(ROOT, "packaging/prometheus/scrape.yml")]), "");
});
