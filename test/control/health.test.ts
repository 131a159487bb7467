/** Health of the gateway: what is a reason to restart, and what is not. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { GatewayHealth, type HealthCheck, okCheck, reportOf } from "../../src/control/health.js";
import type { WorkerHealth } from "../../src/control/ports.js";

function makeHealth(readiness: readonly HealthCheck[] = []) {
  const state = { nowMs: 0, probes: 0, answerMs: 1 as number | undefined };
  const probe = async (): Promise<readonly WorkerHealth[]> => {
    state.probes++;
    return [
      { name: "egress-0", answerMs: state.answerMs },
      { name: "ingress-0", answerMs: 1 },
    ];
  };
  const health = new GatewayHealth({
    ...{ probe, tickMs: 1000 },
    monotonicMs: () => state.nowMs,
    readiness: () => readiness,
  });
  return { health, state };
}

test("the worst check decides", () => {
  const degraded: HealthCheck = { name: "b", state: "degraded", detail: "" };
  const failing: HealthCheck = { name: "c", state: "failing", detail: "" };
  assert.equal(reportOf([]).state, "ok");
  assert.equal(reportOf([okCheck("a", ""), degraded]).state, "degraded");
  assert.equal(reportOf([degraded, failing, okCheck("a", "")]).state, "failing");
});

test("a worker that does not answer makes the gateway fail, and is named", async () => {
  const { health, state } = makeHealth();
  assert.equal((await health.live()).state, "ok");
  state.answerMs = undefined;
  state.nowMs += 600;
  const { state: found, checks } = await health.live();
  assert.equal(found, "failing");
  const bad = checks.filter((check) => check.state !== "ok");
  assert.deepEqual(bad, [
    { name: "worker egress-0", state: "failing", detail: "does not answer within 1000 ms" },
  ]);
  assert.deepEqual(
    health.workers.map(({ answerMs }) => answerMs),
    [undefined, 1],
  );
});

test("asking often does not keep the workers busy", async () => {
  const { health, state } = makeHealth();
  await Promise.all(Array.from({ length: 50 }, () => health.live()));
  assert.equal(state.probes, 1);
  state.nowMs += 499;
  await health.live();
  assert.equal(state.probes, 1);
  state.nowMs += 1;
  await health.live();
  assert.equal(state.probes, 2);
});

test("a main thread whose tick does not come is a failure; a late one is told", async () => {
  const { health, state } = makeHealth();
  for (const lateMs of [0, 40, 0]) {
    state.nowMs += 1000 + lateMs;
    health.noteTick();
  }
  assert.equal(health.tickLatenessMs, 40);
  assert.equal((await health.live()).state, "ok");
  state.nowMs += 6001;
  assert.equal((await health.live()).state, "failing");
  health.noteTick();
  state.nowMs += 1000;
  health.noteTick();
  assert.equal((await health.live()).state, "ok");
  for (let tick = 0; tick < 60; tick++) {
    state.nowMs += 1000;
    health.noteTick();
  }
  assert.equal(health.tickLatenessMs, 0, "old ticks are forgotten");
});

test("a disk that refuses is no reason to restart, and the gateway is not ready", async () => {
  const { health, state } = makeHealth([okCheck("device", "ipref0")]);
  assert.equal(health.ready().state, "ok");
  health.noteStored(false);
  assert.equal(health.ready().state, "failing");
  assert.equal((await health.live()).state, "degraded");
  health.noteStored(true);
  state.nowMs += 500;
  assert.equal(health.ready().state, "ok");
  assert.equal((await health.live()).state, "ok");
});
