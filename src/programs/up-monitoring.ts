/**
 * Metrics and health of the whole system: `ipref up` asks its parts over their control sockets and
 * joins what they say. A part that does not answer in time is missing, and the rest is shown.
 */

import { type HealthCheck, readChecks, reportOf } from "../control/health.js";
import type { MonitoringPages } from "../control/inspection/monitoring.js";
import type { MetricPart } from "../control/metrics/declarations.js";
import { mergePages, type PartPage } from "../control/metrics/merge.js";
import { addProcessMetrics, type LogCounts } from "../control/metrics/process.js";
import { MetricsRegistry } from "../control/metrics/registry.js";
import { callControl } from "../platform/control-client.js";
import { processUsage } from "../platform/process-usage.js";
import { programVersion } from "../platform/version.js";

/** A worker that hangs makes the gateway's answer take a second. */
const ANSWER_TIME_MS = 3000;

/** A part's page; that of a gateway with all series has less than 1 MB. */
const PAGE_BYTES_MAX = 4 * 2 ** 20;
const REPORT_BYTES_MAX = 2 ** 16;

/** A part as the supervisor knows it. */
export interface MonitoredPart {
  readonly name: Exclude<MetricPart, "up">;
  readonly isRunning: boolean;
  readonly restarts: number;
  readonly controlSocket: string;
}

/** Where the pages come from. */
export interface SystemMonitoringSources {
  readonly parts: () => readonly MonitoredPart[];
  /** True once everything has been started. */
  readonly isReady: () => boolean;
  readonly reloads: () => { readonly done: number; readonly refused: number };
  readonly log: () => LogCounts;
}

/** The pages of the system. */
export function systemPages(sources: SystemMonitoringSources): MonitoringPages {
  const { parts, log } = sources;
  const registry = new MetricsRegistry("up");
  const { version: nodeVersion } = process;
  addProcessMetrics(registry, { version: programVersion(), nodeVersion, usage: processUsage, log });
  return {
    async metrics() {
      const found = await Promise.all(parts().map(partPage));
      setPartMetrics(registry, sources, found);
      const pages = found.flatMap((page) => page ?? []);
      return mergePages([...pages, { part: "up", text: registry.text() }]);
    },
    live: async () => reportOf((await Promise.all(parts().map(liveChecks))).flat()),
    async ready() {
      const checks = (await Promise.all(parts().map(readyChecks))).flat();
      if (sources.isReady()) return reportOf(checks);
      return reportOf([...checks, { name: "up", state: "failing", detail: "is starting" }]);
    },
  };
}

function setPartMetrics(
  registry: MetricsRegistry,
  { parts, reloads }: SystemMonitoringSources,
  found: readonly (PartPage | undefined)[],
): void {
  for (const [index, { name, isRunning, restarts }] of parts().entries()) {
    const labels = { part: name };
    registry.gauge("ipref_up_part_running", labels, isRunning ? 1 : 0);
    registry.total("ipref_up_part_restarts_total", labels, restarts);
    registry.gauge("ipref_up_part_scrape_success", labels, found[index] === undefined ? 0 : 1);
  }
  for (const [result, count] of Object.entries(reloads())) {
    registry.total("ipref_up_reloads_total", { result }, count);
  }
}

async function partPage({ name, controlSocket }: MonitoredPart): Promise<PartPage | undefined> {
  try {
    const answer = await ask(controlSocket, "/metrics");
    if (answer.status !== 200) return undefined;
    return { part: name, text: await answer.text(PAGE_BYTES_MAX) };
  } catch {
    return undefined;
  }
}

/** A part that does not run is started again by the supervisor: nothing for others to do. */
async function liveChecks(part: MonitoredPart): Promise<readonly HealthCheck[]> {
  if (!part.isRunning) return [{ name: part.name, state: "degraded", detail: "does not run" }];
  return await checksOf(part, "/healthz");
}

async function readyChecks(part: MonitoredPart): Promise<readonly HealthCheck[]> {
  if (!part.isRunning) return [{ name: part.name, state: "failing", detail: "does not run" }];
  return await checksOf(part, "/readyz");
}

async function checksOf(
  { name, controlSocket }: MonitoredPart,
  path: "/healthz" | "/readyz",
): Promise<readonly HealthCheck[]> {
  try {
    const answer = await ask(controlSocket, path);
    const checks = readChecks(await answer.json(REPORT_BYTES_MAX));
    if (checks === undefined) throw new Error("its answer is no report");
    return checks.map((check) => ({ ...check, name: `${name}: ${check.name}` }));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [{ name, state: "failing", detail: `does not answer (${reason})` }];
  }
}

function ask(controlSocket: string, path: string) {
  return callControl(controlSocket, { path, signal: AbortSignal.timeout(ANSWER_TIME_MS) });
}
