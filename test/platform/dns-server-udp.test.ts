/** The UDP sockets of the DNS server, on the loopback interface. */

import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { describe, it } from "node:test";
import { formatIp, parseIp } from "../../src/base/ip.js";
import type { Endpoint } from "../../src/dns/query.js";
import type { Listener } from "../../src/dns/server/listeners.js";
import { Routes } from "../../src/dns/server/routes.js";
import type { Incoming } from "../../src/dns/server/server.js";
import { openDnsSocket } from "../../src/platform/dns-server-socket.js";
import { type DatagramHandler, UdpListener } from "../../src/platform/dns-server-udp.js";
import { Reactor } from "../../src/platform/reactor.js";
import { SystemCallError } from "../../src/platform/system-error.js";

const WILD = { 4: "0.0.0.0", 6: "::" } as const;

const LISTENER: Listener = {
  address: parseIp("127.0.0.1")!,
  port: 0,
  interfaceName: undefined,
  isExplicit: true,
  routes: new Routes(),
};

/** A handler that answers with `answer`; `now` undefined lets the answer come later. */
function handlerOf(
  receive: (request: Uint8Array, incoming: Incoming, target: Uint8Array) => number,
  seen: Endpoint[] = [],
): DatagramHandler {
  return {
    listenerAt: (local) => {
      seen.push(local);
      return LISTENER;
    },
    receive: (request, length, incoming, target) =>
      receive(request.subarray(0, length), incoming, target),
    limitReply: (_reply, length) => length,
  };
}

const echo = handlerOf((request, _incoming, target) => {
  target.set(request);
  return request.length;
});

async function withListener(
  address: string,
  handler: DatagramHandler,
  work: (listener: UdpListener) => Promise<void>,
): Promise<void> {
  const reactor = new Reactor();
  const listener = new UdpListener(reactor, openDnsSocket(parseIp(address)!, 0), handler);
  try {
    await work(listener);
  } finally {
    listener.close();
    reactor.close();
  }
}

async function openClient(type: "udp4" | "udp6", address: string): Promise<Socket> {
  const socket = createSocket(type);
  socket.bind(0, address);
  await once(socket, "listening");
  return socket;
}

/** The next datagram, or undefined after 2 s. */
async function nextMessage(socket: Socket): Promise<{ bytes: Buffer; from: string } | undefined> {
  const signal = AbortSignal.timeout(2000);
  try {
    const [bytes, from] = (await once(socket, "message", { signal })) as [
      Buffer,
      { address: string },
    ];
    return { bytes, from: from.address };
  } catch {
    return undefined;
  }
}

