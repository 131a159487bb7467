/** Life of a gateway: order of opening and closing, and what joins its parts. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHex, toHex } from "../../src/base/hex.js";
import { formatIp, parseIp } from "../../src/base/ip.js";
import { startGateway } from "../../src/control/gateway.js";
import { parseGatewayFlags } from "../../src/control/gateway-flags.js";
import { Log } from "../../src/control/log.js";
import { counterWriter } from "../../src/tables/arena.js";
import { CounterBlock, counterIndex } from "../../src/tables/counters.js";
import { RING_FROM_LOCAL, RING_FROM_TUNNEL } from "../../src/tables/packet-ring.js";
import { FakeMachine, settle } from "./fake-machine.js";

const FLAGS = ["-gateway", "198.51.100.1", "-hosts", "/h", "-mapper-socket", "/s"];

async function start(machine: FakeMachine, ...flags: string[]) {
  const lines: string[] = [];
  const parsed = parseGatewayFlags([...FLAGS, ...flags]);
  assert.ok(parsed.kind === "settings");
  const { settings } = parsed;
  const write = (line: string) => void lines.push(line.trimEnd());
  const log = new Log({ ...settings, write, nowMs: () => 0 });
  return { gateway: await startGateway(settings, machine, log), lines };
}

test("the store opens first, the sockets for others last", async () => {
  const machine = new FakeMachine();
  const { gateway, lines } = await start(machine);
  const opened = ["open store", "open tunnel", "open tun", "open workers", "open listen /s"];
  assert.deepEqual(machine.events, [...opened, "open control"]);
  assert.ok(lines.includes("W forwarding is off"));
  await gateway.stop();
});

test("everything is closed in the opposite order, and no timer is left", async () => {
  const machine = new FakeMachine();
  const { gateway } = await start(machine);
  machine.events.length = 0;
  await gateway.stop();
  assert.deepEqual(machine.events, [
    "close control",
    "close listener",
    "stop workers",
    "close tun",
    "close tunnel",
    "close watch",
    "close store",
  ]);
  assert.equal(machine.timers.size, 0);
});

test("whatever cannot be opened, what was opened before is closed again", async () => {
  for (const broken of ["store", "tunnel", "tun", "workers", "listen /s"]) {
    const machine = new FakeMachine();
    machine.broken.add(broken);
    await assert.rejects(start(machine), { message: `Cannot open ${broken}` });
    const opened = machine.events.filter((event) => event.startsWith("open")).length;
    const closed = machine.events.filter((event) => /^(close (?!watch)|stop)/.test(event)).length;
    assert.equal(closed, opened, `${broken}: ${machine.events.join(", ")}`);
    assert.equal(machine.timers.size, 0, broken);
  }
});

test("a control socket that is not to be had is a warning", async () => {
  const machine = new FakeMachine();
  machine.broken.add("control");
  const { gateway, lines } = await start(machine);
  assert.ok(lines.includes("W no control socket: Cannot open control"));
  await gateway.stop();
});

test("-devmode opens neither tunnel nor TUN device", async () => {
  const machine = new FakeMachine();
  const { gateway } = await start(machine, "-devmode");
  assert.deepEqual(machine.events, ["open store", "open listen /s", "open control"]);
  await gateway.stop();
});

test("a failing worker is the gateway's failure", async () => {
  const machine = new FakeMachine();
  const { gateway } = await start(machine);
  machine.forwarding!.onFailure(new Error("worker gone"));
  assert.equal((await gateway.failure).message, "worker gone");
  await gateway.stop();
});

test("-trace sends every packet the slow way, where it is shown", async () => {
  const machine = new FakeMachine();
  const { gateway, lines } = await start(machine, "-trace");
  assert.equal(machine.forwarding!.settings.carriesTcp, false);
  const packet = fromHex("45000014")!;
  machine.forwarding!.onPacket({
    kind: RING_FROM_LOCAL,
    address: parseIp("0.0.0.0")!,
    port: 0,
    typeOfService: 0,
    packet,
  });
  assert.ok(lines.some((line) => line.startsWith("T local 4 octets: 45 00 00 14")));
  await gateway.stop();
});

/** An echo request from 10.1.0.5 to 10.240.0.22, checksums right. */
const ECHO = "4500001c000100004001651f0a0100050af000160800f7fd00010001";

test("a first packet waits for its mapping to be stored and then leaves", async () => {
  const machine = new FakeMachine();
  machine.file = { kind: "text", text: "10.240.0.22 web #= ext 203.0.113.1 + 1025\n" };
  const { gateway } = await start(machine);
  const packet = fromHex(ECHO)!;
  const address = parseIp("0.0.0.0")!;
  machine.forwarding!.onPacket({
    kind: RING_FROM_LOCAL,
    address,
    port: 0,
    typeOfService: 0,
    packet,
  });
  assert.equal(machine.sent.length, 0, "nothing may leave before the commit");
  await settle();
  assert.equal(machine.sent.length, 1, gateway.status().join("\n"));
  const { destination, port } = machine.sent[0]!;
  assert.equal(`${formatIp(destination)}:${port}`, "203.0.113.1:1045");
  await gateway.stop();
});

