/** The sockets of the upstream client against servers on loopback: spec/resolver.md 4.2, 4.4. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { parseIp } from "../../src/base/ip.js";
import type { UpstreamOptions, UpstreamResult, UpstreamServer } from "../../src/dns/ports.js";
import { UpstreamGroup } from "../../src/dns/upstream/group.js";
import type { DatagramExchange, DatagramReceiver } from "../../src/dns/upstream/transport.js";
import { monotonicMs } from "../../src/platform/clock.js";
import { DnsDatagrams } from "../../src/platform/dns-upstream-datagram.js";
import { DnsStreams } from "../../src/platform/dns-upstream-stream.js";
import { systemRandom } from "../../src/platform/random.js";
import { Reactor } from "../../src/platform/reactor.js";
import { Name, nameOf } from "../../src/wire/dns/name.js";

const reactor = new Reactor();
const cleanups: (() => void)[] = [];
after(() => {
  for (const cleanup of cleanups) cleanup();
  reactor.close();
});

function transport(socketsMax?: number): DnsDatagrams {
  const datagrams = new DnsDatagrams(reactor, socketsMax);
  cleanups.push(() => datagrams.close());
  return datagrams;
}

/** A UDP server that hands each question to `serve`. */
async function udpServer(
  serve: (message: Buffer, from: RemoteInfo, socket: UdpSocket) => void,
  host = "127.0.0.1",
): Promise<number> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  socket.on("message", (message, from) => serve(message, from, socket));
  socket.bind(0, host);
  await once(socket, "listening");
  cleanups.push(() => socket.close());
  return socket.address().port;
}

/** A reply with one A record: the question, then the record, without OPT. */
function replyTo(question: Buffer): Buffer {
  let end = 12;
  while (question[end] !== 0) end += 1 + question[end]!;
  const head = Buffer.from(question.subarray(0, end + 5));
  head.writeUInt16BE(0x8180, 2);
  head.writeUInt16BE(1, 6);
  head.writeUInt32BE(0, 8);
  return Buffer.concat([
    head,
    Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]),
  ]);
}

const OPTIONS: UpstreamOptions = {
  policy: "sequential",
  isTcpForced: false,
  maxFails: 0,
  expireMs: 10_000,
  healthCheckMs: 500,
  healthCheckName: Name.ROOT,
  isHealthCheckRecursive: true,
  concurrentMax: 10_000,
  isFailfast: false,
  isRefusalRetried: false,
  tls: undefined,
};

function group(
  servers: readonly UpstreamServer[],
  options: Partial<UpstreamOptions> = {},
  datagrams: DnsDatagrams = transport(),
): UpstreamGroup {
  const made = new UpstreamGroup(
    servers,
    { ...OPTIONS, ...options },
    {
      clock: { monotonicMs, unixMs: Date.now },
      timers: {
        after(delayMs, action) {
          const timer = setTimeout(action, delayMs);
          return () => clearTimeout(timer);
        },
      },
      random: systemRandom(),
      log: { isDebug: false, write: () => {} },
      metrics: { count: () => {}, observe: () => {}, gauge: () => {} },
      datagrams,
      streams: new DnsStreams(),
    },
  );
  cleanups.push(() => made.stop());
  return made;
}

function serverAt(port: number, parts: Partial<UpstreamServer> = {}, host = "127.0.0.1") {
  const endpoint = { address: parseIp(host)!, port };
  return { endpoint, transport: "dns" as const, tlsServerName: undefined, ...parts };
}

function ask(upstream: UpstreamGroup, name: string): Promise<UpstreamResult> {
  return upstream.ask({
    name: nameOf(name),
    type: 1,
    isRecursionDesired: true,
    isCheckingDisabled: false,
    isDnssecOk: false,
    budgetMs: 4000,
  });
}

function addressOf(result: UpstreamResult): string {
  assert(result.ok, result.ok ? "" : `${result.failure}: ${result.detail}`);
  return result.message.answer.map(({ data }) => data.join(".")).join(" ");
}