describe("UdpListener", () => {
  it("answers from the address that was asked, on the wildcard address", async () => {
    const seen: Endpoint[] = [];
    const handler = { ...handlerOf(() => 0, seen), receive: echo.receive };
    await withListener(WILD[4], handler, async (listener) => {
      const client = await openClient("udp4", "127.0.0.1");
      for (const address of ["127.0.0.1", "127.0.0.2", "127.9.9.9"]) {
        client.send("question", listener.port, address);
        const reply = await nextMessage(client);
        assert.equal(reply?.from, address);
        assert.equal(reply?.bytes.toString(), "question");
        assert.equal(formatIp(seen.at(-1)!.address), address);
      }
      client.close();
    });
  });

  it("answers over IPv6, on the wildcard address and on one", async () => {
    for (const address of [WILD[6], "::1"]) {
      await withListener(address, echo, async (listener) => {
        const client = await openClient("udp6", "::1");
        client.send("question", listener.port, "::1");
        assert.equal((await nextMessage(client))?.from, "::1");
        client.close();
      });
    }
  });

  it("delivers replies that come later, each to its client", async () => {
    const waiting: { text: string; incoming: Incoming }[] = [];
    const handler = handlerOf((request, incoming) => {
      waiting.push({ text: Buffer.from(request).toString(), incoming });
      return -1;
    });
    await withListener(WILD[4], handler, async (listener) => {
      const clients = await Promise.all([1, 2, 3].map(() => openClient("udp4", "127.0.0.1")));
      for (const [index, client] of clients.entries()) {
        client.send(`q${index}`, listener.port, `127.0.0.${index + 2}`);
      }
      while (waiting.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
      const replies = clients.map((client) => nextMessage(client));
      for (const { text, incoming } of waiting.reverse())
        incoming.deliver(Buffer.from(`re ${text}`));
      for (const [index, client] of clients.entries()) {
        const reply = await replies[index];
        assert.deepEqual(
          [reply?.bytes.toString(), reply?.from],
          [`re q${index}`, `127.0.0.${index + 2}`],
        );
        client.close();
      }
    });
  });

  it("sends more late replies in one turn than one system call takes", async () => {
    const peers: Incoming[] = [];
    const handler = handlerOf((_request, incoming) => {
      peers.push(incoming);
      return -1;
    });
    await withListener("127.0.0.1", handler, async (listener) => {
      const client = await openClient("udp4", "127.0.0.1");
      client.send("question", listener.port, "127.0.0.1");
      while (peers.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      const received = new Set<string>();
      client.on("message", (bytes) => received.add(bytes.toString()));
      for (let index = 0; index < 200; index++) peers[0]!.deliver(Buffer.from(`reply ${index}`));
      for (let wait = 0; received.size < 200 && wait < 200; wait++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.equal(received.size, 200);
      assert.equal(listener.counts.sent, 200);
      client.close();
    });
  });

  it("answers a flood of different sizes without mixing them up", async () => {
    await withListener("127.0.0.1", echo, async (listener) => {
      const client = await openClient("udp4", "127.0.0.1");
      const received: Buffer[] = [];
      client.on("message", (bytes) => received.push(bytes));
      for (let index = 0; index < 300; index++) {
        client.send(Buffer.alloc(12 + index * 13, index), listener.port, "127.0.0.1");
        // The client's receive buffer holds some 60 of the longest replies.
        if (index % 30 === 29) await new Promise((resolve) => setTimeout(resolve, 20));
      }
      for (let wait = 0; received.length < 300 && wait < 200; wait++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.equal(received.length, 300);
      for (const bytes of received) {
        const index = (bytes.length - 12) / 13;
        assert.ok(
          bytes.every((byte) => byte === (index & 255)),
          String(index),
        );
      }
      client.close();
    });
  });

  it("ignores requests longer than 4,096 octets and counts them", async () => {
    await withListener("127.0.0.1", echo, async (listener) => {
      const client = await openClient("udp4", "127.0.0.1");
      client.send(Buffer.alloc(4097), listener.port, "127.0.0.1");
      client.send(Buffer.alloc(4096), listener.port, "127.0.0.1");
      assert.equal((await nextMessage(client))?.bytes.length, 4096);
      assert.equal(listener.counts.oversized, 1);
      client.close();
    });
  });

  it("does not answer what the response rate limit drops, and cuts what it truncates", async () => {
    let verdict = 0;
    const handler = { ...echo, limitReply: () => verdict };
    await withListener("127.0.0.1", handler, async (listener) => {
      const client = await openClient("udp4", "127.0.0.1");
      client.send("dropped", listener.port, "127.0.0.1");
      await new Promise((resolve) => setTimeout(resolve, 50));
      verdict = 3;
      client.send("cut short", listener.port, "127.0.0.1");
      assert.equal((await nextMessage(client))?.bytes.toString(), "cut");
      client.close();
    });
  });

  it("names the holder of a taken port and the ways out", async () => {
    const other = await openClient("udp4", "127.0.0.1");
    const { port } = other.address();
    assert.throws(
      () => openDnsSocket(parseIp("127.0.0.1")!, port),
      (error: unknown) => {
        assert.ok(error instanceof SystemCallError);
        assert.equal(error.exitCode, 69);
        assert.match(error.message, new RegExp(`udp://127\\.0\\.0\\.1:${port}`));
        assert.match(error.message, new RegExp(`pid ${process.pid} \\(`));
        assert.match(error.message, /stop that program, or let this server use another address/);
        return true;
      },
    );
    other.close();
  });
});
