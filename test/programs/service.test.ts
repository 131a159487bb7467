/** A program under a service manager: what it is told, and when its watchdog is fed. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { ServiceManager } from "../../src/platform/service-manager.js";
import { type HealthLook, Service } from "../../src/programs/service.js";

const WATCHDOG_MS = 30_000;
const LOOK_MS = WATCHDOG_MS / 3;

function setUp(t: TestContext, look?: HealthLook, watchdogMs: number | undefined = WATCHDOG_MS) {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const told: string[] = [];
  const manager: ServiceManager = {
    isPresent: true,
    watchdogMs,
    ready: (status) => void told.push(`ready ${status}`),
    status: (text) => void told.push(text),
    reloading: () => void told.push("reloading"),
    stopping: () => void told.push("stopping"),
    feedWatchdog: () => void told.push("fed"),
  };
  const pass = async (milliseconds: number): Promise<string[]> => {
    told.length = 0;
    t.mock.timers.tick(milliseconds);
    await new Promise((resolve) => setImmediate(resolve));
    return [...told];
  };
  return { service: new Service(manager, look), told, pass };
}

test("the watchdog is fed three times in its time while all is well", async (t) => {
  const { service, told, pass } = setUp(t);
  service.ready("serving");
  assert.deepEqual(told, ["ready serving", "fed"]);
  assert.deepEqual(await pass(LOOK_MS - 1), []);
  assert.deepEqual(await pass(1), ["fed"]);
  assert.deepEqual(await pass(LOOK_MS), ["fed"]);
});

test("a fault stops the feeding and is told once, and so is its end", async (t) => {
  let fault: string | undefined;
  const { service, pass } = setUp(t, async () => fault);
  service.ready("serving");
  fault = "worker egress does not answer";
  assert.deepEqual(await pass(LOOK_MS), [`unhealthy: ${fault}`]);
  assert.deepEqual(await pass(LOOK_MS), []);
  fault = undefined;
  assert.deepEqual(await pass(LOOK_MS), ["fed", "serving"]);
});

test("a look that fails or never comes back feeds nothing", async (t) => {
  let look: HealthLook = async () => {
    throw new Error("no answer");
  };
  const { service, pass } = setUp(t, () => look());
  service.ready("serving");
  assert.deepEqual(await pass(LOOK_MS), ["unhealthy: Error: no answer"]);
  look = () => new Promise(() => undefined);
  assert.deepEqual(await pass(LOOK_MS), []);
  look = async () => undefined;
  assert.deepEqual(await pass(10 * LOOK_MS), [], "the first look still hangs");
});

test("a reload is told from its start to its end, and starts no second timer", async (t) => {
  const { service, told, pass } = setUp(t);
  service.ready("serving");
  await service.reload(() => void told.push("work"));
  assert.deepEqual(told.slice(2), ["reloading", "work", "ready serving"]);
  assert.deepEqual(await pass(LOOK_MS), ["fed"]);
});

test("an ending program feeds nothing", async (t) => {
  const { service, told, pass } = setUp(t);
  service.ready("serving");
  service.stopping();
  assert.equal(told.at(-1), "stopping");
  assert.deepEqual(await pass(10 * WATCHDOG_MS), []);
});
