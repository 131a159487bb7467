// ipref capture between two real sites: both sides, fast path and slow path, drops, as lines and as
// a pcapng file that tshark reads; and that nothing stays switched on.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { BlockReader } from "../../src/capture/pcapng.js";
import type { CaptureLast, CaptureLine } from "../../src/control/capture/lines.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { run, sleep, waitFor } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import {
  assertPing,
  createLab,
  type Lab,
  logs,
  ping,
  TCP_PORT,
  traffic,
  UDP_PORT,
} from "../support/lab.js";

const why = await whyNoNamespaces(["ip", "nft", "ping", "tshark"]);
const skip = why === undefined ? false : why.reason;
const PROGRAM = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");

/** What a test that fails has left. */
const started: ChildProcess[] = [];

function endStarted(): void {
  for (const child of started.splice(0)) child.kill("SIGKILL");
}

interface RunningCapture {
  readonly child: ChildProcess;
  stdout(): Buffer;
  stderr(): string;
  /** The exit status after the capture has ended by itself. */
  ended(): Promise<number>;
  /** The exit status after Ctrl-C. */
  interrupted(): Promise<number>;
}

/** Starts ipref capture against a site's gateway; resolves when it captures. */
async function startCapture(
  folder: string,
  args: readonly string[],
  into?: Writable,
): Promise<RunningCapture> {
  const child = spawn(process.execPath, [PROGRAM, "capture", "--run", folder, ...args]);
  started.push(child);
  if (into !== undefined) child.stdout.pipe(into);
  const pieces: Buffer[] = [];
  let errors = "";
  child.stdout.on("data", (piece: Buffer) => pieces.push(piece));
  child.stderr.on("data", (piece: Buffer) => {
    errors += piece.toString();
  });
  const exit = new Promise<number>((resolve) => child.once("close", (code) => resolve(code ?? -1)));
  const capture: RunningCapture = {
    child,
    stdout: () => Buffer.concat(pieces),
    stderr: () => errors,
    ended: () => exit,
    interrupted: () => {
      child.kill("SIGINT");
      return exit;
    },
  };
  const isReady = await waitFor(
    () => (errors.includes("Capturing") ? true : child.exitCode === null ? undefined : false),
    10_000,
  );
  assert.ok(isReady, `ipref capture does not start: ${errors}`);
  // Workers look at their next batch; the slow path at once.
  await sleep(50);
  return capture;
}

function runFolder(lab: Lab, site: 0 | 1): string {
  return join(lab.network.sites[site].directory, "run");
}

function linesOf(capture: RunningCapture): (CaptureLine & Partial<CaptureLast>)[] {
  const text = capture.stdout().toString().trimEnd();
  return text === "" ? [] : text.split("\n").map((line) => JSON.parse(line) as CaptureLine);
}

/** Fields of each packet of a capture, as tshark sees them. */
async function tshark(file: string, fields: readonly string[], filter = ""): Promise<string[][]> {
  const wanted = fields.flatMap((field) => ["-e", field]);
  const args = ["-n", "-r", file, "-T", "fields", "-E", "separator=|", ...wanted];
  const result = await run("tshark", filter === "" ? args : [...args, "-Y", filter], {
    timeoutMs: 30_000,
  });
  assert.equal(result.code, 0, result.stderr);
  return result.stdout
    .trimEnd()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("|"));
}

