/** DNS over TCP (RFC 7766, spec/resolver.md 6.4), on the loopback interface. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, it } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { SILENT } from "../../src/dns/answer.js";
import type { Listener } from "../../src/dns/server/listeners.js";
import { Routes } from "../../src/dns/server/routes.js";
import type { Incoming } from "../../src/dns/server/server.js";
import {
  ConnectionLimits,
  type StreamHandler,
  TcpListener,
} from "../../src/platform/dns-server-tcp.js";

const LISTENER: Listener = {
  address: parseIp("127.0.0.1")!,
  port: 0,
  interfaceName: undefined,
  isExplicit: true,
  routes: new Routes(),
};

const PATIENT = { readMs: 3000, writeMs: 5000, idleMs: 10_000 };

type Receive = (request: Buffer, incoming: Incoming, target: Uint8Array) => number;

const echo: Receive = (request, _incoming, target) => {
  target.set(request);
  return request.length;
};

function handlerOf(receive: Receive, timeouts = PATIENT): StreamHandler {
  return {
    timeouts,
    listenerAt: () => LISTENER,
    receive: (request, length, incoming, target) =>
      receive(Buffer.from(request.subarray(0, length)), incoming, target),
    limitReply: (_reply, length) => length,
  };
}

interface World {
  readonly listener: TcpListener;
  readonly limits: ConnectionLimits;
  open(): Promise<Socket>;
}

async function withServer(
  handler: StreamHandler,
  work: (world: World) => Promise<void>,
): Promise<void> {
  const limits = new ConnectionLimits();
  const where = { address: parseIp("127.0.0.1")!, port: 0, scope: undefined };
  const listener = await TcpListener.open(where, handler, limits);
  const sockets: Socket[] = [];
  const open = async (): Promise<Socket> => {
    const socket = connect({ host: "127.0.0.1", port: listener.port });
    sockets.push(socket);
    socket.on("error", () => undefined);
    await once(socket, "connect");
    return socket;
  };
  try {
    await work({ listener, limits, open });
  } finally {
    for (const socket of sockets) socket.destroy();
    listener.close();
  }
}

function framed(text: string | Buffer): Buffer {
  const body = Buffer.from(text);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(body.length);
  return Buffer.concat([length, body]);
}

/** Collects `count` messages, or fewer when the connection ends or 3 s pass. */
function messages(socket: Socket, count: number): Promise<string[]> {
  return new Promise((resolve) => {
    let buffer: Buffer = Buffer.alloc(0);
    const found: string[] = [];
    const finish = () => {
      clearTimeout(timer);
      resolve(found);
    };
    const timer = setTimeout(finish, 3000);
    socket.on("data", (chunk: Buffer) => {
      buffer = Buffer.concat([buffer, chunk]);
      while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE(0)) {
        const end = 2 + buffer.readUInt16BE(0);
        found.push(buffer.subarray(2, end).toString());
        buffer = buffer.subarray(end);
      }
      if (found.length >= count) finish();
    });
    socket.on("close", finish);
  });
}

async function closedWithin(socket: Socket, ms: number): Promise<number | undefined> {
  const start = Date.now();
  socket.resume();
  try {
    await once(socket, "close", { signal: AbortSignal.timeout(ms) });
    return Date.now() - start;
  } catch {
    return undefined;
  }
}

