/** Metrics and health of a running gateway. */

import { ACTIVE_SECONDS, addGatewayMetrics, setWorkerHealth } from "../metrics/gateway.js";
import { addProcessMetrics } from "../metrics/process.js";
import { MetricsRegistry } from "../metrics/registry.js";
import type { InspectionParts } from "./gateway-routes.js";
import type { MonitoringPages } from "./monitoring.js";

/** The pages; the registry is made once. */
export function gatewayPages(parts: InspectionParts): MonitoringPages {
  const { shared, mapper, nowSeconds, health, mapperSocket, machine, log } = parts;
  const registry = new MetricsRegistry("gateway");
  addProcessMetrics(registry, {
    version: machine.version,
    nodeVersion: process.version,
    usage: () => machine.processUsage(),
    log: () => log.counts(),
  });
  addGatewayMetrics(registry, {
    ...{ shared, mapper, nowSeconds },
    remotes: () => countRemotes(parts),
    mapperSocket: () => mapperSocket.counts(),
    tickLatenessMs: () => health.tickLatenessMs,
  });
  return {
    async metrics() {
      await health.live();
      setWorkerHealth(registry, health.workers);
      return registry.text();
    },
    live: () => health.live(),
    ready: () => health.ready(),
  };
}

function countRemotes({ desk, shared, nowSeconds }: InspectionParts) {
  const counts = { active: 0, silent: 0 };
  const now = nowSeconds();
  for (const { entry } of desk?.remoteGateways() ?? []) {
    const silence = now - shared.peers.lastReceivedSeconds(entry);
    counts[silence < ACTIVE_SECONDS ? "active" : "silent"]++;
  }
  return counts;
}