describe("capture on both sides of a gateway", { skip }, () => {
  let lab: Lab;
  before(async () => {
    lab = await createLab({
      sites: [{ localVersion: 4 }, { localVersion: 6 }],
      tunnelVersion: 4,
    });
  });
  after(async () => {
    endStarted();
    await lab?.destroy();
  });

  it("shows both sides of a ping, with mapping and verdict", async () => {
    const [direction] = lab.directions;
    await assertPing(lab, direction.from, direction.target);
    const capture = await startCapture(runFolder(lab, 0), ["--json", "-c", "4", "proto", "icmp"]);
    await assertPing(lab, direction.from, direction.target, ["-c", "2", "-i", "0.3"]);
    assert.equal(await capture.ended(), 0, capture.stderr());
    const lines = linesOf(capture);
    assert.equal(lines.length, 4, capture.stderr());
    const sides = lines.map(({ side, direction: way }) => `${side} ${way}`);
    assert.deepEqual(sides.slice(0, 2), ["local to-tunnel", "tunnel to-tunnel"]);
    assert.deepEqual(sides.slice(2).toSorted(), ["local from-tunnel", "tunnel from-tunnel"]);
    const host = direction.from.addresses[0]!;
    for (const line of lines) {
      assert.equal(line.verdict, "forwarded");
      const isOut = line.direction === "to-tunnel";
      const [near, far] = isOut ? [line.source, line.destination] : [line.destination, line.source];
      assert.equal(near.native, host);
      assert.equal(far.native, direction.target);
      assert.match(near.ipref ?? "", new RegExp(`^${direction.fromSite.publicAddress} \\+ `));
      assert.equal(far.ipref, `${direction.toSite.publicAddress} + 1025`);
      assert.ok(line.comment.endsWith("path; forwarded"), line.comment);
    }
    assert.match(capture.stderr(), /4 packets captured, 0 lost/);
  });

  it("writes a file that tshark reads: connections, comments, both interfaces", async () => {
    const [direction] = lab.directions;
    const file = join(lab.network.sites[0].directory, "both.pcapng");
    const capture = await startCapture(runFolder(lab, 0), ["-w", file]);
    const host = direction.from.addresses[0]!;
    const result = await traffic(lab, direction.from, [
      ...["tcp", direction.target, String(TCP_PORT), "300000"],
    ]);
    assert.equal(result.ok, true, JSON.stringify(result) + logs(lab));
    const echo = ["udp", direction.target, String(UDP_PORT), "100,1200,4000"];
    assert.equal((await traffic(lab, direction.from, echo)).ok, true);
    await assertPing(lab, direction.from, direction.target, ["-c", "1"]);
    assert.equal(await capture.interrupted(), 0, capture.stderr());
    assert.match(capture.stderr(), /\d+ packets captured, 0 lost/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const blocks = new BlockReader().take(readFileSync(file)) ?? [];
    const statistics = blocks.flatMap((block) => (block.kind === "statistics" ? [block] : []));
    assert.equal(statistics.length, 2);
    const rows = await tshark(file, [
      ...["frame.interface_name", "ip.src", "ip.dst", "udp.dstport", "frame.comment"],
    ]);
    const packets = blocks.filter(({ kind }) => kind === "packet").length;
    assert.equal(rows.length, packets);
    assert.equal(statistics[0]!.received + statistics[1]!.received, packets);
    const tunnel = rows.filter(([name]) => name === "tunnel");
    const local = rows.filter(([name]) => name === lab.gateways[0].tunName);
    assert.equal(tunnel.length + local.length, packets);
    assert.ok(tunnel.length > 20 && local.length > 5, `${tunnel.length} and ${local.length}`);
    const { publicAddress, bindAddress } = direction.fromSite;
    const gateways = [bindAddress, direction.toSite.publicAddress].toSorted();
    for (const [, source, destination, port, comment] of tunnel) {
      assert.deepEqual([source, destination].toSorted(), gateways);
      assert.equal(port, "1045");
      assert.match(comment!, /; (fast|slow) path; forwarded$/);
      assert.ok(comment!.includes(`${host} = ${publicAddress} + `), comment);
    }
    const remote = `${direction.target} = ${direction.toSite.publicAddress} + 1025`;
    for (const [, source, destination, , comment] of local) {
      assert.ok([source, destination].includes(host), `${source} > ${destination}`);
      assert.ok(comment!.includes(remote), comment);
    }
    const stream = await tshark(file, ["tcp.len"], "tcp and frame.interface_id == 0");
    const octets = stream.reduce((sum, [length]) => sum + Number(length), 0);
    assert.ok(octets >= 600_000, `the local side has ${octets} octets of the two transfers`);
    const fragments = await tshark(file, ["frame.comment"], "ip.flags.mf == 1");
    assert.ok(fragments.length > 0, "a large datagram comes in fragments");
    for (const [comment] of fragments) assert.match(comment!, /= .* -> .* = .*; forwarded$/);
    const bad = await tshark(file, ["frame.number"], "ip.checksum.status == 0");
    assert.equal(bad.length, 0);
  });

  it("names the reason of a drop, from either side", async () => {
    const [direction] = lab.directions;
    const capture = await startCapture(runFolder(lab, 0), ["--json", "verdict dropped"]);
    await ping(lab, direction.from, "10.240.200.200", ["-c", "1"]);
    const unknown = Buffer.from(
      `11400000${hex(direction.toSite.publicAddress)}${hex(direction.fromSite.publicAddress)}` +
        `0000040100ffffff0001000200080000`,
      "hex",
    );
    unknown[2] = 64;
    unknown[3] = 17;
    const { namespaces } = lab.network;
    const send = `require("node:dgram").createSocket("udp4").bind(0, function () {
      this.send(Buffer.from("${unknown.toString("hex")}", "hex"), 1045,
        "${direction.fromSite.publicAddress}", () => this.close());
    });`;
    const far = direction.toSite.gatewayNamespace;
    const result = await namespaces.exec(far, process.execPath, ["-e", send]);
    assert.equal(result.code, 0, result.stderr);
    await waitFor(() => (linesOf(capture).length >= 2 ? true : undefined), 5000);
    assert.equal(await capture.interrupted(), 0);
    const drops = linesOf(capture);
    const reasons = drops.map(({ reason }) => reason).toSorted();
    assert.deepEqual(reasons, ["local-destination-unknown", "tunnel-reference-unknown"]);
    const local = drops.find(({ side }) => side === "local")!;
    assert.equal(local.destination.native, "10.240.200.200");
    assert.equal(local.path, "slow");
    assert.match(local.comment, /dropped: local-destination-unknown \(No remote host has/);
    const tunnel = drops.find(({ side }) => side === "tunnel")!;
    assert.equal(tunnel.source.ipref, `${direction.toSite.publicAddress} + 1025`);
    assert.equal(tunnel.destination.ipref, `${direction.fromSite.publicAddress} + ff-ffff`);
    assert.match(tunnel.from ?? "", new RegExp(`^${direction.toSite.publicAddress}:`));
  });

  it("is refused twice at a time and with a bad filter, and ends with its client", async () => {
    const [direction] = lab.directions;
    const folder = runFolder(lab, 0);
    const first = await startCapture(folder, ["-w", "-"]);
    const again = ["capture", "--run", folder];
    const second = await run(process.execPath, [PROGRAM, ...again]);
    assert.equal(second.code, 69);
    assert.match(second.stderr, /A capture is running already.*process \d+ of user 0/s);
    const bad = await run(process.execPath, [PROGRAM, ...again, "host", "10.1.0.5", "nad"]);
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /found "nad", expected "and", "or" or the end\n.*\n {16}\^/);
    first.child.kill("SIGKILL");
    await first.ended();
    const third = await startCapture(folder, ["--json", "--duration", "300ms"]);
    await assertPing(lab, direction.from, direction.target, ["-c", "1"]);
    assert.equal(await third.ended(), 0, third.stderr());
    assert.ok(linesOf(third).length >= 4, third.stderr());
    assert.match(third.stderr(), /the time was over/);
    const log = lab.gateways[0].log();
    const begun = log.match(/capture of process \d+ of user 0 begins/g)?.length;
    assert.equal(log.match(/capture of process \d+ of user 0 has ended/g)?.length, begun);
  });

  it("gives lines to read, and ends when nobody reads them", async () => {
    const [direction] = lab.directions;
    const capture = await startCapture(runFolder(lab, 1), ["--side", "local"]);
    await assertPing(lab, direction.from, direction.target, ["-c", "2", "-i", "0.2"]);
    await waitFor(() => (capture.stdout().length > 0 ? true : undefined), 5000);
    assert.equal(await capture.interrupted(), 0);
    const [text] = capture.stdout().toString().split("\n");
    const host = direction.to.addresses[0]!;
    assert.match(text!, /^\d\d:\d\d:\d\d\.\d{9} local {2}<= icmpv6 fd00:eaea:/);
    assert.ok(text!.includes(` > ${host} length 104; fd00:eaea:`), text);
    assert.match(text!, /-> .* = .* \+ 1025; (fast|slow) path; forwarded$/);
    const unread = await startCapture(runFolder(lab, 1), []);
    unread.child.stdout?.destroy();
    await assertPing(lab, direction.from, direction.target, ["-c", "2", "-i", "0.2"]);
    assert.equal(await unread.ended(), 0);
    assert.match(unread.stderr(), /packets captured, 0 lost; it was ended/);
  });
});

describe("a capture piped to tshark with the dissector, IPv6 between IPv6 and IPv4", {
  skip,
}, () => {
  let lab: Lab;
  before(async () => {
    const extraArguments = ["-lanes", "2", "-kernel", "ts"];
    lab = await createLab({
      sites: [{ localVersion: 6 }, { localVersion: 4 }],
      tunnelVersion: 6,
      gateways: [{ extraArguments }, { extraArguments }],
    });
  });
  after(async () => {
    endStarted();
    await lab?.destroy();
  });

  it("shows tunnel packets with IPREF addresses and right checksums", async () => {
    const [direction] = lab.directions;
    const script = join(repositoryRoot(), "packaging", "wireshark", "ipref.lua");
    const fields = ["ipref.source", "ipref.destination", "ipref.checksum.status", "tcp.dstport"];
    const wanted = fields.flatMap((field) => ["-e", field]);
    // tshark reads pipes, not the sockets that node gives to its children.
    const reader = spawn("sh", [
      ...["-c", 'cat | tshark "$@"', "sh"],
      ...["-n", "-r", "-", "-X", `lua_script:${script}`, "-Y", "ipref", "-T", "fields"],
      ...["-E", "separator=|", "-E", "occurrence=f", ...wanted],
    ]);
    started.push(reader);
    reader.stdin.on("error", () => undefined);
    let output = "";
    reader.stdout.on("data", (piece: Buffer) => {
      output += piece.toString();
    });
    let complaint = "";
    reader.stderr.on("data", (piece: Buffer) => {
      complaint += piece.toString();
    });
    const isRead = new Promise<number>((resolve) => reader.once("close", (code) => resolve(code!)));
    const args = ["-w", "-", "--side", "tunnel", "proto", "tcp", "or", "proto", "icmp"];
    const capture = await startCapture(runFolder(lab, 1), args, reader.stdin);
    const size = ["tcp", direction.target, String(TCP_PORT), "100000"];
    assert.equal((await traffic(lab, direction.from, size)).ok, true, logs(lab));
    await assertPing(lab, direction.from, direction.target, ["-c", "2", "-i", "0.2", "-s", "3000"]);
    assert.equal(await capture.interrupted(), 0, capture.stderr());
    assert.match(capture.stderr(), /packets captured, 0 lost/);
    assert.equal(await isRead, 0, complaint);
    const rows = output
      .trimEnd()
      .split("\n")
      .map((line) => line.split("|"));
    const published = `${direction.toSite.publicAddress} + 1025`;
    const tcp = rows.filter(([, , checksum]) => checksum !== "");
    assert.ok(tcp.length > 60, `${tcp.length} TCP segments`);
    for (const [source, destination, checksum] of tcp) {
      assert.equal(checksum, "right");
      assert.ok([source, destination].includes(published), `${source} -> ${destination}`);
    }
    assert.ok(tcp.some(([, , , port]) => port === String(TCP_PORT)));
    assert.ok(rows.length > tcp.length, "there are pings, in fragments");
  });

  it("breaks off with the gateway, and leaves what was captured readable", async () => {
    const [direction] = lab.directions;
    const file = join(lab.network.sites[0].directory, "broken.pcapng");
    const capture = await startCapture(runFolder(lab, 0), ["-w", file]);
    await assertPing(lab, direction.from, direction.target, ["-c", "2", "-i", "0.2"]);
    // What has arrived at the client by now is in the file.
    await sleep(500);
    assert.equal(await lab.gateways[0].stop(), 0);
    const status = await capture.ended();
    // The last words may still arrive.
    if (status !== 0) {
      assert.equal(status, 69, capture.stderr());
      assert.match(capture.stderr(), /The capture broke off: the gateway has ended/);
    }
    const rows = await tshark(file, ["frame.interface_name"]);
    assert.ok(rows.length >= 4, `${rows.length} packets`);
  });

  it("tells the log that the capture has begun and ended", () => {
    const log = lab.gateways[1].log();
    assert.equal(log.match(/capture of process \d+ of user 0 begins/g)?.length, 1);
    assert.equal(log.match(/capture of process \d+ of user 0 has ended/g)?.length, 1);
  });
});

function hex(address: string): string {
  return Buffer.from(address.split(".").map(Number)).toString("hex");
}
