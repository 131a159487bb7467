/** The control socket: questions, streams, refusals, hostile callers. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import type { ControlHandler } from "../../src/control/inspection/api.js";
import { jsonReply, textReply } from "../../src/control/inspection/api.js";
import { ControlUnavailable, callControl } from "../../src/platform/control-client.js";
import { startControlServer } from "../../src/platform/control-server.js";

const execute = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "ipref-control-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
let nextName = 0;
const freshPath = () => join(folder, `${nextName++}.control`);

async function withServer(
  routes: readonly (readonly [string, ControlHandler])[],
  work: (path: string) => Promise<void>,
): Promise<void> {
  const path = freshPath();
  const server = await startControlServer({ path, group: undefined, routes: new Map(routes) });
  try {
    await work(path);
  } finally {
    server.close();
  }
  assert.equal(existsSync(path), false, "the socket file is removed");
}

test("a question reaches its handler with query, body and caller", async () => {
  const handler: ControlHandler = ({ query, body, caller }) =>
    jsonReply({ limit: query.get("limit"), bytes: [...body], pid: caller.pid, uid: caller.uid });
  await withServer([["POST /ask", handler]], async (path) => {
    const answer = await callControl(path, {
      method: "POST",
      path: "/ask",
      query: { limit: "5 & 6" },
      body: new Uint8Array([0, 255]),
    });
    const expected = {
      ...{ limit: "5 & 6", bytes: [0, 255] },
      ...{ pid: process.pid, uid: process.geteuid!() },
    };
    assert.deepEqual([answer.status, await answer.json()], [200, expected]);
  });
});

test("a long answer is streamed, and its maker hears that the caller has gone", async () => {
  let isAborted = false;
  const endless: ControlHandler = ({ signal }) => ({
    status: 200,
    contentType: "text/plain",
    body: (async function* () {
      signal.addEventListener("abort", () => {
        isAborted = true;
      });
      while (!signal.aborted) yield "x".repeat(65_536);
    })(),
  });
  await withServer([["GET /stream", endless]], async (path) => {
    const gone = new AbortController();
    const answer = await callControl(path, { path: "/stream", signal: gone.signal });
    let bytes = 0;
    await assert.rejects(async () => {
      for await (const piece of answer.stream()) {
        bytes += piece.length;
        if (bytes > 2 ** 20) gone.abort();
      }
    });
    assert.ok(bytes > 2 ** 20);
    const deadline = Date.now() + 5000;
    while (!isAborted && Date.now() < deadline) await new Promise((r) => setTimeout(r, 10));
    assert.equal(isAborted, true);
  });
});

test("for a caller that does not read, little is made; when it goes, no more", async () => {
  let pieces = 0;
  let isEnded = false;
  const endless: ControlHandler = () => ({
    status: 200,
    contentType: "text/plain",
    body: (async function* () {
      try {
        for (;;) {
          pieces++;
          yield "x".repeat(65_536);
        }
      } finally {
        isEnded = true;
      }
    })(),
  });
  await withServer([["GET /stream", endless]], async (path) => {
    const socket = createConnection(path);
    socket.pause();
    socket.write("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.ok(pieces > 0 && pieces < 32, `${pieces} pieces of 64 KiB`);
    socket.destroy();
    for (let count = 0; count < 100 && !isEnded; count++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(isEnded, true);
  });
});

test("questions sent all at once are answered one to a connection", async () => {
  let count = 0;
  const counted: ControlHandler = () => textReply(String(++count));
  await withServer([["GET /count", counted]], async (path) => {
    const socket = createConnection(path);
    socket.write("GET /count HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000));
    for await (const _ of socket.on("error", () => undefined));
    assert.equal(count, 1);
  });
});

test("a path that is none is refused", async () => {
  await withServer([["GET /status", () => textReply("fine")]], async (path) => {
    const answer = await callControl(path, { path: "//" });
    assert.deepEqual(
      [answer.status, await answer.json()],
      [400, { error: "The path of the question is none", fix: "" }],
    );
  });
});

test("an answer that breaks off, is too long or is no JSON has exit status 69", async () => {
  const broken: ControlHandler = () => ({
    status: 200,
    contentType: "text/plain",
    body: (async function* () {
      yield "beginning";
      throw new Error("out of order");
    })(),
  });
  const slow: ControlHandler = ({ signal }) => ({
    status: 200,
    contentType: "text/plain",
    body: (async function* () {
      while (!signal.aborted) {
        yield "x";
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })(),
  });
  const routes = [
    ["GET /broken", broken],
    ["GET /long", () => textReply("x".repeat(100_000))],
    ["GET /slow", slow],
  ] as const;
  await withServer(routes, async (path) => {
    const refusedWith = (message: RegExp) => (error: unknown) => {
      assert.ok(error instanceof ControlUnavailable);
      assert.equal(error.exitStatus, 69);
      assert.match(error.message, message);
      return true;
    };
    const ask = (question: string) => callControl(path, { path: question });
    await assert.rejects(async () => (await ask("/broken")).text(), refusedWith(/ broke off$/));
    await assert.rejects(async () => (await ask("/long")).text(1000), refusedWith(/ is too long$/));
    await assert.rejects(
      async () => (await ask("/slow")).text(100, 500),
      refusedWith(/ broke off$/),
    );
    await assert.rejects(async () => (await ask("/long")).json(), refusedWith(/ is no JSON$/));
  });
});

test("an unknown question is answered 404 with the known ones, a broken handler 500", async () => {
  const broken: ControlHandler = () => {
    throw new Error("out of order");
  };
  await withServer([["GET /broken", broken]], async (path) => {
    const unknown = await callControl(path, { path: "/nothing" });
    assert.equal(unknown.status, 404);
    assert.match(await unknown.text(), /There is no GET \/nothing here.*GET \/broken/);
    const failed = await callControl(path, { path: "/broken" });
    assert.deepEqual(
      [failed.status, await failed.json()],
      [500, { error: "Internal error: out of order", fix: "" }],
    );
  });
});

test("a body beyond 256 KiB is refused", async () => {
  await withServer([["POST /ask", () => textReply("taken")]], async (path) => {
    const body = new Uint8Array(300_000);
    const answer = await callControl(path, { method: "POST", path: "/ask", body });
    assert.equal(answer.status, 413);
  });
});

test("garbage and half a question harm nobody", async () => {
  await withServer([["GET /status", () => textReply("fine")]], async (path) => {
    for (const garbage of ["\0\xff\x80 nonsense\r\n\r\n", "GET /status HTTP/1.1\r\nHost: x"]) {
      const socket = createConnection(path);
      socket.on("error", () => undefined);
      socket.write(garbage, "latin1");
      const answer = await callControl(path, { path: "/status" });
      assert.equal(await answer.text(), "fine");
      socket.destroy();
    }
  });
});

test("a socket file that nobody serves is replaced, one that is served is not", async () => {
  const path = freshPath();
  const dead = await startControlServer({ path, group: undefined, routes: new Map() });
  await assert.rejects(
    startControlServer({ path, group: undefined, routes: new Map() }),
    /another process serves it/,
  );
  dead.close();
  writeFileSync(path, "");
  await assert.rejects(startControlServer({ path, group: undefined, routes: new Map() }), /exists/);
  rmSync(path);
});

test("nobody there, and no permission, have their own exit status and say what to do", async () => {
  const absent = freshPath();
  await assert.rejects(callControl(absent, { path: "/status" }), (error: unknown) => {
    assert.ok(error instanceof ControlUnavailable);
    assert.equal(error.exitStatus, 4);
    assert.match(error.message, /start the system with sudo ipref up/);
    return true;
  });
});

test("another user is refused with 403 although the file's mode would let him in", {
  skip: process.geteuid?.() !== 0 && "needs root",
}, async () => {
  await withServer([["GET /status", () => textReply("secret")]], async (path) => {
    assert.equal(statSync(path).mode & 0o777, 0o660);
    chmodSync(path, 0o666);
    chmodSync(folder, 0o755);
    const script =
      "const h=require('node:http');h.get({socketPath:process.argv[1],path:'/status'}," +
      "r=>{let t='';r.on('data',d=>t+=d).on('end',()=>console.log(r.statusCode,t))})";
    const setpriv = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    const words = [...setpriv, process.execPath, "-e", script, path];
    const { stdout } = await execute("setpriv", words, { timeout: 20_000 });
    assert.match(stdout, /^403 .*You may not ask.*run the command as root/);
  });
});

test("a user of the group with very many connections keeps nobody else out", {
  skip: process.geteuid?.() !== 0 && "needs root",
}, async () => {
  const path = freshPath();
  const routes = new Map<string, ControlHandler>([["GET /status", () => textReply("fine")]]);
  const server = await startControlServer({ path, group: "65534", routes });
  try {
    chmodSync(folder, 0o755);
    // 40 connections that stay open; those beyond 24 that ask are told that there are too many.
    const script =
      "const n=require('node:net');const all=[];const texts=[];" +
      "for(let i=0;i<40;i++){const s=n.connect(process.argv[1]);all.push(s);texts.push('');" +
      "s.on('error',()=>{});s.on('data',d=>texts[i]+=d)}" +
      "setTimeout(()=>{all[26].write('GET /status HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')},300);" +
      "setTimeout(()=>console.log(JSON.stringify([texts[26].slice(0,12)," +
      "all.filter(s=>s.destroyed).length])),1000);setTimeout(()=>process.exit(),2500)";
    const setpriv = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    const words = [...setpriv, process.execPath, "-e", script, path];
    const running = execute("setpriv", words, { timeout: 20_000 });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const answer = await callControl(path, { path: "/status" });
    assert.equal(await answer.text(), "fine");
    const [text, closed] = JSON.parse((await running).stdout) as [string, number];
    assert.deepEqual([text, closed], ["HTTP/1.1 503", 12]);
  } finally {
    server.close();
  }
});
