/** Captures through the control socket, on a gateway whose machine is in memory. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fromHex, toHex } from "../../src/base/hex.js";
import { formatIp, type IpAddress, parseIp } from "../../src/base/ip.js";
import { BlockReader } from "../../src/capture/pcapng.js";
import type { CaptureLast, CaptureLine, MessageLine } from "../../src/control/capture/lines.js";
import { startGateway } from "../../src/control/gateway.js";
import { parseGatewayFlags } from "../../src/control/gateway-flags.js";
import type { ControlReply, Refusal } from "../../src/control/inspection/api.js";
import type { CaptureQuestion } from "../../src/control/inspection/capture-question.js";
import { Log } from "../../src/control/log.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { run } from "../../src/programs/demo/namespaces.js";
import { CaptureArea } from "../../src/tables/capture-area.js";
import { ControlBlock } from "../../src/tables/control-block.js";
import { RING_FROM_LOCAL, RING_FROM_TUNNEL } from "../../src/tables/packet-ring.js";
import { buildEchoRequest } from "../../src/translate/echo.js";
import { buildIpv4 } from "../../src/wire/ipv4.js";
import { buildTunnel } from "../../src/wire/tunnel-header.js";
import { FakeMachine, settle } from "./fake-machine.js";

const hasTshark = (await run("tshark", ["--version"])).code === 0;
const skip = hasTshark ? false : "tshark is not installed";
const OWN = "198.51.100.1";
const FAR = "198.51.100.7";
const FAR_ENCODED = "10.240.0.22";
const FLAGS = ["-gateway", OWN, "-hosts", "/h", "-mapper-socket", "/s"];
const HOSTS = `${FAR_ENCODED} far #= ext ${FAR} + 1025\n10.1.0.9 near #= pub + 1030\n`;

async function start() {
  const machine = new FakeMachine();
  machine.file = { kind: "text", text: HOSTS };
  const parsed = parseGatewayFlags(FLAGS);
  assert.ok(parsed.kind === "settings");
  const { settings } = parsed;
  const lines: string[] = [];
  const log = new Log({ ...settings, write: (line) => void lines.push(line), nowMs: () => 0 });
  const gateway = await startGateway(settings, machine, log);
  await settle();
  const { memory, plan } = machine.forwarding!;
  const control = new ControlBlock(memory, plan.controlOffset);
  const area = new CaptureArea(memory, plan.captureOffset);
  return { machine, gateway, lines, control, area };
}

type World = Awaited<ReturnType<typeof start>>;

interface Asked {
  readonly reply: ControlReply;
  readonly gone: AbortController;
}

async function ask(world: World, question: CaptureQuestion | string, pid = 7): Promise<Asked> {
  return await post(world, "/capture", question, pid);
}

async function post(
  { machine }: World,
  path: string,
  question: unknown,
  pid: number,
): Promise<Asked> {
  const gone = new AbortController();
  const text = typeof question === "string" ? question : JSON.stringify(question);
  const reply = await machine.controlRoutes.get(`POST ${path}`)!({
    ...{ method: "POST", path, query: new URLSearchParams() },
    body: new TextEncoder().encode(text),
    caller: { pid, uid: 0, gid: 0 },
    signal: gone.signal,
  });
  return { reply, gone };
}

function refusalOf({ reply }: Asked): Refusal & { status: number } {
  return { ...(JSON.parse(String(reply.body)) as Refusal), status: reply.status };
}

/** Collects what a capture sends, until it ends. */
function collect({ reply }: Asked) {
  assert.equal(reply.status, 200, String(reply.body));
  const pieces: Buffer[] = [];
  const done = (async () => {
    for await (const piece of reply.body as AsyncIterable<string | Uint8Array>) {
      pieces.push(Buffer.from(piece as string));
    }
    return Buffer.concat(pieces);
  })();
  return done;
}

function linesOf(bytes: Buffer): { lines: CaptureLine[]; end: CaptureLast["end"] } {
  const values = bytes
    .toString()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as CaptureLine & CaptureLast);
  const last = values.pop()!;
  assert.ok(last.end, "the last line tells the end");
  return { lines: values, end: last.end };
}

const UDP = Uint8Array.of(0x14, 0xe9, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4);

