/** What the DNS agent answers on its control socket. */

import type { Agent } from "../agent/agent.js";
import { type HealthCheck, okCheck, reportOf } from "../control/health.js";
import { type ControlHandler, type ControlRoutes, jsonReply } from "../control/inspection/api.js";
import { type MonitoringPages, monitoringRoutes } from "../control/inspection/monitoring.js";
import {
  type AgentPartStatus,
  agentProblems,
  agentSources,
} from "../control/inspection/part-status.js";
import { addAgentMetrics } from "../control/metrics/agent.js";
import { addProcessMetrics, type LogCounts } from "../control/metrics/process.js";
import { MetricsRegistry } from "../control/metrics/registry.js";
import { monotonicMs, wallClockMs } from "../platform/clock.js";
import { processUsage } from "../platform/process-usage.js";
import { programVersion } from "../platform/version.js";
import type { AgentProgramSettings } from "./agent-flags.js";

/** Content that was not confirmed for this many intervals is old. */
const STALE_INTERVALS = 3;

/** All questions that a DNS agent answers. */
export function agentRoutes(
  agent: Agent,
  settings: AgentProgramSettings,
  pages: MonitoringPages,
): ControlRoutes {
  return new Map<string, ControlHandler>([
    ...monitoringRoutes(pages),
    ["GET /status", () => jsonReply(agentStatus(agent, settings))],
  ]);
}

/** Metrics and health of a DNS agent. */
export function agentPages(
  agent: Agent,
  settings: AgentProgramSettings,
  log: () => LogCounts,
): MonitoringPages {
  const registry = new MetricsRegistry("agent");
  const { version: nodeVersion } = process;
  addProcessMetrics(registry, { version: programVersion(), nodeVersion, usage: processUsage, log });
  addAgentMetrics(registry, agent);
  return {
    metrics: () => registry.text(),
    live: () => reportOf(sourceChecks(agent, settings)),
    ready: () => reportOf([mapperCheck(agent, settings), ...sourceChecks(agent, settings)]),
  };
}

/** A source that no server has confirmed for long is no reason to start the agent again. */
function sourceChecks(agent: Agent, { agent: { intervalSeconds } }: AgentProgramSettings) {
  const nowSeconds = wallClockMs() / 1000;
  return agent.counts().map(({ name, confirmedAtSeconds }): HealthCheck => {
    const state = "degraded";
    const what = `source ${name}`;
    if (confirmedAtSeconds === undefined) return { name: what, state, detail: "not read yet" };
    const age = Math.round(nowSeconds - confirmedAtSeconds);
    const detail = `confirmed ${age} seconds ago`;
    return age > STALE_INTERVALS * intervalSeconds
      ? { name: what, state, detail }
      : okCheck(what, detail);
  });
}

function mapperCheck(agent: Agent, { mapperPath, agent: { specs } }: AgentProgramSettings) {
  const name = "mapper socket";
  if (specs.length === 0) return okCheck(name, "not needed without sources");
  if (agent.isConnected) return okCheck(name, mapperPath);
  return { name, state: "failing", detail: `${mapperPath} is not reached` } as const;
}

function agentStatus(agent: Agent, settings: AgentProgramSettings): AgentPartStatus {
  const sources = agentSources(agent.status(), monotonicMs());
  const problems = agentProblems(sources, agent.isConnected);
  return {
    part: "agent",
    version: programVersion(),
    pid: process.pid,
    uptimeSeconds: Math.round(process.uptime()),
    isHealthy: problems.length === 0,
    problems,
    mapperSocket: settings.mapperPath,
    isMapperConnected: agent.isConnected,
    intervalSeconds: settings.agent.intervalSeconds,
    sources,
  };
}
