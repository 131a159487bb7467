/** Conversations, estimated from samples: who talks to whom, shares, bounds, and the end. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { startGateway } from "../../src/control/gateway.js";
import { parseGatewayFlags } from "../../src/control/gateway-flags.js";
import type { FlowsReport } from "../../src/control/inspection/flows.js";
import { Log } from "../../src/control/log.js";
import { counterWriter } from "../../src/tables/arena.js";
import { ControlBlock } from "../../src/tables/control-block.js";
import { FlowSampleBlock } from "../../src/tables/flow-samples.js";
import { buildTunnel } from "../../src/wire/tunnel-header.js";
import { FakeMachine, settle } from "./fake-machine.js";

const HOSTS = "10.240.0.22 web #= ext 203.0.113.1 + 1025\n10.1.0.9 files #= pub + 1027\n";
const OWN = parseIp("198.51.100.1")!;
const GATEWAY = parseIp("203.0.113.1")!;

async function makeGateway() {
  const machine = new FakeMachine();
  machine.file = { kind: "text", text: HOSTS };
  const flags = ["-gateway", "198.51.100.1", "-hosts", "/h", "-mapper-socket", "/s"];
  const parsed = parseGatewayFlags([...flags, "-control", "/c", "-lanes", "1"]);
  assert.ok(parsed.kind === "settings");
  const log = new Log({ ...parsed.settings, write: () => undefined, nowMs: () => 0 });
  const gateway = await startGateway(parsed.settings, machine, log);
  await settle();
  const { memory, plan } = machine.forwarding!;
  const block = (role: "egress" | "ingress") =>
    new FlowSampleBlock(memory, plan.flowSamplesOffset, counterWriter(0, role));
  const control = new ControlBlock(memory, plan.controlOffset);
  const ask = async (query: string, signal = new AbortController().signal) =>
    await machine.controlRoutes!.get("GET /flows")!({
      method: "GET",
      path: "/flows",
      query: new URLSearchParams(query),
      body: new Uint8Array(),
      caller: { pid: 1, uid: 0, gid: 0 },
      signal,
    });
  return { machine, gateway, control, egress: block("egress"), ingress: block("ingress"), ask };
}

/** The start of a tunnel packet with a TCP header's ports. */
function packet(isOut: boolean, remoteReference: bigint, ports: [number, number]): Uint8Array {
  const local = { context: OWN, reference: 1027n };
  const remote = { context: GATEWAY, reference: remoteReference };
  const [source, destination] = isOut ? [local, remote] : [remote, local];
  const [from, to] = isOut ? ports : [ports[1], ports[0]];
  const layer4 = new Uint8Array(20);
  new DataView(layer4.buffer).setUint16(0, from);
  new DataView(layer4.buffer).setUint16(2, to);
  const fields = { ttl: 64, protocol: 6, dontFragment: true, fragment: undefined };
  return buildTunnel({ source, destination, ...fields }, layer4);
}

type Running = Awaited<ReturnType<typeof makeGateway>>;

/** Answers the present round as a worker does. */
function sample({ control }: Running, block: FlowSampleBlock, samples: [Uint8Array, number][]) {
  block.begin();
  for (const [header, octets] of samples) {
    const bytes = Uint8Array.from([...header, ...GATEWAY.bytes]);
    block.add(1, octets, bytes, 0, header.length, header.length, 4);
  }
  block.publish(control.samplingRound());
}

test("samples of both directions become one conversation with the measured rates", async () => {
  const running = await makeGateway();
  const { machine, egress, ingress, ask } = running;
  egress.count(1_000_000, 1_000_000_000);
  const asked = ask("seconds=1");
  const [big, small] = [packet(true, 1025n, [443, 50_000]), packet(true, 9999n, [22, 50_001])];
  sample(running, egress, [
    [big, 900],
    [big, 900],
    [small, 200],
  ]);
  sample(running, ingress, [[packet(false, 1025n, [443, 50_000]), 60]]);
  egress.count(3000, 2_000_000);
  ingress.count(100, 6000);
  machine.pass(1);
  const report = JSON.parse((await asked).body as string) as FlowsReport;
  assert.equal(report.seconds, 1);
  assert.equal(report.sampledPackets, 4);
  assert.deepEqual(report.out, { packetsPerSecond: 3000, bitsPerSecond: 16_000_000 });
  assert.equal(report.flows.length, 2);
  const [first, second] = report.flows;
  assert.deepEqual(first, {
    protocol: "tcp",
    local: { address: "10.1.0.9", ipref: "198.51.100.1 + 1027", port: 443 },
    remote: { address: "10.240.0.22", ipref: "203.0.113.1 + 1025", port: 50_000 },
    out: { packetsPerSecond: 2000, bitsPerSecond: 14_400_000 },
    in: { packetsPerSecond: 100, bitsPerSecond: 48_000 },
  });
  assert.equal(second!.remote.address, null, "a reference without a mapping is shown as such");
  assert.equal(second!.remote.ipref, "203.0.113.1 + 9999");
  assert.equal(second!.out.bitsPerSecond, 1_600_000);
  await running.gateway.stop();
});