function native(source: string, destination: string, ttl = 64): Uint8Array {
  return buildIpv4(
    {
      source: parseIp(source)!,
      destination: parseIp(destination)!,
      ...{ trafficClass: 0, ttl, protocol: 17, dontFragment: true, fragmentOffset: 0 },
      ...{ moreFragments: false, identification: 1 },
    },
    UDP,
  );
}

function fromLocal({ machine }: World, packet: Uint8Array): void {
  const address = parseIp("0.0.0.0")!;
  machine.forwarding!.onPacket({
    ...{ kind: RING_FROM_LOCAL, address, port: 0, typeOfService: 0, packet },
  });
}

function fromTunnel({ machine }: World, packet: Uint8Array, address = parseIp(FAR)!): void {
  machine.forwarding!.onPacket({
    ...{ kind: RING_FROM_TUNNEL, address, port: 1045, typeOfService: 0, packet },
  });
}

function tunnelPacket(reference: bigint, source = 1025n): Uint8Array {
  return buildTunnel(
    {
      source: { context: parseIp(FAR)!, reference: source },
      destination: { context: parseIp(OWN)!, reference },
      ...{ ttl: 64, protocol: 17, dontFragment: true, fragment: undefined },
    },
    UDP,
  );
}

/** What a line says, in a few words. */
function brief({ side, direction, path, verdict, reason }: CaptureLine): string {
  return [side, direction, path, verdict, ...(reason === undefined ? [] : [reason])].join(" ");
}

/** Captures while `act` runs; the lines and the end. */
async function capturing(world: World, act: () => Promise<void> | void, filter = "") {
  const asked = await ask(world, { format: "lines", filter });
  const collected = collect(asked);
  await act();
  world.machine.pass(1);
  await settle();
  const ended = await post(world, "/capture/end", "", 7);
  assert.equal(ended.reply.status, 200);
  return linesOf(await collected);
}

test("a first packet is held, and then shown with what it has become", async () => {
  const world = await start();
  const { lines, end } = await capturing(world, async () => {
    fromLocal(world, native("10.1.0.5", FAR_ENCODED));
    await settle();
    await settle();
  });
  assert.deepEqual(lines.map(brief), [
    "local to-tunnel slow held",
    "tunnel to-tunnel slow forwarded",
  ]);
  assert.deepEqual(end, { reason: "stopped", packets: 2, lost: 0 });
  const [held, sent] = lines as [CaptureLine, CaptureLine];
  assert.deepEqual(held.destination, {
    ...{ native: FAR_ENCODED, ipref: `${FAR} + 1025`, port: 53 },
  });
  assert.equal(sent.source.native, "10.1.0.5");
  assert.match(sent.source.ipref!, new RegExp(`^${OWN.replaceAll(".", "\\.")} \\+ [0-9a-f-]+$`));
  assert.equal(sent.to, `${FAR}:1045`);
  assert.equal(sent.from, `${OWN}:1045`);
  assert.match(sent.comment, /^10\.1\.0\.5 = .* -> 10\.240\.0\.22 = .* \+ 1025; slow path; /);
  assert.match(sent.time, /^2023-11-14T22:13:\d\d\.\d{9}Z$/);
  await world.gateway.stop();
});

test("a packet that goes at once is shown on both sides together", async () => {
  const world = await start();
  const { lines } = await capturing(world, () => {
    fromLocal(world, native("10.1.0.9", FAR_ENCODED));
    fromTunnel(world, tunnelPacket(1030n));
  });
  assert.deepEqual(lines.map(brief), [
    "local to-tunnel slow forwarded",
    "tunnel to-tunnel slow forwarded",
    "local from-tunnel slow forwarded",
    "tunnel from-tunnel slow forwarded",
  ]);
  const back = lines.at(-1)!;
  assert.deepEqual(back.source, { native: FAR_ENCODED, ipref: `${FAR} + 1025`, port: 5353 });
  assert.deepEqual(back.destination, { native: "10.1.0.9", ipref: `${OWN} + 1030`, port: 53 });
  await world.gateway.stop();
});

