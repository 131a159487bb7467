import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import * as libc from "../../src/platform/libc.js";
import { Reactor } from "../../src/platform/reactor.js";
import {
  connectSeqpacket,
  type ListenHandlers,
  type ListenOptions,
  SeqpacketListener,
} from "../../src/platform/seqpacket.js";
import type {
  CloseReason,
  ReceivedMessage,
  SeqpacketConnection,
} from "../../src/platform/seqpacket-connection.js";
import { callWithPath, newSeqpacketSocket } from "../../src/platform/unix-address.js";

const PEER = fileURLToPath(new URL("./seqpacket-peer.js", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "ipref-seqpacket-"));
const reactor = new Reactor();
let nextPath = 0;

after(() => {
  reactor.close();
  rmSync(directory, { recursive: true, force: true });
});

function newPath(): string {
  return join(directory, `socket${nextPath++}`);
}

function echoAll(connection: SeqpacketConnection, messages: readonly ReceivedMessage[]): void {
  for (const { bytes } of messages) connection.send(bytes);
}

function listen(
  handlers: Partial<ListenHandlers> = {},
  options: Partial<ListenOptions> = {},
): SeqpacketListener {
  const path = options.path ?? newPath();
  return new SeqpacketListener(reactor, { ...options, path }, { onMessages: echoAll, ...handlers });
}

