/** Metrics of the DNS agent, in simulated time. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { addAgentMetrics } from "../../../src/control/metrics/agent.js";
import { MetricsRegistry } from "../../../src/control/metrics/registry.js";
import { AgentLab, txtRecord, ZoneServer } from "../../agent/agent-lab.js";
import { complaintsAboutPage, hasPromtool } from "../../support/promtool.js";

const WWW = txtRecord("www", "AA 198.51.100.1 + 1025");
const SOURCE = 'source="lan:example.com"';

function makeLab(server: ZoneServer) {
  const lab = new AgentLab({ servers: { "192.0.2.53:53": server } });
  lab.names.set("www.lan", ["10.0.0.10"]);
  const registry = new MetricsRegistry("agent");
  addAgentMetrics(registry, lab.agent);
  /** Value of a series of the page. */
  const value = (series: string): number | undefined => {
    const line = registry
      .text()
      .split("\n")
      .find((one) => one.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  };
  return { lab, registry, value };
}

const SUCCESS = `ipref_agent_source_last_success_timestamp_seconds{${SOURCE}}`;

test("a source shows when it was confirmed, its serial, records and deliveries", async () => {
  const { lab, registry, value } = makeLab(new ZoneServer(7, [WWW]));
  assert.equal(value(SUCCESS), 0, "never yet");
  assert.equal(value("ipref_agent_mapper_connected"), 0);
  lab.agent.start();
  await lab.run(10);
  assert.equal(value("ipref_agent_mapper_connected"), 1);
  assert.equal(value(`ipref_agent_source_serial{${SOURCE}}`), 7);
  assert.equal(value(`ipref_agent_source_records{${SOURCE}}`), 1);
  assert.equal(value(`ipref_agent_source_complete{${SOURCE}}`), 1);
  assert.equal(value(`ipref_agent_transfers_total{${SOURCE},result="content"}`), 1);
  assert.ok(value(`ipref_agent_deliveries_total{${SOURCE},result="sent"}`)! >= 1);
  const first = value(SUCCESS)!;
  await lab.run(200);
  assert.ok(value(SUCCESS)! > first, "an unchanged zone counts as confirmed");
  assert.ok(value(`ipref_agent_transfers_total{${SOURCE},result="unchanged"}`)! >= 1);
  const sent = value(`ipref_agent_deliveries_total{${SOURCE},result="sent"}`);
  assert.equal(value(`ipref_agent_deliveries_total{${SOURCE},result="acknowledged"}`), sent);
  if (hasPromtool) assert.equal(complaintsAboutPage(registry.text()), "");
});

test("failures are counted and the last success stays", async () => {
  const server = new ZoneServer(1, [WWW]);
  const { lab, value } = makeLab(server);
  lab.agent.start();
  await lab.run(10);
  const success = value(SUCCESS);
  server.script = () => ["break"];
  await lab.run(300);
  assert.ok(value(`ipref_agent_transfers_total{${SOURCE},result="failed"}`)! >= 2);
  assert.equal(value(SUCCESS), success);
  assert.equal(value(`ipref_agent_source_records{${SOURCE}}`), 1);
});

test("a gateway that is gone shows, and one that has forgotten refuses", async () => {
  const { lab, value } = makeLab(new ZoneServer(1, [WWW]));
  lab.agent.start();
  await lab.run(10);
  lab.mapper.stop();
  await lab.run(1);
  assert.equal(value("ipref_agent_mapper_connected"), 0);
});
