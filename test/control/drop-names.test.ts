/** Every drop reason has one name: in status, metrics, log, captures and explanations. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { dropAdvice } from "../../src/base/drop-advice.js";
import { DROP_REASONS, type DropReason } from "../../src/base/drop-reason.js";
import { formatFilter } from "../../src/capture/filter.js";
import { parseFilter } from "../../src/capture/filter-parser.js";
import { startGateway } from "../../src/control/gateway.js";
import { parseGatewayFlags } from "../../src/control/gateway-flags.js";
import type { GatewayStatus } from "../../src/control/inspection/status.js";
import { Log } from "../../src/control/log.js";
import { COUNTER_WRITER_MAIN } from "../../src/tables/arena.js";
import { CounterBlock, dropCounterIndex } from "../../src/tables/counters.js";
import { FakeMachine } from "./fake-machine.js";

test("each drop reason is counted under its name everywhere", async () => {
  const machine = new FakeMachine();
  const flags = ["-gateway", "198.51.100.1", "-hosts", "", "-mapper-socket", "/s"];
  const parsed = parseGatewayFlags([...flags, "-control", "/c"]);
  assert.ok(parsed.kind === "settings");
  const log = new Log({ ...parsed.settings, write: () => undefined, nowMs: () => 0 });
  const gateway = await startGateway(parsed.settings, machine, log);
  const ask = async (path: string): Promise<string> => {
    const reply = await machine.controlRoutes!.get(`GET ${path}`)!({
      method: "GET",
      path,
      query: new URLSearchParams(),
      body: new Uint8Array(),
      caller: { pid: 1, uid: 0, gid: 0 },
      signal: new AbortController().signal,
    });
    return reply.body as string;
  };
  const { memory, plan } = machine.forwarding!;
  const counters = new CounterBlock(memory, plan.countersOffset, COUNTER_WRITER_MAIN);
  const counts = new Map(DROP_REASONS.map(({ name }, index) => [name, index + 1]));
  for (const [name, count] of counts) counters.add(dropCounterIndex(name as DropReason), count);

  const status = JSON.parse(await ask("/status")) as GatewayStatus;
  const metrics = await ask("/metrics");
  const lines = gateway.status();
  assert.deepEqual(
    status.drops.map(({ reason, count, meaning }) => ({ name: reason, count, meaning })),
    DROP_REASONS.map(({ name, meaning }) => ({ name, count: counts.get(name), meaning })),
  );
  for (const { name, meaning } of DROP_REASONS) {
    const count = counts.get(name)!;
    assert.ok(metrics.includes(`ipref_drops_total{reason="${name}"} ${count}\n`), name);
    assert.ok(lines.includes(`dropped ${name}: ${count} (${meaning})`), name);
    const filter = parseFilter(`drop ${name}`);
    assert.ok(filter.ok, name);
    assert.equal(formatFilter(filter.filter), `drop ${name}`);
    assert.notEqual(dropAdvice(name as DropReason).fix, "", name);
  }
  await gateway.stop();
});