describe("TcpListener", () => {
  it("answers two questions of one segment", async () => {
    await withServer(handlerOf(echo), async ({ open }) => {
      const socket = await open();
      socket.write(Buffer.concat([framed("one"), framed("two")]));
      assert.deepEqual(await messages(socket, 2), ["one", "two"]);
    });
  });

  it("answers a question that comes octet by octet", async () => {
    await withServer(handlerOf(echo), async ({ open }) => {
      const socket = await open();
      socket.setNoDelay(true);
      const found = messages(socket, 1);
      for (const octet of framed("slowly")) {
        socket.write(Buffer.of(octet));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      assert.deepEqual(await found, ["slowly"]);
    });
  });

  it("answers a fast question before a slow one that came first", async () => {
    const receive: Receive = (request, incoming, target) => {
      if (!request.toString().startsWith("slow")) return echo(request, incoming, target);
      setTimeout(() => incoming.deliver(request), 100);
      return -1;
    };
    await withServer(handlerOf(receive), async ({ open }) => {
      const socket = await open();
      socket.write(Buffer.concat([framed("slow"), framed("fast")]));
      assert.deepEqual(await messages(socket, 2), ["fast", "slow"]);
    });
  });

  it("answers everything after the client has closed its sending side, then closes", async () => {
    const receive: Receive = (request, incoming) => {
      setTimeout(() => incoming.deliver(request), 50);
      return -1;
    };
    await withServer(handlerOf(receive), async ({ open, limits }) => {
      const socket = await open();
      const found = messages(socket, 3);
      socket.end(Buffer.concat([framed("a"), framed("b")]));
      assert.deepEqual(await found, ["a", "b"]);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(limits.count, 0);
    });
  });

  it("leaves no more than 100 questions outstanding and answers the rest afterwards", async () => {
    const waiting: (() => void)[] = [];
    let most = 0;
    const receive: Receive = (request, incoming) => {
      waiting.push(() => incoming.deliver(request));
      most = Math.max(most, waiting.length);
      return -1;
    };
    await withServer(handlerOf(receive), async ({ open }) => {
      const socket = await open();
      const found = messages(socket, 250);
      for (let index = 0; index < 250; index++) socket.write(framed(`q${index}`));
      await new Promise((resolve) => setTimeout(resolve, 200));
      assert.equal(waiting.length, 100);
      const timer = setInterval(() => waiting.shift()?.(), 1);
      const replies = await found;
      clearInterval(timer);
      assert.equal(new Set(replies).size, 250);
      assert.equal(most, 100);
    });
  });

  it("sends messages of 65,535 octets", async () => {
    const big = Buffer.alloc(65_535, 0x61);
    const receive: Receive = (_request, _incoming, target) => {
      target.set(big);
      return big.length;
    };
    await withServer(handlerOf(receive), async ({ open }) => {
      const socket = await open();
      socket.write(framed("big"));
      assert.deepEqual(await messages(socket, 1), [big.toString()]);
    });
  });

  it("streams many messages to a slow reader without holding them all", async () => {
    let made = 0;
    let isClosed = false;
    const receive: Receive = (_request, incoming) => {
      incoming.deliverStream({
        ...SILENT,
        kind: "stream",
        nextInto: (target) => {
          if (made === 2000) return 0;
          target.fill(0x62, 0, 16_000);
          made++;
          return 16_000;
        },
        close: () => {
          isClosed = true;
        },
      });
      return -1;
    };
    await withServer(handlerOf(receive), async ({ open }) => {
      const socket = await open();
      socket.pause();
      socket.write(framed("transfer"));
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.ok(made > 0 && made < 1000, `${made} messages made for a client that reads nothing`);
      const found = messages(socket, 2000);
      socket.resume();
      assert.equal((await found).length, 2000);
      assert.ok(isClosed);
      socket.write(framed("transfer"));
    });
  });

  it("ends a stream when its client goes away", async () => {
    let isClosed = false;
    const receive: Receive = (_request, incoming) => {
      incoming.deliverStream({
        ...SILENT,
        kind: "stream",
        nextInto: (target) => target.fill(1, 0, 60_000).length && 60_000,
        close: () => {
          isClosed = true;
        },
      });
      return -1;
    };
    await withServer(handlerOf(receive), async ({ open, limits }) => {
      const socket = await open();
      socket.write(framed("transfer"));
      await new Promise((resolve) => setTimeout(resolve, 100));
      socket.destroy();
      for (let wait = 0; !isClosed && wait < 100; wait++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.ok(isClosed);
      assert.equal(limits.count, 0);
    });
  });

  it("closes a connection that says nothing, that is idle, and that stops in a message", async () => {
    const timeouts = { readMs: 150, writeMs: 1000, idleMs: 400 };
    await withServer(handlerOf(echo, timeouts), async ({ open }) => {
      const mute = await open();
      const trickling = await open();
      const idle = await open();
      trickling.write(framed("a message").subarray(0, 5));
      const trickle = setInterval(() => trickling.write("x"), 60);
      idle.write(framed("hello"));
      const times = await Promise.all(
        [mute, trickling, idle].map((one) => closedWithin(one, 2000)),
      );
      clearInterval(trickle);
      assert.ok(times[0]! >= 100 && times[0]! < 390, `mute ${times[0]}`);
      assert.ok(times[1] !== undefined && times[1] < 1000, `trickling ${times[1]}`);
      assert.ok(times[2]! >= 350 && times[2]! < 1500, `idle ${times[2]}`);
    });
  });

  it("refuses the seventeenth connection of one source", async () => {
    await withServer(handlerOf(echo), async ({ open, limits }) => {
      const sockets: Socket[] = [];
      for (let index = 0; index < 16; index++) sockets.push(await open());
      const surplus = await open();
      assert.notEqual(await closedWithin(surplus, 1000), undefined);
      assert.equal(limits.count, 16);
      assert.equal(limits.refused, 1);
      sockets[3]!.write(framed("still here"));
      assert.deepEqual(await messages(sockets[3]!, 1), ["still here"]);
    });
  });

  it("survives connections that are reset at any moment", async () => {
    const receive: Receive = (request, incoming) => {
      setTimeout(() => incoming.deliver(request), 5);
      return -1;
    };
    await withServer(handlerOf(receive), async ({ open, limits }) => {
      for (let index = 0; index < 40; index++) {
        const socket = await open();
        socket.write(framed("x".repeat(index * 20)));
        if (index % 2 === 0) socket.resetAndDestroy();
        else socket.destroy();
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
      assert.equal(limits.count, 0);
      const socket = await open();
      socket.write(framed("alive"));
      assert.deepEqual(await messages(socket, 1), ["alive"]);
    });
  });
});