test("drops have their reason, and the error that the gateway makes is told apart", async () => {
  const world = await start();
  const { lines } = await capturing(world, () => {
    fromLocal(world, native("10.1.0.9", "10.240.99.99"));
    fromTunnel(world, tunnelPacket(4711n));
    fromTunnel(world, Uint8Array.of(0x21));
  });
  assert.deepEqual(lines.map(brief), [
    "local to-tunnel slow dropped local-destination-unknown",
    "local from-tunnel slow made",
    "tunnel from-tunnel slow dropped tunnel-reference-unknown",
    "tunnel to-tunnel slow made",
    "tunnel from-tunnel slow dropped tunnel-too-short",
  ]);
  assert.match(
    lines[0]!.comment,
    /\+ 1030 -> 10\.240\.99\.99; .*dropped: local-destination-unknown/,
  );
  assert.equal(lines[1]!.destination.native, "10.1.0.9");
  assert.equal(lines[2]!.destination.ipref, `${OWN} + 4711`);
  assert.match(lines.at(-1)!.comment, /^\? -> \?; slow path; dropped: tunnel-too-short \(A tunnel/);
  await world.gateway.stop();
});

test("an echo to the gateway is answered", async () => {
  const world = await start();
  const echo = buildEchoRequest(
    {
      source: { context: parseIp(FAR)!, reference: 1025n },
      destination: { context: parseIp(OWN)!, reference: 1n },
    },
    { identifier: 1, sequence: 1, data: Uint8Array.of(1, 2, 3, 4) },
    "G",
    false,
  );
  const { lines } = await capturing(world, () => fromTunnel(world, echo));
  assert.deepEqual(lines.map(brief), [
    "tunnel from-tunnel slow answered",
    "tunnel to-tunnel slow made",
  ]);
  assert.equal(lines[0]!.destination.ipref, `${OWN} + 1`);
  assert.equal(lines[0]!.protocol, "icmp");
  await world.gateway.stop();
});

test("the filter, the snapshot length and the generation reach the workers", async () => {
  const world = await start();
  assert.equal(world.control.captureGeneration(), 0);
  const filter = "( not  host 10.1.0.5 )";
  const first = await ask(world, { format: "lines", filter, snaplen: 100 });
  const generation = world.control.captureGeneration();
  assert.ok(generation > 0);
  assert.deepEqual(world.area.read(), { snaplen: 100, filter: "not host 10.1.0.5" });
  first.gone.abort();
  await collect(first);
  assert.equal(world.control.captureGeneration(), 0);
  assert.equal([...world.machine.timers].filter(({ intervalMs }) => intervalMs < 1000).length, 0);
  const second = await ask(world, { format: "lines" });
  assert.notEqual(world.control.captureGeneration(), generation);
  second.gone.abort();
  await world.gateway.stop();
});

test("what the filter does not want is left out", async () => {
  const world = await start();
  const act = () => {
    fromLocal(world, native("10.1.0.9", FAR_ENCODED));
    fromLocal(world, native("10.1.0.9", "10.240.99.99"));
  };
  const dropped = await capturing(world, act, "verdict dropped");
  assert.deepEqual(dropped.lines.map(brief), [
    "local to-tunnel slow dropped local-destination-unknown",
  ]);
  const tunnel = await capturing(world, act, `side tunnel and gateway ${FAR}`);
  assert.deepEqual([...new Set(tunnel.lines.map(({ side }) => side))], ["tunnel"]);
  await world.gateway.stop();
});

test("a capture ends with each of its limits", async () => {
  const world = await start();
  const limited = async (question: CaptureQuestion, packets: number) => {
    const asked = await ask(world, { format: "lines", ...question });
    const collected = collect(asked);
    for (let count = 0; count < packets; count++) {
      fromLocal(world, native("10.1.0.9", FAR_ENCODED));
    }
    world.machine.pass(1);
    await settle();
    world.machine.pass(3);
    return linesOf(await collected);
  };
  const counted = await limited({ count: 3 }, 10);
  assert.deepEqual([counted.lines.length, counted.end.reason], [3, "count"]);
  const timed = await limited({ durationMs: 2000 }, 1);
  assert.equal(timed.end.reason, "duration");
  const sized = await limited({ bytes: 5000 }, 100);
  assert.equal(sized.end.reason, "size");
  const octets = sized.lines.reduce((sum, line) => sum + JSON.stringify(line).length + 1, 0);
  assert.ok(octets <= 5000 && octets > 4000, `${octets}`);
  const asked = await ask(world, { bytes: 5000, mapper: true });
  const collected = collect(asked);
  for (let count = 0; count < 100; count++) fromLocal(world, native("10.1.0.9", FAR_ENCODED));
  world.machine.pass(1);
  const file = await collected;
  assert.ok(file.length <= 5000 && file.length > 4500, `${file.length}`);
  const last = new BlockReader().take(file)!.slice(-3);
  assert.ok(last.every(({ kind }) => kind === "statistics"));
  assert.equal(world.control.captureGeneration(), 0);
  await world.gateway.stop();
});

test("packets that come faster than they are taken are lost and counted", async () => {
  const world = await start();
  const { lines, end } = await capturing(
    world,
    () => {
      for (let count = 0; count < 5000; count++) {
        fromLocal(world, native("10.1.0.9", "10.240.99.99"));
      }
    },
    "drop local-destination-unknown",
  );
  assert.equal(lines.length, 4096);
  assert.equal(end.lost, 5000 - 4096);
  await world.gateway.stop();
});

test("there is one capture at a time, and only its own process may end it", async () => {
  const world = await start();
  const first = await ask(world, { format: "pcapng" }, 7);
  const second = refusalOf(await ask(world, {}, 8));
  assert.equal(second.status, 409);
  assert.match(second.fix, /wait for the one of process 7 of user 0 to end/);
  const foreign = refusalOf(await post(world, "/capture/end", "", 8));
  assert.deepEqual([foreign.status, foreign.error], [409, "Process 8 captures nothing"]);
  first.gone.abort();
  const third = await ask(world, {}, 8);
  assert.equal(third.reply.status, 200);
  third.gone.abort();
  assert.equal(refusalOf(await post(world, "/capture/end", "", 8)).status, 409);
  await world.gateway.stop();
});

test("a file has both interfaces, the packets, and the statistics at its end", async () => {
  const world = await start();
  const asked = await ask(world, { snaplen: 64 });
  assert.equal(asked.reply.contentType, "application/x-pcapng");
  const collected = collect(asked);
  fromLocal(world, native("10.1.0.9", FAR_ENCODED));
  world.machine.pass(1);
  await post(world, "/capture/end", "", 7);
  const blocks = new BlockReader().take(await collected)!;
  assert.deepEqual(
    blocks.map(({ kind }) => kind),
    ["section", "interface", "interface", "packet", "packet", "statistics", "statistics"],
  );
  const packets = blocks.flatMap((block) => (block.kind === "packet" ? [block] : []));
  // 20 octets of IP header and 12 of UDP; outer headers of 28 octets, and a tunnel header of 20.
  assert.deepEqual(
    packets.map(({ on, length }) => [on, length]),
    [
      [0, 32],
      [1, 60],
    ],
  );
  const counts = blocks.flatMap((block) =>
    block.kind === "statistics" ? [[block.on, block.received, block.dropped]] : [],
  );
  assert.deepEqual(counts, [
    [0, 1, 0],
    [1, 1, 0],
  ]);
  await world.gateway.stop();
});

/** MC_GET_EA for FAR + 1025, whose encoded address the hosts file gives: answered at once. */
const QUESTION = fromHex(`1147123444000009${"00".repeat(8)}c6336407${"00".repeat(14)}0401`)!;

test("messages of the mapper socket are captured where they are wanted", async () => {
  const world = await start();
  const { client, replies } = world.machine.connect(1);
  const send = () => world.machine.handlers!.onMessage(client, QUESTION, false);
  const asked = await ask(world, { format: "lines", filter: "drop ttl-expired", mapper: true });
  const collected = collect(asked);
  send();
  assert.equal(replies.length, 1);
  await post(world, "/capture/end", "", 7);
  const { lines, end } = linesOf(await collected);
  assert.equal(end.packets, 2);
  const messages = lines as unknown as MessageLine[];
  assert.deepEqual(
    messages.map(({ side, direction, kind, pid, message }) => [
      ...[side, direction, kind, pid, message],
    ]),
    [
      ["mapper", "received", "MC_GET_EA request", 101, toHex(QUESTION)],
      ["mapper", "sent", "MC_GET_EA ACK", 101, toHex(replies[0]!)],
    ],
  );
  const without = await ask(world, { format: "lines" });
  send();
  without.gone.abort();
  assert.equal(linesOf(await collect(without)).end.packets, 0);
  await world.gateway.stop();
});

test("tshark shows captured messages with the dissector", { skip }, async () => {
  const world = await start();
  const { client } = world.machine.connect(1);
  const asked = await ask(world, { mapper: true });
  const collected = collect(asked);
  world.machine.handlers!.onMessage(client, QUESTION, false);
  fromLocal(world, native("10.1.0.9", FAR_ENCODED));
  world.machine.pass(1);
  await post(world, "/capture/end", "", 7);
  const folder = mkdtempSync(join(tmpdir(), "ipref-capture-"));
  try {
    const path = join(folder, "messages.pcapng");
    writeFileSync(path, await collected);
    const script = join(repositoryRoot(), "packaging", "wireshark", "ipref.lua");
    const fields = [
      "frame.interface_name",
      "frame.comment",
      "ipref_mapper.address",
      "ipref.source",
    ];
    const wanted = fields.flatMap((field) => ["-e", field]);
    const args = ["-n", "-X", `lua_script:${script}`, "-r", path, "-T", "fields"];
    const result = await run("tshark", [...args, "-E", "separator=|", ...wanted]);
    assert.equal(result.code, 0, result.stderr);
    const mapping = `10.1.0.9 = ${OWN} + 1030 -> ${FAR_ENCODED} = ${FAR} + 1025`;
    const comment = `${mapping}; slow path; forwarded`;
    assert.deepEqual(result.stdout.trimEnd().split("\n"), [
      `mapper|from process 101 of user 0|${FAR} + 1025|`,
      `mapper|to process 101 of user 0|${FAR} + 1025|`,
      `fake0|${comment}||`,
      `tunnel|${comment}||${OWN} + 1030`,
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  await world.gateway.stop();
});

test("bad questions are refused with what is wrong", async () => {
  const world = await start();
  const cases: readonly [question: unknown, error: RegExp][] = [
    ["[1]", /^The question is no JSON object$/],
    ["{", /^The question is no JSON object$/],
    [{ filter: "host" }, /^Cannot read the filter at character 5: found the end, expected an IPv4/],
    [{ filter: 5 }, /^The filter is a text$/],
    [{ mapper: "yes" }, /^"mapper" is true or false$/],
    [{ format: "pcap" }, /^The format is "pcapng" or "lines"$/],
    [{ toString: 1 }, /^There is no "toString" in a question/],
    [{ count: 0 }, /^Cannot use this "count": expected a whole number from 1 to/],
    [{ durationMs: 1.5 }, /^Cannot use this "durationMs"/],
    [{ bytes: "many" }, /^Cannot use this "bytes"/],
    [{ snaplen: 100_000 }, /^Cannot use this "snaplen": .* from 64 to 65535$/],
  ];
  for (const [question, error] of cases) {
    const text = typeof question === "string" ? question : JSON.stringify(question);
    const refused = refusalOf(await ask(world, text));
    assert.equal(refused.status, 400, text);
    assert.match(refused.error, error);
  }
  assert.equal(world.control.captureGeneration(), 0);
  await world.gateway.stop();
});

test("looking at mappings for a capture makes none", async () => {
  const world = await start();
  const stranger: IpAddress = parseIp("203.0.113.77")!;
  const mappings = () => world.gateway.status().find((line) => line.startsWith("mappings"));
  const before = mappings();
  assert.ok(before);
  const { lines } = await capturing(world, () => {
    fromTunnel(world, tunnelPacket(4711n), stranger);
    fromLocal(world, native("10.240.5.5", FAR_ENCODED));
  });
  await settle();
  assert.equal(mappings(), before);
  assert.deepEqual(
    lines.flatMap(({ reason }) => reason ?? []),
    ["tunnel-source-mismatch", "local-source-encoded"],
  );
  assert.ok(lines.every(({ comment }) => !comment.includes(formatIp(stranger))));
  await world.gateway.stop();
});
