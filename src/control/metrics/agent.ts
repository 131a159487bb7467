/** Metrics of the DNS agent: its sources, and how their records reach the gateway. */

import type { Agent } from "../../agent/agent.js";
import type { MetricsRegistry } from "./registry.js";

/** Adds the metrics of an agent to a page. */
export function addAgentMetrics(
  registry: MetricsRegistry,
  agent: Pick<Agent, "isConnected" | "counts">,
): void {
  registry.refreshers.add(() => {
    registry.gauge("ipref_agent_mapper_connected", {}, agent.isConnected ? 1 : 0);
    for (const { name, transfers, deliveries, ...state } of agent.counts()) {
      const source = { source: name };
      const confirmed = "ipref_agent_source_last_success_timestamp_seconds";
      registry.gauge(confirmed, source, state.confirmedAtSeconds ?? 0);
      if (state.serial !== undefined) {
        registry.gauge("ipref_agent_source_serial", source, state.serial);
      }
      registry.gauge("ipref_agent_source_records", source, state.hostCount ?? 0);
      registry.gauge("ipref_agent_source_complete", source, state.isComplete ? 1 : 0);
      for (const [result, count] of Object.entries(transfers)) {
        registry.total("ipref_agent_transfers_total", { ...source, result }, count);
      }
      for (const [result, count] of Object.entries(deliveries)) {
        registry.total("ipref_agent_deliveries_total", { ...source, result }, count);
      }
    }
  });
}
