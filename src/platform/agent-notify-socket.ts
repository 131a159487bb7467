/**
 * Sockets for NOTIFY (RFC 1996), UDP and TCP on one port, since Knot DNS sends it over TCP: hands
 * messages to the DNS agent and sends its replies. Main thread. What is malformed or from strangers
 * is dropped by the agent; connections are few, short and bounded.
 */

import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import { formatIp, type IpAddress, parseIp } from "../base/ip.js";
import { refused } from "./system-error.js";

/** A reply, or undefined when the message gets none. */
export type NotifyHandler = (message: Uint8Array, from: IpAddress) => Uint8Array | undefined;

/** Open sockets. */
export interface NotifySocket {
  readonly port: number;
  close(): void;
}

/** A NOTIFY has a question, at most an SOA, and a signature. */
const MESSAGE_BYTES_MAX = 4096;
const CONNECTIONS_MAX = 32;
const CONNECTION_IDLE_MS = 5000;
const LENGTH_BYTES = 2;

/** Listens; rejects with SystemCallError when the address or the port is not to be had. */
export async function listenForNotify(
  address: IpAddress,
  port: number,
  handle: NotifyHandler,
): Promise<NotifySocket> {
  const datagrams = await bindUdp(address, port, handle);
  const bound = datagrams.address().port;
  try {
    const server = await listenTcp(address, bound, handle);
    return {
      port: bound,
      close() {
        datagrams.close();
        server.close();
      },
    };
  } catch (error) {
    datagrams.close();
    throw error;
  }
}

function refusal(address: IpAddress, port: number, error: NodeJS.ErrnoException): Error {
  const action = `listen for NOTIFY at ${formatIp(address)} port ${port}`;
  const advice = "choose another address or port with -notify";
  return error.code === undefined ? error : refused(action, "bind", error.code, advice);
}

function bindUdp(address: IpAddress, port: number, handle: NotifyHandler): Promise<DatagramSocket> {
  const socket = createSocket({ type: address.version === 4 ? "udp4" : "udp6" });
  return new Promise((resolve, reject) => {
    socket.once("error", (error: NodeJS.ErrnoException) => {
      socket.close();
      reject(refusal(address, port, error));
    });
    socket.bind({ address: formatIp(address), port }, () => {
      socket.removeAllListeners("error");
      socket.on("error", () => {}); // a reply that cannot be sent is asked for again
      socket.on("message", (bytes, from) => {
        const sender = addressOf(from.address);
        const reply = sender && handle(new Uint8Array(bytes), sender);
        if (reply !== undefined) socket.send(reply, from.port, from.address);
      });
      resolve(socket);
    });
  });
}

function listenTcp(address: IpAddress, port: number, handle: NotifyHandler): Promise<Server> {
  const server = createServer((socket) => serve(socket, handle));
  server.maxConnections = CONNECTIONS_MAX;
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(refusal(address, port, error)));
    server.listen({ host: formatIp(address), port }, () => {
      server.removeAllListeners("error");
      server.on("error", () => {}); // accepting goes on
      server.unref();
      resolve(server);
    });
  });
}

/** One connection: messages with their lengths (RFC 1035 4.2.2). */
function serve(socket: Socket, handle: NotifyHandler): void {
  const sender = addressOf(socket.remoteAddress ?? "");
  let unread = Buffer.alloc(0);
  socket.setTimeout(CONNECTION_IDLE_MS, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    unread = Buffer.concat([unread, chunk]);
    while (unread.length >= LENGTH_BYTES) {
      const length = unread.readUInt16BE(0);
      if (length > MESSAGE_BYTES_MAX || sender === undefined) {
        socket.destroy();
        return;
      }
      if (unread.length < LENGTH_BYTES + length) return;
      const message = Uint8Array.from(unread.subarray(LENGTH_BYTES, LENGTH_BYTES + length));
      unread = unread.subarray(LENGTH_BYTES + length);
      const reply = handle(message, sender);
      if (reply !== undefined) socket.write(framed(reply));
    }
  });
}

function framed(message: Uint8Array): Buffer {
  const bytes = Buffer.alloc(LENGTH_BYTES + message.length);
  bytes.writeUInt16BE(message.length);
  bytes.set(message, LENGTH_BYTES);
  return bytes;
}

/** Without zone; an IPv4 address that came to an IPv6 socket in its own form. */
function addressOf(text: string): IpAddress | undefined {
  return parseIp(text.replace(/%.*$/, "").replace(/^::ffff:(?=[0-9]+\.)/, ""));
}
