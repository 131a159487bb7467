/** The HTTP port for pages: what it answers, and how little a hostile caller gets. */

import assert from "node:assert/strict";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { HttpEndpoint, type HttpReply } from "../../src/platform/http-endpoint.js";
import { openMonitoringPort } from "../../src/platform/monitoring-port.js";

const LOOPBACK = parseIp("127.0.0.1")!;
const PAGES = new Map<string, () => HttpReply | Promise<HttpReply>>([
  ["/metrics", () => ({ status: 200, contentType: "text/plain", body: "m 1\n" })],
  ["/slow", async () => ({ status: 503, contentType: "application/json", body: "{}" })],
  ["/broken", () => Promise.reject(new Error("secret"))],
]);

async function open(): Promise<HttpEndpoint> {
  return await HttpEndpoint.open({ address: LOOPBACK, port: 0 }, PAGES, () => true);
}

function ask(port: number, path: string, method = "GET") {
  return new Promise<{ status: number; body: string; length: string | undefined }>(
    (resolve, reject) => {
      const question = request(
        { host: "127.0.0.1", port, path, method, agent: false },
        (answer) => {
          let body = "";
          answer.setEncoding("utf8");
          answer.on("data", (piece: string) => {
            body += piece;
          });
          answer.on("end", () => {
            const { "content-length": length } = answer.headers;
            resolve({ status: answer.statusCode ?? 0, body, length });
          });
        },
      );
      question.on("error", reject);
      question.end();
    },
  );
}

/** Resolves to what the server wrote until it closed the connection. */
function closing(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("latin1");
  socket.on("data", (piece: string) => {
    text += piece;
  });
  socket.on("error", () => undefined);
  return new Promise((resolve) => socket.on("close", () => resolve(text)));
}

test("pages, unknown paths, other methods, errors of a page", async () => {
  const endpoint = await open();
  const { port } = endpoint;
  assert.deepEqual(await ask(port, "/metrics?x=1"), { status: 200, body: "m 1\n", length: "4" });
  assert.deepEqual(await ask(port, "/metrics", "HEAD"), { status: 200, body: "", length: "4" });
  assert.equal((await ask(port, "/slow")).status, 503);
  assert.equal((await ask(port, "/nothing")).status, 404);
  assert.equal((await ask(port, "/metrics", "POST")).status, 405);
  const broken = await ask(port, "/broken");
  assert.equal(broken.status, 500);
  assert.doesNotMatch(broken.body, /secret/);
  endpoint.close();
});

test("long headers and long bodies are not read", async () => {
  const endpoint = await open();
  const header = connect(endpoint.port, "127.0.0.1");
  header.write(`GET /metrics HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(10_000)}\r\n\r\n`);
  assert.match(await closing(header), /^HTTP\/1\.1 431 /);
  const body = connect(endpoint.port, "127.0.0.1");
  body.write("GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nabc");
  assert.match(await closing(body), /^HTTP\/1\.1 200 OK/);
  const garbage = connect(endpoint.port, "127.0.0.1");
  garbage.write("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n");
  assert.match(await closing(garbage), /^HTTP\/1\.1 400 /);
  endpoint.close();
});

test("callers that stop or trickle their requests are cut off", { timeout: 30_000 }, async () => {
  const endpoint = await open();
  const head = "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Sl";
  const startMs = performance.now();
  const [silent, slow] = [0, 1].map(() => connect(endpoint.port, "127.0.0.1"));
  for (const socket of [silent!, slow!]) socket.write(head);
  const trickle = setInterval(() => slow!.write("o"), 1000);
  await closing(silent!);
  assert.ok(performance.now() - startMs < 7000, "silence");
  await closing(slow!);
  clearInterval(trickle);
  assert.ok(performance.now() - startMs < 17_000, "a trickle");
  endpoint.close();
});

test("idle connections are bounded; others are served all the same", async () => {
  const endpoint = await open();
  const sockets = Array.from({ length: 80 }, () => connect(endpoint.port, "127.0.0.1"));
  let closed = 0;
  for (const socket of sockets) {
    socket.on("error", () => undefined);
    socket.on("close", () => closed++);
  }
  const deadline = Date.now() + 5000;
  while (closed < 16 && Date.now() < deadline) await new Promise((go) => setTimeout(go, 10));
  assert.equal(closed, 16, "64 connections stay");
  sockets.find((socket) => !socket.destroyed)!.destroy();
  await new Promise((go) => setTimeout(go, 50));
  assert.equal((await ask(endpoint.port, "/metrics")).status, 200);
  for (const socket of sockets) socket.destroy();
  endpoint.close();
});

test("a port that is taken is refused with the address and a way out", async () => {
  const endpoint = await open();
  const where = { address: LOOPBACK, port: endpoint.port };
  await assert.rejects(openMonitoringPort(where, PAGES), /127\.0\.0\.1/);
  endpoint.close();
  const again = await openMonitoringPort(where, PAGES);
  assert.equal((await ask(where.port, "/metrics")).body, "m 1\n");
  again.close();
});
