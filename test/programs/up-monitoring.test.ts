/** Metrics and health of a system some of whose parts tell too much, nonsense, or nothing. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type ControlHandler, jsonReply, textReply } from "../../src/control/inspection/api.js";
import { type ControlServer, startControlServer } from "../../src/platform/control-server.js";
import { type MonitoredPart, systemPages } from "../../src/programs/up-monitoring.js";

const folder = mkdtempSync(join(tmpdir(), "ipref-up-monitoring-"));
const servers: ControlServer[] = [];
after(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Sends as fast as it is read, until nobody reads any more. */
const endless =
  (piece: string): ControlHandler =>
  () => ({
    status: 200,
    contentType: "text/plain",
    body: (async function* () {
      for (;;) {
        yield piece;
        await new Promise((resolve) => setImmediate(resolve));
      }
    })(),
  });

async function part(
  name: MonitoredPart["name"],
  metrics: ControlHandler,
  health: ControlHandler,
): Promise<MonitoredPart> {
  const controlSocket = join(folder, `${name}.control`);
  const routes = new Map([
    ["GET /metrics", metrics],
    ["GET /healthz", health],
    ["GET /readyz", health],
  ]);
  servers.push(await startControlServer({ path: controlSocket, group: undefined, routes }));
  return { name, isRunning: true, restarts: 0, controlSocket };
}

test("an endless page, a silent part and nonsense leave the others to be seen", async () => {
  const line = 'ipref_mappings{kind="local"} 1\n'.repeat(2000);
  const parts = [
    await part("gateway", endless(line), endless('{"state":"ok","checks":[')),
    await part(
      "resolver",
      () => new Promise<never>(() => undefined),
      () => textReply("no JSON"),
    ),
    await part(
      "agent",
      () => textReply("ipref_agent_mapper_connected 1\n"),
      () => jsonReply({ checks: 5 }),
    ),
  ];
  const pages = systemPages({
    parts: () => parts,
    isReady: () => true,
    reloads: () => ({ done: 0, refused: 0 }),
    log: () => ({ lines: {}, suppressed: 0 }) as never,
  });
  const startMs = performance.now();
  const text = await pages.metrics();
  assert.ok(performance.now() - startMs < 8000, "a page is not waited for without end");
  const shown = (name: string) => text.split("\n").filter((each) => each.startsWith(name));
  assert.deepEqual(shown("ipref_agent_mapper_connected"), ["ipref_agent_mapper_connected 1"]);
  assert.deepEqual(shown("ipref_mappings"), []);
  assert.deepEqual(shown("ipref_up_part_scrape_success"), [
    'ipref_up_part_scrape_success{part="gateway"} 0',
    'ipref_up_part_scrape_success{part="resolver"} 0',
    'ipref_up_part_scrape_success{part="agent"} 1',
  ]);
  const { state, checks } = await pages.live();
  assert.equal(state, "failing");
  assert.deepEqual(
    checks.map(({ name, detail }) => `${name}: ${detail}`.replace(/from \S+ /, "")),
    [
      "gateway: does not answer (The answer is too long)",
      "resolver: does not answer (The answer is no JSON)",
      "agent: does not answer (its answer is no report)",
    ],
  );
});