/** Starts a client process; it is killed when the test ends. */
function startPeer(path: string, mode: string, count: number): ChildProcess {
  return spawn(process.execPath, [PEER, path, mode, String(count)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/** Waits until `condition` holds; fails after five seconds. */
async function until(condition: () => boolean, what: string): Promise<void> {
  for (let attempt = 0; attempt < 1000; attempt++) {
    if (condition()) return;
    await sleep(5);
  }
  assert.fail(`timed out: ${what}`);
}

test("the socket has mode 0660, and its directory is made", () => {
  const listener = listen({}, { path: join(directory, "deep", "er", "mapper.sock") });
  assert.equal(statSync(listener.path).mode & 0o777, 0o660);
  assert.ok(statSync(listener.path).isSocket());
  listener.close();
  assert.equal(existsSync(listener.path), false);
});

test("messages keep their boundaries and order, and the peer is known", async () => {
  const peers: number[] = [];
  const listener = listen({ onConnect: ({ peer }) => peers.push(peer.pid, peer.uid) });
  const answers: number[][] = [];
  const client = connectSeqpacket(reactor, listener.path, {
    onMessages: (_connection, messages) => {
      for (const { bytes } of messages) answers.push([...bytes]);
    },
  });
  const wanted = Array.from({ length: 200 }, (_, index) => new Array(index + 1).fill(index & 255));
  for (const bytes of wanted) assert.ok(client.send(Uint8Array.from(bytes)));
  await until(() => answers.length === wanted.length, "all answers");
  assert.deepEqual(answers, wanted);
  assert.deepEqual(peers, [process.pid, process.getuid!()]);
  client.close();
  await until(() => listener.connectionCount === 0, "the server notices the end");
  listener.close();
});

test("a message longer than the buffer is delivered as truncated, later ones are whole", async () => {
  const got: [number, boolean][] = [];
  const listener = listen({
    onMessages: (_connection, messages) => {
      for (const { bytes, isTruncated } of messages) got.push([bytes.length, isTruncated]);
    },
  });
  const client = connectSeqpacket(reactor, listener.path, { onMessages: () => {} });
  for (const size of [20_000, 8192, 12]) client.send(new Uint8Array(size).fill(1));
  await until(() => got.length === 3, "three messages");
  assert.deepEqual(got, [
    [8192, true],
    [8192, false],
    [12, false],
  ]);
  client.close();
  listener.close();
});

test("a zero-length message closes the connection after what came before it", async () => {
  const got: number[] = [];
  const reasons: CloseReason[] = [];
  const listener = listen({
    onMessages: (_connection, messages) => got.push(...messages.map(({ bytes }) => bytes.length)),
    onClose: (_connection, reason) => reasons.push(reason),
  });
  const fd = newSeqpacketSocket();
  assert.equal(callWithPath(libc.connect, fd, listener.path), 0);
  const memory = new ArrayBuffer(8);
  libc.send(fd, libc.addressOf(memory), 8, 0);
  libc.send(fd, libc.addressOf(memory), 0, 0);
  await until(() => reasons.length === 1, "close");
  assert.deepEqual(got, [8]);
  assert.deepEqual(reasons, ["closed-by-peer"]);
  libc.close(fd);
  listener.close();
});

test("a hundred clients at once each get their own answers", async () => {
  const listener = listen();
  const counts = new Array<number>(100).fill(0);
  const clients = counts.map((_, index) =>
    connectSeqpacket(reactor, listener.path, {
      onMessages: (_connection, messages) => {
        for (const { bytes } of messages) {
          assert.equal(bytes[0], index);
          counts[index]!++;
        }
      },
    }),
  );
  for (let round = 0; round < 50; round++) {
    for (const [index, client] of clients.entries()) client.send(Uint8Array.of(index, round));
  }
  await until(() => counts.every((count) => count === 50), "all answers");
  assert.equal(listener.connectionCount, 100);
  listener.close();
  await until(() => clients.every((client) => client.isClosed), "clients notice the end");
});

test("a reader that stops is closed when its queue is full, others are served", async () => {
  const reasons: CloseReason[] = [];
  const connections: SeqpacketConnection[] = [];
  const limits = { queueBytesMax: 64 << 10, queueMessagesMax: 500 };
  const listener = listen(
    {
      onConnect: (connection) => connections.push(connection),
      onClose: (_connection, reason) => reasons.push(reason),
    },
    { limits },
  );
  const peer = startPeer(listener.path, "hang", 1);
  try {
    await until(() => connections.length === 1, "the reader connects");
    let accepted = 0;
    while (connections[0]!.send(new Uint8Array(100))) {
      accepted++;
      if (accepted % 50 === 0) await sleep(1);
      assert.ok(accepted < 100_000, "the queue is bounded");
    }
    assert.deepEqual(reasons, ["send-queue-full"]);
    assert.ok(accepted >= limits.queueMessagesMax);
    let answers = 0;
    const other = connectSeqpacket(reactor, listener.path, {
      onMessages: (_connection, messages) => {
        answers += messages.length;
      },
    });
    other.send(Uint8Array.of(1, 2, 3, 4));
    await until(() => answers === 1, "the other client's answer");
    other.close();
  } finally {
    peer.kill("SIGKILL");
    await once(peer, "exit");
    listener.close();
  }
});

test("a client that pipelines without reading waits and then gets every answer", async () => {
  const limits = { queueBytesMax: 1 << 20, queueMessagesMax: 400 };
  const reasons: CloseReason[] = [];
  const onClose = (_connection: SeqpacketConnection, reason: CloseReason) => reasons.push(reason);
  const listener = listen({ onClose }, { limits });
  const fd = newSeqpacketSocket();
  assert.equal(callWithPath(libc.connect, fd, listener.path), 0);
  const memory = new ArrayBuffer(36);
  const address = libc.addressOf(memory);
  let sent = 0;
  for (let stalls = 0; stalls < 20; ) {
    if (libc.send(fd, address, 36, 0) === 36) {
      sent++;
      stalls = 0;
    } else {
      stalls++;
      await sleep(5);
    }
  }
  assert.ok(sent > limits.queueMessagesMax && sent < 10_000, `${sent} sent`);
  assert.deepEqual(reasons, []);
  let answers = 0;
  await until(() => {
    while (libc.recv(fd, address, 36, 0) === 36) answers++;
    return answers === sent;
  }, "all answers");
  libc.close(fd);
  await until(() => reasons.length === 1, "the end is noticed");
  listener.close();
});

test("a client that is killed is forgotten, and its successor is served", async () => {
  const listener = listen();
  const first = startPeer(listener.path, "hang", 1);
  await until(() => listener.connectionCount === 1, "the client connects");
  first.kill("SIGKILL");
  await once(first, "exit");
  await until(() => listener.connectionCount === 0, "the end is noticed");
  const second = startPeer(listener.path, "echo", 1000);
  const [output] = await once(second.stdout!, "data");
  assert.match(String(output), /^1000 /);
  if (second.exitCode === null) await once(second, "exit");
  listener.close();
});

test("a client in another process gets its pipelined answers in order and quickly", async () => {
  const listener = listen();
  const peer = startPeer(listener.path, "echo", 200_000);
  const [output] = await once(peer.stdout!, "data");
  const [count, rate] = String(output).split(" ").map(Number);
  assert.equal(count, 200_000);
  assert.ok(rate! > 20_000, `${rate} answers a second`);
  if (peer.exitCode === null) await once(peer, "exit");
  listener.close();
});

test("a socket file left by an ended process is replaced", () => {
  const path = newPath();
  const fd = newSeqpacketSocket();
  assert.equal(callWithPath(libc.bindSocket, fd, path), 0);
  libc.close(fd);
  assert.ok(existsSync(path));
  const listener = listen({}, { path });
  listener.close();
});

test("a path that a live process serves is refused with its pid, and goes on working", async () => {
  const listener = listen();
  const again = () => listen({}, { path: listener.path });
  assert.throws(again, new RegExp(`already served by pid ${process.pid} `));
  let answers = 0;
  const client = connectSeqpacket(reactor, listener.path, {
    onMessages: () => {
      answers++;
    },
  });
  client.send(Uint8Array.of(1));
  await until(() => answers === 1, "an answer");
  client.close();
  listener.close();
});

test("a path with a live socket of another type, or a file, is refused and kept", async () => {
  const path = newPath();
  const server = createServer().listen(path);
  await once(server, "listening");
  assert.throws(() => listen({}, { path }), /already served/);
  server.close();
  const file = newPath();
  writeFileSync(file, "precious");
  assert.throws(() => listen({}, { path: file }), /not a socket/);
  assert.equal(statSync(file).size, 8);
});

test("close() leaves a socket file that is not its own", () => {
  const listener = listen();
  rmSync(listener.path);
  writeFileSync(listener.path, "successor");
  listener.close();
  assert.ok(existsSync(listener.path));
});

test("connectSeqpacket() says that nobody listens", () => {
  const connect = () => connectSeqpacket(reactor, newPath(), { onMessages: () => {} });
  assert.throws(connect, /Cannot connect to .*check that the gateway runs/);
});

test("a socket path that is too long or has an unknown group is refused", () => {
  const long = join(directory, "x".repeat(120));
  assert.throws(() => listen({}, { path: long }), /at most 107 bytes/);
  assert.throws(() => listen({}, { group: "no-such-group-here" }), /no-such-group-here/);
});
