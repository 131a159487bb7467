/** What the supervisor answers on its control socket. */

import { type ControlHandler, type ControlRoutes, jsonReply } from "../control/inspection/api.js";
import { type MonitoringPages, monitoringRoutes } from "../control/inspection/monitoring.js";
import type { SupervisorStatus } from "../control/inspection/part-status.js";
import { programVersion } from "../platform/version.js";
import type { UpSystem } from "./up-system.js";

/** All questions that `ipref up` answers. */
export function supervisorRoutes(system: UpSystem, pages: MonitoringPages): ControlRoutes {
  return new Map<string, ControlHandler>([
    ...monitoringRoutes(pages),
    ["GET /status", () => jsonReply(supervisorStatus(system))],
  ]);
}

function supervisorStatus(system: UpSystem): SupervisorStatus {
  const supervised = system.supervised();
  const problems = supervised
    .filter(({ pid }) => pid === null)
    .map(({ name }) => `The ${name} does not run; its last lines in the log say why`);
  return {
    part: "up",
    version: programVersion(),
    pid: process.pid,
    uptimeSeconds: Math.round(process.uptime()),
    isHealthy: problems.length === 0,
    problems,
    supervised,
  };
}