for (const host of ["127.0.0.1", "::1"]) {
  test(`each question to ${host} has a source port of its own, taken by the kernel`, async () => {
    const ports: number[] = [];
    const port = await udpServer((message, from, socket) => {
      ports.push(from.port);
      socket.send(replyTo(message), from.port, from.address);
    }, host);
    const datagrams = transport();
    const upstream = group([serverAt(port, {}, host)], {}, datagrams);
    for (let round = 0; round < 100; round++) {
      assert.equal(addressOf(await ask(upstream, `h${round}.example.`)), "192.0.2.1");
    }
    assert.equal(datagrams.socketCount, 1, "one socket served them all");
    assert(new Set(ports).size > 95, `${new Set(ports).size} ports for 100 questions`);
    const steps = ports.slice(1).map((one, index) => Math.abs(one - ports[index]!));
    assert(Math.max(...steps) > 1000, "ports jump");
  });
}

test("a socket at rest has no port: what comes late is refused by the kernel", async () => {
  let last: RemoteInfo | undefined;
  const port = await udpServer((message, from, socket) => {
    last = from;
    socket.send(replyTo(message), from.port, from.address);
  });
  const upstream = group([serverAt(port)]);
  await ask(upstream, "a.example.");
  const probe = createSocket("udp4");
  cleanups.push(() => probe.close());
  probe.connect(last!.port, "127.0.0.1");
  await once(probe, "connect");
  probe.send("late");
  const [error] = await once(probe, "error");
  assert.equal((error as NodeJS.ErrnoException).code, "ECONNREFUSED");
});

test("a datagram from another source does not arrive at all", async () => {
  const liar = createSocket("udp4");
  liar.bind(0, "127.0.0.1");
  await once(liar, "listening");
  cleanups.push(() => liar.close());
  const port = await udpServer((message, from, socket) => {
    const forged = replyTo(message);
    forged[forged.length - 1] = 66;
    liar.send(forged, from.port, from.address, () => {
      setTimeout(() => socket.send(replyTo(message), from.port, from.address), 20);
    });
  });
  assert.equal(addressOf(await ask(group([serverAt(port)]), "a.example.")), "192.0.2.1");
});

test("a port where nobody listens fails at once by ICMP", async () => {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  const startMs = monotonicMs();
  const result = await ask(group([serverAt(port)]), "a.example.");
  assert.match(result.ok ? "" : result.detail, /ECONNREFUSED/);
  assert(monotonicMs() - startMs < 390, "not by time-out");
});

test("an address without route fails at once", async () => {
  // 240.0.0.0/4 is reserved; Linux has no route to it, or refuses it (RFC 1112 4).
  const result = await ask(group([serverAt(53, {}, "255.255.255.255")]), "a.example.");
  assert.match(result.ok ? "" : result.detail, /EACCES|ENETUNREACH/);
});

test("a lying server on loopback: ten kinds of nonsense, then the right reply", async () => {
  const port = await udpServer((message, from, socket) => {
    const send = (bytes: Buffer) => socket.send(bytes, from.port, from.address);
    const right = replyTo(message);
    const wrong = (offset: number, bits: number): Buffer => {
      const copy = Buffer.from(right);
      copy[offset]! ^= bits;
      return copy;
    };
    send(Buffer.alloc(0));
    send(Buffer.from([1, 2, 3]));
    send(wrong(0, 1));
    send(wrong(2, 0x80));
    send(wrong(2, 0x08));
    send(wrong(5, 1));
    send(wrong(13, 0x20));
    send(wrong(13, 0x01));
    send(Buffer.from(message));
    setTimeout(() => send(right), 10);
  });
  assert.equal(addressOf(await ask(group([serverAt(port)]), "abc.example.")), "192.0.2.1");
});

