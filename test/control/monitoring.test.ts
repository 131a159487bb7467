/** The pages of a gateway: metrics, health, and the port they are served at. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DROP_REASONS } from "../../src/base/drop-reason.js";
import { startGateway } from "../../src/control/gateway.js";
import { parseGatewayFlags } from "../../src/control/gateway-flags.js";
import { Log } from "../../src/control/log.js";
import { exposureWarning, parseListenAddress } from "../../src/control/metrics/listen-address.js";
import { counterWriter } from "../../src/tables/arena.js";
import { CounterBlock, counterIndex } from "../../src/tables/counters.js";
import { complaintsAboutPage, hasPromtool } from "../support/promtool.js";
import { FakeMachine, settle } from "./fake-machine.js";

const FLAGS = ["-gateway", "198.51.100.1", "-hosts", "/h", "-mapper-socket", "/s"];

async function start(machine: FakeMachine, ...flags: string[]) {
  const lines: string[] = [];
  const parsed = parseGatewayFlags([...FLAGS, ...flags]);
  assert.ok(parsed.kind === "settings");
  const write = (line: string) => void lines.push(line.trimEnd());
  const log = new Log({ write, nowMs: () => 0 });
  const gateway = await startGateway(parsed.settings, machine, log);
  const page = async (path: string) => await machine.pages.get(path)!();
  return { gateway, lines, page };
}

/** Values of a page by series. */
function valuesOf(text: string): Map<string, number> {
  const samples = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    samples.map((line) => {
      const cut = line.lastIndexOf(" ");
      return [line.slice(0, cut), Number(line.slice(cut + 1))] as const;
    }),
  );
}

test("the page of a gateway has all drop reasons at 0, workers, process and mappings", async () => {
  const machine = new FakeMachine();
  const { gateway, lines, page } = await start(machine, "-metrics", "127.0.0.1:9145");
  assert.ok(machine.events.includes("open http 127.0.0.1:9145"));
  assert.ok(lines.includes("I metrics at http://127.0.0.1:9145/metrics"));
  const { status, contentType, body } = await page("/metrics");
  assert.equal(status, 200);
  assert.match(contentType, /^text\/plain; version=0\.0\.4/);
  const values = valuesOf(body);
  for (const { name } of DROP_REASONS) {
    assert.equal(values.get(`ipref_drops_total{reason="${name}"}`), 0, name);
  }
  assert.equal(values.get('ipref_worker_alive{worker="egress-0"}'), 1);
  assert.equal(values.get("process_cpu_seconds_total"), 1.5);
  assert.equal(values.get('ipref_mappings{kind="remote"}'), 0);
  assert.ok(values.get("ipref_encoded_addresses")! > 100_000);
  const warnings = lines.filter((line) => line.startsWith("W ")).length;
  assert.equal(values.get('ipref_log_lines_total{level="warning"}'), warnings);
  if (hasPromtool) assert.equal(complaintsAboutPage(body), "");
  await gateway.stop();
  assert.ok(machine.events.includes("close http"));
});

test("the counters of the workers are read when the page is asked for", async () => {
  const machine = new FakeMachine();
  const { gateway, page } = await start(machine, "-metrics", ":9145");
  const { memory, plan } = machine.forwarding!;
  const block = new CounterBlock(memory, plan.countersOffset, counterWriter(0, "egress"));
  block.add(counterIndex("egress-packets"), 12);
  block.drop("local-destination-unknown");
  const values = valuesOf((await page("/metrics")).body);
  assert.equal(values.get('ipref_fast_path_packets_total{direction="egress"}'), 12);
  assert.equal(values.get('ipref_drops_total{reason="local-destination-unknown"}'), 1);
  block.add(counterIndex("egress-packets"), 5);
  assert.equal(
    valuesOf((await page("/metrics")).body).get(
      'ipref_fast_path_packets_total{direction="egress"}',
    ),
    12,
    "a page is kept for a quarter of a second",
  );
  machine.nowMs += 250;
  const later = valuesOf((await page("/metrics")).body);
  assert.equal(later.get('ipref_fast_path_packets_total{direction="egress"}'), 17);
  await gateway.stop();
});

test("health is 503 when a worker hangs, and says which", async () => {
  const machine = new FakeMachine();
  const { gateway, page } = await start(machine, "-metrics", "127.0.0.1:9145");
  assert.equal((await page("/healthz")).status, 200);
  machine.isWorkerAlive = false;
  machine.pass(1);
  const { status, body } = await page("/healthz");
  assert.equal(status, 503);
  assert.match(body, /"name":"worker egress-0","state":"failing"/);
  const values = valuesOf((await page("/metrics")).body);
  assert.equal(values.get('ipref_worker_alive{worker="egress-0"}'), 0);
  assert.equal(values.has('ipref_worker_answer_seconds{worker="egress-0"}'), false);
  await gateway.stop();
});

