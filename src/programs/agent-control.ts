/** What the DNS agent answers on its control socket. */

import type { Agent } from "../agent/agent.js";
import { type ControlHandler, type ControlRoutes, jsonReply } from "../control/inspection/api.js";
import {
  type AgentPartStatus,
  agentProblems,
  agentSources,
} from "../control/inspection/part-status.js";
import { monotonicMs } from "../platform/clock.js";
import { programVersion } from "../platform/version.js";
import type { AgentProgramSettings } from "./agent-flags.js";

/** All questions that a DNS agent answers. */
export function agentRoutes(agent: Agent, settings: AgentProgramSettings): ControlRoutes {
  return new Map<string, ControlHandler>([
    ["GET /status", () => jsonReply(agentStatus(agent, settings))],
  ]);
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
