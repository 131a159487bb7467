/** What the watchdog of `ipref up` thinks of a gateway, by the gateway's answer. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type HealthReport, okCheck, reportOf } from "../../src/control/health.js";
import { type ControlReply, jsonReply } from "../../src/control/inspection/api.js";
import { startControlServer } from "../../src/platform/control-server.js";
import { gatewayLook } from "../../src/programs/up-service.js";

const folder = mkdtempSync(join(tmpdir(), "ipref-look-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const FAILING = { name: "worker egress 0", state: "failing", detail: "does not answer" } as const;
const DEGRADED = { name: "store", state: "degraded", detail: "the disk is full" } as const;

async function looked(answer: () => ControlReply | Promise<ControlReply>) {
  const path = join(folder, "gateway.control");
  const routes = new Map([["GET /healthz", answer]]);
  const server = await startControlServer({ path, group: undefined, routes });
  try {
    return await gatewayLook(path)();
  } finally {
    server.close();
  }
}

const reply = (report: HealthReport): ControlReply =>
  jsonReply(report, report.state === "failing" ? 503 : 200);

test("a healthy and a degraded gateway are fed", async () => {
  assert.equal(
    await looked(() => reply(reportOf([okCheck("worker egress 0", "answers")]))),
    undefined,
  );
  assert.equal(await looked(() => reply(reportOf([DEGRADED]))), undefined);
});

test("a failing gateway is not, and what fails is named", async () => {
  const found = await looked(() => reply(reportOf([DEGRADED, FAILING])));
  assert.equal(found, "worker egress 0 does not answer");
});

test("a gateway that has ended is the supervisor's work", async () => {
  assert.equal(await gatewayLook(join(folder, "nobody.control"))(), undefined);
});

test("a gateway that runs and does not answer is not fed", { timeout: 20_000 }, async () => {
  const found = await looked(() => new Promise(() => undefined));
  assert.match(found ?? "", /^the gateway: ./);
});