test("readiness names device, socket and hosts file; a missing file is no failure", async () => {
  const machine = new FakeMachine();
  const { gateway, page } = await start(machine, "-metrics", "127.0.0.1:9145");
  const { status, body } = await page("/readyz");
  assert.equal(status, 200);
  const { state, checks } = JSON.parse(body) as {
    state: string;
    checks: { name: string; state: string; detail: string }[];
  };
  assert.equal(state, "degraded");
  const hosts = checks.find(({ name }) => name === "hosts file /h");
  assert.deepEqual(hosts, { name: "hosts file /h", state: "degraded", detail: "does not exist" });
  assert.ok(checks.some(({ name, detail }) => name === "device" && detail === "fake0"));
  await gateway.stop();
});

test("a disk that refuses shows in metrics and readiness", async () => {
  const machine = new FakeMachine();
  const { gateway, page } = await start(machine, "-metrics", "127.0.0.1:9145");
  await settle();
  machine.store.failure = new Error("ENOSPC");
  machine.pass(301);
  await settle();
  const values = valuesOf((await page("/metrics")).body);
  assert.ok(values.get("ipref_store_commits_total")! >= 1);
  assert.ok(values.get("ipref_store_commit_failures_total")! >= 1);
  assert.equal((await page("/readyz")).status, 503);
  const health = await page("/healthz");
  assert.equal(health.status, 200);
  assert.match(health.body, /"state":"degraded"/);
  machine.store.failure = undefined;
  await gateway.stop();
});

test("clients and faults of the mapper socket are counted", async () => {
  const machine = new FakeMachine();
  const { gateway, page } = await start(machine, "-metrics", "127.0.0.1:9145");
  const { client } = machine.connect(1);
  machine.handlers!.onMessage(client, new Uint8Array([1, 2]), false);
  const values = valuesOf((await page("/metrics")).body);
  assert.equal(values.get("ipref_mapper_clients"), 1);
  assert.equal(values.get('ipref_mapper_messages_total{direction="received"}'), 1);
  const faults = [...values].filter(([name]) => name.startsWith("ipref_mapper_complaints_total"));
  assert.deepEqual(
    faults.map(([, value]) => value),
    [1],
  );
  await gateway.stop();
});

test("a port that is not to be had is a warning, one for everybody as well", async () => {
  const machine = new FakeMachine();
  machine.broken.add("http 127.0.0.1:9145");
  const refused = await start(machine, "-metrics", "127.0.0.1:9145");
  assert.ok(refused.lines.includes("W no port for metrics: Cannot open http 127.0.0.1:9145"));
  await refused.gateway.stop();
  const open = await start(new FakeMachine(), "-metrics", ":9145");
  assert.ok(open.lines.some((line) => /^W metrics at :9145 can be read by everybody/.test(line)));
  await open.gateway.stop();
  const silent = await start(new FakeMachine());
  assert.ok(!silent.lines.some((line) => line.includes("metrics")), "off by default");
  await silent.gateway.stop();
});

test("an address that is none is refused with what is wanted", () => {
  for (const value of ["9145", "127.0.0.1", "[::1:9145", "host.example:1"]) {
    const parsed = parseGatewayFlags([...FLAGS, "-metrics", value]);
    assert.ok(parsed.kind === "errors" && parsed.exitStatus === 2, value);
    const [line] = parsed.lines;
    assert.equal(
      line,
      `Cannot use -metrics: found "${value}", expected an address and a port, ` +
        "such as 127.0.0.1:9145",
    );
  }
});

test("listen addresses: four forms, and nothing else", () => {
  const formOf = (text: string) => {
    const found = parseListenAddress(text);
    return found && [found.address?.version, found.port, exposureWarning(found) === undefined];
  };
  assert.deepEqual(formOf("127.0.0.1:9145"), [4, 9145, true]);
  assert.deepEqual(formOf("[::1]:1"), [6, 1, true]);
  assert.deepEqual(formOf("localhost:65535"), [4, 65_535, true]);
  assert.deepEqual(formOf(":9145"), [undefined, 9145, false]);
  assert.deepEqual(formOf("192.0.2.1:9145"), [4, 9145, false]);
  for (const text of ["", "9145", "127.0.0.1", "::1:9145", "a:1", "1.2.3.4:0", "1.2.3.4:65536"]) {
    assert.equal(parseListenAddress(text), undefined, text);
  }
});