test("a reply of 60,000 octets over UDP is read whole", async () => {
  const port = await udpServer((message, from, socket) => {
    const one = replyTo(message);
    const record = one.subarray(one.length - 16);
    const head = Buffer.from(one.subarray(0, one.length - 16));
    head.writeUInt16BE(3740, 6);
    const records = Buffer.concat(Array.from({ length: 3740 }, () => record));
    socket.send(Buffer.concat([head, records]), from.port, from.address);
  });
  const result = await ask(group([serverAt(port)]), "a.example.");
  assert(result.ok);
  assert.equal(result.message.answer.length, 3740);
});

test("5,000 exchanges at once get their own datagrams and leave at most 1,024 sockets", async () => {
  const waiting: (() => void)[] = [];
  const port = await udpServer((message, from, socket) => {
    waiting.push(() => socket.send(message, from.port, from.address));
  });
  const datagrams = transport(6000);
  const target = datagrams.target(serverAt(port).endpoint);
  const exchanges: DatagramExchange[] = [];
  const received: number[] = [];
  const turn = () => new Promise((done) => setImmediate(done));
  while (exchanges.length < 5000) {
    const index = exchanges.length;
    const exchange = target.open({
      onDatagram: (bytes, length) => {
        assert.equal(length, 4);
        received[index] = Buffer.from(bytes).readUInt32BE(0);
      },
      onRefused: (detail) => assert.fail(detail),
    });
    assert(typeof exchange !== "string", `${exchange}`);
    exchanges.push(exchange);
    Buffer.from(exchange.message.buffer, exchange.message.byteOffset, 4).writeUInt32BE(index);
    assert.equal(exchange.send(4), undefined);
    // The server's receive buffer holds a few hundred.
    while (waiting.length < exchanges.length - 50) await turn();
  }
  assert.equal(datagrams.socketCount, 5000);
  while (waiting.length < 5000) await turn();
  for (const send of waiting) send();
  while (Object.keys(received).length < 5000) await turn();
  assert(received.every((value, index) => value === index));
  for (const exchange of exchanges) exchange.release();
  assert(datagrams.socketCount <= 1024, `${datagrams.socketCount} sockets`);
});

test("above the limit of sockets a question fails instead of opening more", async () => {
  const datagrams = transport(2);
  const port = await udpServer(() => {});
  const receiver: DatagramReceiver = { onDatagram: () => {}, onRefused: () => {} };
  const target = datagrams.target(serverAt(port).endpoint);
  const open = [target.open(receiver), target.open(receiver), target.open(receiver)];
  assert.equal(open[2], "EMFILE");
  for (const one of open.slice(0, 2)) (one as DatagramExchange).release();
  assert.notEqual(typeof target.open(receiver), "string");
});

/** Answers every framed question; keeps sockets for the clean-up. */
function serveStream(socket: Socket): void {
  let buffer = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    buffer = Buffer.concat([buffer, chunk]);
    while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE(0)) {
      const end = 2 + buffer.readUInt16BE(0);
      const reply = replyTo(buffer.subarray(2, end));
      const prefix = Buffer.alloc(2);
      prefix.writeUInt16BE(reply.length);
      // Three writes: framing must not depend on segments.
      socket.write(prefix.subarray(0, 1));
      socket.write(Buffer.concat([prefix.subarray(1), reply.subarray(0, 5)]));
      socket.write(reply.subarray(5));
      buffer = buffer.subarray(end);
    }
  });
}

async function listen(server: Server, port = 0): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => sockets.add(socket));
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as { port: number }).port;
}

test("TC over UDP leads to TCP on the same port", async () => {
  let isAsked = false;
  const port = await udpServer((message, from, socket) => {
    isAsked = true;
    const reply = replyTo(message).subarray(0, -16);
    reply.writeUInt16BE(0x8380, 2);
    reply.writeUInt16BE(0, 6);
    socket.send(reply, from.port, from.address);
  });
  await listen(createTcpServer(serveStream), port);
  assert.equal(addressOf(await ask(group([serverAt(port)]), "a.example.")), "192.0.2.1");
  assert(isAsked);
});

