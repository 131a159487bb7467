/** Metrics and health of a running gateway. */

import {
  ACTIVE_SECONDS,
  addGatewayMetrics,
  type RemoteGatewayCounts,
  setWorkerHealth,
} from "../metrics/gateway.js";
import { addProcessMetrics } from "../metrics/process.js";
import { MetricsRegistry } from "../metrics/registry.js";
import type { InspectionParts } from "./gateway-routes.js";
import type { MonitoringPages } from "./monitoring.js";

/** Remote gateways that are counted at each scrape; a million take about 100 ms. */
const COUNTED_AT_ONCE_MAX = 8192;
const RECOUNT_SECONDS = 60;

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
    remotes: remoteCounter(parts),
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

/** Counts remote gateways; when they are very many, only now and then. */
function remoteCounter({ desk, shared, nowSeconds }: InspectionParts): () => RemoteGatewayCounts {
  let counts = { active: 0, silent: 0 };
  let countedSeconds = Number.NEGATIVE_INFINITY;
  return () => {
    const now = nowSeconds();
    const isMany = (desk?.remoteGatewayCount ?? 0) > COUNTED_AT_ONCE_MAX;
    if (isMany && now - countedSeconds < RECOUNT_SECONDS) return counts;
    countedSeconds = now;
    counts = { active: 0, silent: 0 };
    for (const { entry } of desk?.remoteGateways() ?? []) {
      const silence = now - shared.peers.lastReceivedSeconds(entry);
      counts[silence < ACTIVE_SECONDS ? "active" : "silent"]++;
    }
    return counts;
  };
}
