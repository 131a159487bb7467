/** The program `ipref-dns-agent`: its command line, its end, its real sockets on loopback. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { systemResolver } from "../../src/platform/agent-resolver.js";
import { tcpStreams } from "../../src/platform/agent-streams.js";
import { parseAgentFlags } from "../../src/programs/agent-flags.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";

const PROGRAM = join(repositoryRoot(), "dist/src/programs/ipref-dns-agent.js");
const LOOPBACK = parseIp("127.0.0.1")!;
const folder = mkdtempSync(join(tmpdir(), "ipref-agent-"));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly status: number | null;
  readonly errors: string;
  readonly text: string;
}

/** Runs the program; sends `signal` when its log shows `pattern`. */
function run(
  args: readonly string[],
  pattern?: RegExp,
  signal: NodeJS.Signals = "SIGTERM",
): Promise<Ended> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { timeout: 20_000 });
  let errors = "";
  let text = "";
  let isSignalled = false;
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
    if (pattern === undefined || isSignalled || !pattern.test(errors)) return;
    isSignalled = true;
    child.kill(signal);
  });
  return new Promise((resolve) => {
    child.on("close", (status) => resolve({ status, errors, text }));
  });
}

function settings(...args: string[]) {
  const parsed = parseAgentFlags(args);
  assert.ok(parsed.kind === "settings", JSON.stringify(parsed));
  return parsed.settings;
}

test("defaults are those of the original", () => {
  const { agent, mapperPath, isDevmode } = settings("lan:example.com:ns1.example.com");
  assert.equal(mapperPath, "/run/ipref/mapper.sock");
  assert.equal(agent.intervalSeconds, 59 * 60);
  assert.deepEqual([agent.localVersion, agent.gatewayVersion, isDevmode], [4, 4, false]);
});

test("flags are read with one dash and with two, -t is clamped", () => {
  const { agent, mapperPath } = settings(
    ...["--ea-ipver=6", "-gw-ipver", "6", "-m", "unix:///tmp/m.sock", "-t", "0", "-debug"],
    ...["lan:example.com:ns1", "lan:example.org:ns1"],
  );
  assert.equal(mapperPath, "/tmp/m.sock");
  assert.deepEqual([agent.localVersion, agent.gatewayVersion, agent.intervalSeconds], [6, 6, 60]);
  assert.equal(agent.specs.length, 2);
  assert.equal(settings("-t", "99999").agent.intervalSeconds, 10_080 * 60);
});

test("the last of two equal sources counts", () => {
  const { agent, notices } = settings("lan:example.com:ns1", "LAN:example.com.:ns2");
  assert.equal(agent.specs.length, 1);
  const { origin } = agent.specs[0]!;
  assert.ok(origin.kind === "servers" && origin.servers[0]!.text === "ns2:53");
  assert.equal(notices.length, 1);
});

test("every wrong value and every wrong source is named, status 1", () => {
  const parsed = parseAgentFlags([
    ...["-m", "tcp://x", "-ea-ipver", "5", "-gw-ipver", "x", "-encode-net", "y"],
    ...["-resolver", "ns1", "-gateway-pub", "2001:db8::1", "-t", "soon"],
    ...["lan:example.com", "lan:example.com:", "lan:example.com:ns1"],
  ]);
  assert.ok(parsed.kind === "errors");
  assert.equal(parsed.exitStatus, 1);
  for (const name of ["m", "ea-ipver", "gw-ipver", "encode-net", "resolver", "gateway-pub", "t"]) {
    assert.equal(
      parsed.lines.filter((line) => line.startsWith(`F invalid -${name} `)).length,
      1,
      name,
    );
  }
  assert.equal(parsed.lines.filter((line) => line.startsWith("E source ")).length, 2);
});

test("an unknown flag gives the usage and status 2, -h status 0", async () => {
  const unknown = await run(["-bogus"]);
  assert.equal(unknown.status, 2);
  assert.match(unknown.errors, /there is no such flag[\s\S]*Usage: dns-agent/);
  const help = await run(["-h"]);
  assert.equal(help.status, 0);
  assert.match(help.text, /Usage: dns-agent \[FLAGS\] LOCAL:PUBLIC:SERVERS/);
});

test("without sources it waits and says so; one signal ends it with status 0", async () => {
  for (const [signal, word] of [
    ["SIGTERM", "terminated"],
    ["SIGINT", "interrupt"],
  ] as const) {
    const ended = await run([], /nothing to publish/, signal);
    assert.equal(ended.status, 0);
    assert.ok(ended.errors.endsWith(`I exiting dns-agent: signal(${word})\n`), ended.errors);
  }
});

test("a missing gateway is a warning with the cause, not an end", async () => {
  const args = ["-m", `unix://${folder}/none.sock`, "lan:example.com:file:///nowhere"];
  const ended = await run(args, /^W Cannot connect to .*none\.sock/m);
  assert.equal(ended.status, 0);
});

test("a broken key file ends the program with status 78, its place named", async () => {
  const path = join(folder, "key");
  writeFileSync(path, "key a {\n algorithm hmac-md5;\n};\n");
  const ended = await run(["-tsig-key", path, "lan:example.com:ns1"]);
  assert.equal(ended.status, 78);
  assert.match(ended.errors, /key:1: key 'a' needs an algorithm and a secret/);
});

test("the system's resolver reads the hosts file first, in any case of letters", async () => {
  const path = join(folder, "hosts");
  writeFileSync(path, "# names\n10.0.0.10 Www.lan www # comment\nfd00::10 www.lan\n");
  const resolver = systemResolver(path);
  const answer = await resolver.addresses("WWW.lan", 4);
  assert.deepEqual(answer, { kind: "found", addresses: [parseIp("10.0.0.10")!] });
  assert.deepEqual(await resolver.addresses("www.lan", 6), {
    kind: "found",
    addresses: [parseIp("fd00::10")!],
  });
});

/** A server that sends `bytes` in pieces of `size`, then ends. */
async function withServer(
  pieces: readonly Uint8Array[],
  use: (port: number) => Promise<void>,
): Promise<void> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    void (async () => {
      for (const piece of pieces) {
        socket.write(piece);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      socket.end();
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await use((server.address() as { port: number }).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

test("messages over TCP are put together from any pieces, and the end is told", async () => {
  const bytes = Uint8Array.of(0, 3, 1, 2, 3, 0, 0, 0, 1, 9, 0, 5, 1);
  for (const size of [1, 2, 3, 5, bytes.length]) {
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.slice(at, at + size));
    await withServer(pieces, async (port) => {
      const opened = await tcpStreams.open(LOOPBACK, port, 2000);
      assert.ok(opened.ok);
      const messages: number[][] = [];
      for (;;) {
        const received = await opened.stream.receive(2000);
        if (!received.ok) break;
        messages.push([...received.message]);
      }
      assert.deepEqual(messages, [[1, 2, 3], [], [9]]);
      opened.stream.close();
    });
  }
});

test("a silent server and a closed port are told apart", async () => {
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const opened = await tcpStreams.open(LOOPBACK, port, 2000);
  assert.ok(opened.ok);
  const received = await opened.stream.receive(50);
  assert.ok(!received.ok && /no answer after 0.05 s/.test(received.reason));
  opened.stream.close();
  await new Promise((resolve) => server.close(resolve));
  const refused = await tcpStreams.open(LOOPBACK, port, 2000);
  assert.ok(!refused.ok && /connection refused/.test(refused.reason));
});