test("nothing is sampled before somebody looks and after the last one has looked", async () => {
  const running = await makeGateway();
  const { machine, control, ask } = running;
  const timers = machine.timers.size;
  machine.pass(3);
  assert.equal(control.samplingRound(), 0);
  const asked = ask("seconds=2");
  assert.equal(machine.timers.size, timers + 1);
  machine.pass(1);
  const during = control.samplingRound();
  assert.ok(during > 0);
  machine.pass(1);
  await asked;
  assert.equal(machine.timers.size, timers);
  const after = control.samplingRound();
  machine.pass(3);
  assert.equal(control.samplingRound(), after);
  await running.gateway.stop();
});

test("a look ends when its caller goes", async () => {
  const running = await makeGateway();
  const timers = running.machine.timers.size;
  const gone = new AbortController();
  const asked = running.ask("seconds=10", gone.signal);
  assert.equal(running.machine.timers.size, timers + 1);
  gone.abort();
  await asked;
  assert.equal(running.machine.timers.size, timers);
  await running.gateway.stop();
});

test("two who look at the same time see the same, and a ninth is refused", async () => {
  const running = await makeGateway();
  const looks = Array.from({ length: 8 }, () => running.ask("seconds=1"));
  assert.equal((await running.ask("seconds=1")).status, 503);
  sample(running, running.egress, [[packet(true, 1025n, [1, 2]), 100]]);
  running.egress.count(1, 100);
  running.machine.pass(1);
  const bodies = (await Promise.all(looks)).map(({ body }) => body);
  assert.equal(new Set(bodies).size, 1);
  assert.equal((JSON.parse(bodies[0] as string) as FlowsReport).flows.length, 1);
  await running.gateway.stop();
});

test("hostile headers are no conversations and do no harm", async () => {
  const running = await makeGateway();
  const asked = running.ask("seconds=1");
  const good = packet(true, 1025n, [1, 2]);
  const samples: [Uint8Array, number][] = [];
  for (let length = 0; length < 24; length++) samples.push([good.slice(0, length), 10]);
  samples.push([new Uint8Array(80).fill(0xff), 10], [good, 10]);
  sample(running, running.ingress, samples);
  running.ingress.count(samples.length, 10 * samples.length);
  running.machine.pass(1);
  const report = JSON.parse((await asked).body as string) as FlowsReport;
  assert.equal(report.sampledPackets, samples.length);
  const shown = report.flows.reduce((sum, flow) => sum + flow.in.packetsPerSecond, 0);
  assert.ok(shown <= samples.length && report.flows.length >= 1, JSON.stringify(report));
  await running.gateway.stop();
});

test("many conversations are bounded by the limit of the question", async () => {
  const running = await makeGateway();
  const asked = running.ask("seconds=10&limit=7");
  for (let round = 0; round < 10; round++) {
    const samples = Array.from({ length: 32 }, (_, index): [Uint8Array, number] => [
      packet(true, BigInt(5000 + 32 * round + index), [1, 2]),
      100 + index,
    ]);
    sample(running, running.egress, samples);
    running.egress.count(32, 3700);
    running.machine.pass(1);
  }
  const report = JSON.parse((await asked).body as string) as FlowsReport;
  assert.equal(report.sampledPackets, 320);
  assert.equal(report.flows.length, 7);
  const rates = report.flows.map(({ out }) => out.bitsPerSecond);
  assert.deepEqual(
    rates.toSorted((a, b) => b - a),
    rates,
  );
  await running.gateway.stop();
});

test("a question that cannot be understood is refused", async () => {
  const running = await makeGateway();
  for (const query of ["seconds=0", "seconds=11", "seconds=x", "limit=0", "limit=1.5"]) {
    assert.equal((await running.ask(query)).status, 400, query);
  }
  await running.gateway.stop();
});