test("force_tcp pipelines 500 questions over at most four connections", async () => {
  let connectionCount = 0;
  const server = createTcpServer((socket) => {
    connectionCount++;
    serveStream(socket);
  });
  const port = await listen(server);
  const upstream = group([serverAt(port)], { isTcpForced: true });
  const asked = Array.from({ length: 500 }, (_, index) => ask(upstream, `h${index}.example.`));
  for (const result of await Promise.all(asked)) assert.equal(addressOf(result), "192.0.2.1");
  assert(connectionCount >= 1 && connectionCount <= 4, `${connectionCount} connections`);
});

test("a refused TCP connection is a failure with its name", async () => {
  const server = createTcpServer();
  const port = await listen(server);
  server.close();
  await once(server, "close");
  const result = await ask(group([serverAt(port)], { isTcpForced: true }), "a.example.");
  assert.match(result.ok ? "" : result.detail, /ECONNREFUSED/);
});

/** A certificate of our own for a name or an address, made by openssl. */
function certificate(subjectAltName: string) {
  const directory = mkdtempSync(join(tmpdir(), "dns-upstream-"));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const keyPath = join(directory, "key.pem");
  const certificatePath = join(directory, "certificate.pem");
  const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  const output = ["-nodes", "-keyout", keyPath, "-out", certificatePath, "-days", "2"];
  const subject = ["-subj", "/CN=test", "-addext", `subjectAltName=${subjectAltName}`];
  execFileSync("openssl", [...request, ...output, ...subject], {
    stdio: "ignore",
    timeout: 20_000,
  });
  const key = readFileSync(keyPath);
  return { authorityPath: certificatePath, key, cert: readFileSync(certificatePath) };
}

async function tlsServer(subjectAltName: string) {
  const { authorityPath, key, cert } = certificate(subjectAltName);
  const server = createTlsServer({ key, cert, ALPNProtocols: ["dot"] }, serveStream);
  const port = await listen(server);
  const tls = { authorityPath, certificatePath: undefined, keyPath: undefined };
  return { port, tls };
}

test("tls:// asks over TLS and checks the certificate's name", async () => {
  const { port, tls } = await tlsServer("DNS:dns.example.com");
  const named = serverAt(port, { transport: "tls", tlsServerName: "dns.example.com" });
  const upstream = group([named], { tls });
  const asked = Array.from({ length: 50 }, (_, index) => ask(upstream, `h${index}.example.`));
  for (const result of await Promise.all(asked)) assert.equal(addressOf(result), "192.0.2.1");
  const other = serverAt(port, { transport: "tls", tlsServerName: "other.example.com" });
  const wrong = await ask(group([other], { tls }), "a.example.");
  assert.equal(wrong.ok, false, "another name");
  assert.match(wrong.ok ? "" : wrong.detail, /does not match/);
});

test("tls:// without a name needs the address in the certificate", async () => {
  const { port, tls } = await tlsServer("IP:127.0.0.1");
  const server = serverAt(port, { transport: "tls" });
  assert.equal(addressOf(await ask(group([server], { tls }), "a.example.")), "192.0.2.1");
  const untrusted = await ask(group([server]), "a.example.");
  assert.match(untrusted.ok ? "" : untrusted.detail, /self-signed certificate/);
  const named = await tlsServer("DNS:dns.example.com");
  const nameless = serverAt(named.port, { transport: "tls" });
  const mismatch = await ask(group([nameless], { tls: named.tls }), "a.example.");
  assert.equal(mismatch.ok, false, "no address in the certificate");
});

test("tls:// with a certificate file that is gone is a failure, not an exception", async () => {
  const tls = { authorityPath: "/nowhere", certificatePath: undefined, keyPath: undefined };
  const result = await ask(group([serverAt(1, { transport: "tls" })], { tls }), "a.example.");
  assert.match(result.ok ? "" : result.detail, /ENOENT/);
});
