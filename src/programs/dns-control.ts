/** What the DNS server answers on its control socket. */

import { okCheck, reportOf } from "../control/health.js";
import { type ControlHandler, type ControlRoutes, jsonReply } from "../control/inspection/api.js";
import { type MonitoringPages, monitoringRoutes } from "../control/inspection/monitoring.js";
import type { DnsService } from "./dns-service.js";
import { resolverStatus } from "./dns-status.js";

/** All questions that a DNS server answers. */
export function resolverRoutes(service: DnsService): ControlRoutes {
  return new Map<string, ControlHandler>([
    ["GET /status", () => jsonReply(resolverStatus(service.facts()))],
    ...monitoringRoutes(resolverPages(service)),
  ]);
}

/** Metrics and health; the server that answers is alive. */
function resolverPages(service: DnsService): MonitoringPages {
  return {
    metrics: () => service.metricsText(),
    live: () => reportOf([okCheck("main thread", "answers")]),
    ready() {
      const missing = service.waitingFor();
      if (missing.length === 0) return reportOf([okCheck("configuration", "in force")]);
      return reportOf(
        missing.map((name) => ({ name, state: "failing", detail: "is not ready" }) as const),
      );
    },
  };
}
