/** What the DNS agent answers on its control socket. */

import type { Agent } from "../agent/agent.js";
import type { ControlHandler, ControlRoutes } from "../control/inspection/api.js";
import type { AgentProgramSettings } from "./agent-flags.js";

/** All questions that a DNS agent answers. */
export function agentRoutes(_agent: Agent, _settings: AgentProgramSettings): ControlRoutes {
  return new Map<string, ControlHandler>();
}
