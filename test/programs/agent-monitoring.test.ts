/** The DNS agent as a program with -metrics: pages, health, and a port that is taken. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { HealthReport } from "../../src/control/health.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { waitFor } from "../../src/programs/demo/namespaces.js";
import { complaintsAboutPage, hasPromtool } from "../support/promtool.js";

const PROGRAM = join(repositoryRoot(), "dist/src/programs/ipref-dns-agent.js");
const SOURCE = "lan:example.com:names:www.example.com";

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts the agent and waits for a line. */
async function start(args: readonly string[], awaited: RegExp) {
  const words = ["-m", "unix:///nonexistent/mapper.sock", "-resolver", "127.0.0.1:9", ...args];
  const child: ChildProcess = spawn(process.execPath, [PROGRAM, ...words, SOURCE]);
  let log = "";
  child.stderr!.on("data", (chunk: Buffer) => {
    log += chunk.toString();
  });
  const found = await waitFor(() => (awaited.test(log) ? true : undefined), 15_000);
  assert.ok(found, log);
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await waitFor(() => child.exitCode ?? undefined, 10_000);
    assert.equal(child.exitCode, 0, log);
  };
  return { log: () => log, stop };
}

test("an agent by itself serves metrics and health where it is told to", async () => {
  const port = await freePort();
  const agent = await start(["-metrics", `127.0.0.1:${port}`], /metrics at http/);
  const fetched = await fetch(`http://127.0.0.1:${port}/metrics`);
  assert.match(fetched.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  const text = await fetched.text();
  assert.match(text, /^ipref_agent_mapper_connected 0$/m);
  assert.match(text, /^ipref_agent_source_complete\{source="lan:example\.com"\} 0$/m);
  assert.match(text, /^process_cpu_seconds_total [0-9.]+$/m);
  if (hasPromtool) assert.equal(complaintsAboutPage(text), "");
  const live = await fetch(`http://127.0.0.1:${port}/healthz`);
  assert.equal(live.status, 200);
  assert.equal(((await live.json()) as HealthReport).state, "degraded", "not read yet");
  const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
  assert.equal(ready.status, 503);
  const { checks } = (await ready.json()) as HealthReport;
  const mapper = checks.find(({ name }) => name === "mapper socket");
  assert.deepEqual(mapper, {
    name: "mapper socket",
    state: "failing",
    detail: "/nonexistent/mapper.sock is not reached",
  });
  await agent.stop();
});

test("a port that is taken is a warning, and the agent goes on", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const agent = await start(["-metrics", `127.0.0.1:${port}`], /^W no port for metrics: .*127\.0/m);
  assert.doesNotMatch(agent.log(), /^F/m);
  await agent.stop();
  server.close();
});