test("when the store refuses, waiting packets are dropped, counted and not tried for ever", async () => {
  const machine = new FakeMachine();
  machine.file = { kind: "text", text: "10.240.0.22 web #= ext 203.0.113.1 + 1025\n" };
  const { gateway, lines } = await start(machine);
  await settle();
  machine.store.failure = new Error("the disk is full");
  machine.forwarding!.onPacket({
    kind: RING_FROM_LOCAL,
    address: parseIp("0.0.0.0")!,
    port: 0,
    typeOfService: 0,
    packet: fromHex(ECHO)!,
  });
  await settle();
  assert.equal(machine.sent.length, 0);
  assert.ok(gateway.status().some((line) => line.startsWith("dropped mapping-storage: 1")));
  assert.ok(lines.some((line) => /^E .*cannot be stored.*disk is full/.test(line)));
  machine.store.failure = undefined;
  await gateway.stop();
});

test("a drop is counted under its name and told in the status", async () => {
  const machine = new FakeMachine();
  const { gateway } = await start(machine);
  machine.forwarding!.onPacket({
    kind: RING_FROM_TUNNEL,
    address: parseIp("203.0.113.9")!,
    port: 1045,
    typeOfService: 0,
    packet: new Uint8Array(0),
  });
  assert.ok(gateway.status().some((line) => line.startsWith("dropped tunnel-empty: 1 (")));
  await gateway.stop();
});

/** The MC_GET_EA request of spec/mapper.md 2.12, version pair 4/4. */
const GET_EA =
  "114712344400000e0000000000000000c00002070000000000000000000000000000040104107765622e6578616d70" +
  "6c652e636f6d2e0000";

test("a mapping asked for over the socket is answered after it is stored, and survives", async () => {
  const machine = new FakeMachine();
  const first = await start(machine);
  const one = machine.connect(1);
  machine.handlers!.onMessage(one.client, fromHex(GET_EA)!, false);
  assert.equal(one.replies.length, 0, "nothing may be told before the commit");
  await settle();
  assert.match(toHex(one.replies[0]!), /^1187123444000009/);
  await first.gateway.stop();
  const second = await start(machine);
  const two = machine.connect(2);
  machine.handlers!.onMessage(two.client, fromHex(GET_EA)!, false);
  await settle();
  assert.equal(toHex(two.replies[0]!), toHex(one.replies[0]!));
  await second.gateway.stop();
});

test("malformed messages get no reply and one line", async () => {
  const machine = new FakeMachine();
  const { gateway, lines } = await start(machine);
  const { client, replies } = machine.connect(1);
  machine.handlers!.onMessage(client, fromHex("12")!, false);
  await settle();
  assert.equal(replies.length, 0);
  assert.equal(lines.filter((line) => /^E mapper socket: .* pid 101/.test(line)).length, 1);
  await gateway.stop();
});

test("the clock of the shared tables follows the machine's", async () => {
  const machine = new FakeMachine();
  const { gateway, lines } = await start(machine, "-debug", "timer", "-ticks");
  machine.pass(3);
  assert.ok(
    lines.some((line) => /^D gateway\.[jt]s\(\d+\): tick 4$/.test(line)),
    lines.join("\n"),
  );
  await gateway.stop();
});

test("reloadHosts() reads the file again", async () => {
  const machine = new FakeMachine();
  const { gateway, lines } = await start(machine);
  machine.file = { kind: "text", text: "10.1.0.22 web #= pub + 1025\n" };
  gateway.reloadHosts();
  assert.ok(lines.includes("I loaded 1 records of /h"));
  await gateway.stop();
});

test("a store of other IP versions is refused", async () => {
  const machine = new FakeMachine();
  const { gateway } = await start(machine);
  const { client } = machine.connect(1);
  machine.handlers!.onMessage(client, fromHex(GET_EA)!, false);
  await settle();
  await gateway.stop();
  await assert.rejects(start(machine, "-encode-net", "fd00:240::/64"), /choose another -data/);
});

test("offloads in use, and those refused, are told once", async () => {
  const machine = new FakeMachine();
  const { gateway, lines } = await start(machine);
  assert.ok(lines.includes("I offloads in use: none"));
  assert.ok(lines.includes("W offloads that this kernel refuses: csum tso uso gso gro"));
  const { memory, plan } = machine.forwarding!;
  const counters = new CounterBlock(memory, plan.countersOffset, counterWriter(0, "egress"));
  counters.add(counterIndex("send-groups-off"), 1);
  counters.add(counterIndex("egress-super-packets"), 3);
  machine.pass(3);
  assert.equal(lines.filter((line) => line.includes("refuses grouped datagrams")).length, 1);
  assert.ok(gateway.status().some((line) => line.startsWith("offloads: super-packets 3 read")));
  await gateway.stop();
});
