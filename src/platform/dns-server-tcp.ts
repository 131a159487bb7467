/**
 * A TCP listener of the DNS server (RFC 7766): messages with a length in front, any number on one
 * connection, answered in the order in which they become ready. Main thread, node:net.
 *
 * Limits (spec/resolver.md 2.5, 5.2, 8): connections in all and by source, questions outstanding
 * on a connection (reading pauses), octets waiting to be written (reading pauses, then the
 * connection ends), time for the first message, between messages, and for the client to read.
 */

import { createServer, type Server, type Socket } from "node:net";
import { addressKey, formatIp, type IpAddress, parseIp } from "../base/ip.js";
import type { StreamAnswer } from "../dns/answer.js";
import type { TimeoutSettings } from "../dns/plugins/timeouts/setup.js";
import type { Endpoint, Origin } from "../dns/query.js";
import type { Listener } from "../dns/server/listeners.js";
import type { Incoming } from "../dns/server/server.js";
import { listenRefusal } from "./dns-server-socket.js";
import type { DatagramHandler } from "./dns-server-udp.js";

/** spec/resolver.md 5.2. */
const CONNECTIONS_MAX = 256;
const CONNECTIONS_PER_SOURCE_MAX = 16;
const OUTSTANDING_MAX = 100;
const WRITE_BACKLOG_BYTES_MAX = 1 << 20;
/** A transfer waits for `drain` beyond this; an ordinary reply does not. */
const STREAM_BACKLOG_BYTES = 128 << 10;
/** Time for a bad moment of the client after our end of the conversation. */
const LINGER_MS = 1000;

const LENGTH_BYTES = 2;
const MESSAGE_BYTES_MAX = 65_535;
/** What the server asks for as room for a reply. */
const TARGET_BYTES = MESSAGE_BYTES_MAX + 1024;
/** A source's IPv6 addresses count together by /64. */
const IPV6_SOURCE_BYTES = 8;

/** Handles the messages; the same object that serves datagrams. */
export interface StreamHandler extends DatagramHandler {
  /** Octets of a reply target in front of which two octets are free. */
  readonly timeouts: TimeoutSettings;
}

/** Connections of all TCP listeners together. */
export class ConnectionLimits {
  readonly #bySource = new Map<string, number>();
  #count = 0;
  /** Connections that were closed at once because of a limit. */
  refused = 0;

  get count(): number {
    return this.#count;
  }

  /** Takes a place; false when there is none. */
  enter(source: IpAddress): boolean {
    const key = sourceKey(source);
    const have = this.#bySource.get(key) ?? 0;
    if (this.#count >= CONNECTIONS_MAX || have >= CONNECTIONS_PER_SOURCE_MAX) {
      this.refused++;
      return false;
    }
    this.#count++;
    this.#bySource.set(key, have + 1);
    return true;
  }

  /** Gives a place back. */
  leave(source: IpAddress): void {
    const key = sourceKey(source);
    const have = this.#bySource.get(key) ?? 0;
    this.#count--;
    if (have > 1) this.#bySource.set(key, have - 1);
    else this.#bySource.delete(key);
  }
}

function sourceKey(source: IpAddress): string {
  return addressKey({ ...source, bytes: source.bytes.subarray(0, IPV6_SOURCE_BYTES) });
}

/** Memory for one reply at a time; a reply is copied out before the next one is made. */
const replyTarget = new Uint8Array(TARGET_BYTES);

/** One connection. */
class TcpConnection implements Origin {
  readonly transport = "tcp";
  readonly client: Endpoint;
  readonly local: Endpoint;
  readonly #socket: Socket;
  readonly #handler: StreamHandler;
  readonly #onClosed: () => void;
  #received: Buffer = Buffer.alloc(0);
  #outstanding = 0;
  #isEnded = false;
  #isClosed = false;
  #isStalled = false;
  #hasSpoken = false;
  #waiting: NodeJS.Timeout | undefined;
  readonly #streams: (() => void)[] = [];

  constructor(
    socket: Socket,
    ends: { readonly client: Endpoint; readonly local: Endpoint },
    handler: StreamHandler,
    onClosed: () => void,
  ) {
    this.#socket = socket;
    this.client = ends.client;
    this.local = ends.local;
    this.#handler = handler;
    this.#onClosed = onClosed;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("end", () => this.#onEnd());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#onClose());
    socket.on("drain", () => this.#onDrain());
    this.#expect(handler.timeouts.readMs);
  }

  /** Ends the connection after the replies that are under way. */
  end(): void {
    this.#onEnd();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #onData(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    this.#work();
  }

  /** The client has said everything; what it asked is still answered (RFC 7766 6.2.3). */
  #onEnd(): void {
    this.#isEnded = true;
    this.#finishWhenIdle();
  }

  #onClose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#waiting);
    for (const pull of this.#streams.splice(0)) pull();
    this.#onClosed();
  }

  #onDrain(): void {
    this.#isStalled = false;
    for (const pull of this.#streams.splice(0)) pull();
    this.#work();
  }

  /** Answers the whole messages that have arrived, unless a limit says to wait. */
  #work(): void {
    let at = 0;
    const bytes = this.#received;
    while (!this.#isClosed && !this.#mustPause() && at + LENGTH_BYTES <= bytes.length) {
      const length = bytes.readUInt16BE(at);
      if (at + LENGTH_BYTES + length > bytes.length) break;
      const start = at + LENGTH_BYTES;
      at = start + length;
      this.#hasSpoken = true;
      this.#answer(bytes.subarray(start, at), length);
    }
    if (at > 0) this.#received = bytes.subarray(at);
    if (this.#isClosed) return;
    if (this.#mustPause()) this.#socket.pause();
    else if (this.#socket.isPaused()) this.#socket.resume();
    this.#expectNext();
    this.#finishWhenIdle();
  }

  #mustPause(): boolean {
    return this.#outstanding >= OUTSTANDING_MAX || this.#isStalled;
  }

  #answer(message: Uint8Array, length: number): void {
    const listener = this.#handler.listenerAt(this.local);
    if (listener === undefined) {
      this.destroy();
      return;
    }
    this.#outstanding++;
    const incoming = this.#incoming(listener);
    const replyLength = this.#handler.receive(message, length, incoming, replyTarget);
    if (replyLength < 0) return;
    this.#outstanding--;
    if (replyLength > 0) this.#write(replyTarget.subarray(0, replyLength));
  }

  #incoming(listener: Listener): Incoming {
    return {
      origin: this,
      listener,
      deliver: (message) => {
        this.#write(message);
        this.#settle();
      },
      deliverStream: (answer) => this.#stream(answer),
    };
  }

  /** A pending question is done. */
  #settle(): void {
    this.#outstanding--;
    if (!this.#isClosed) this.#work();
  }

  /** Copies a message into the socket's queue. */
  #write(message: Uint8Array): void {
    if (this.#isClosed) return;
    const framed = Buffer.allocUnsafe(LENGTH_BYTES + message.length);
    framed.writeUInt16BE(message.length);
    framed.set(message, LENGTH_BYTES);
    this.#socket.write(framed);
    if (this.#socket.writableLength > WRITE_BACKLOG_BYTES_MAX) this.#isStalled = true;
    this.#expectNext();
  }

  /** Pulls messages as fast as the client takes them. */
  #stream(answer: StreamAnswer): void {
    const target = new Uint8Array(TARGET_BYTES);
    const pull = (): void => {
      while (!this.#isClosed) {
        if (this.#socket.writableLength > STREAM_BACKLOG_BYTES) {
          this.#streams.push(pull);
          return;
        }
        const length = answer.nextInto(target);
        if (length === 0) break;
        this.#write(target.subarray(0, length));
      }
      answer.close();
      this.#settle();
    };
    // After `receive` has returned: the question counts as outstanding by then.
    queueMicrotask(pull);
  }

  /** Starts the clock that fits the state of the conversation (spec/resolver.md 8). */
  #expectNext(): void {
    const { readMs, writeMs, idleMs } = this.#handler.timeouts;
    if (this.#isClosed) return;
    if (this.#socket.writableLength > 0) this.#expect(writeMs);
    else if (this.#outstanding > 0) this.#expect(0);
    else this.#expect(!this.#hasSpoken || this.#received.length > 0 ? readMs : idleMs);
  }

  /** Closes the connection unless something happens in time; 0 stops the clock. */
  #expect(timeMs: number): void {
    // A message in pieces must be whole in time, however the pieces trickle in.
    const isTrickling = this.#received.length > 0 && this.#waiting !== undefined;
    if (isTrickling && timeMs === this.#handler.timeouts.readMs) return;
    clearTimeout(this.#waiting);
    this.#waiting = timeMs === 0 ? undefined : setTimeout(() => this.destroy(), timeMs);
  }

  #finishWhenIdle(): void {
    if (!this.#isEnded || this.#outstanding > 0 || this.#isClosed) return;
    this.#socket.end();
    this.#expect(this.#socket.writableLength > 0 ? this.#handler.timeouts.writeMs : LINGER_MS);
  }
}

/** An open TCP listener. */
export class TcpListener {
  readonly address: IpAddress;
  readonly port: number;
  readonly #server: Server;
  readonly #connections = new Set<TcpConnection>();

  private constructor(server: Server, address: IpAddress, port: number) {
    this.#server = server;
    this.address = address;
    this.port = port;
  }

  /** Opens a listener; rejects with a SystemCallError. `scope`: interface of a link-local address. */
  static open(
    where: {
      readonly address: IpAddress;
      readonly port: number;
      readonly scope: string | undefined;
    },
    handler: StreamHandler,
    limits: ConnectionLimits,
  ): Promise<TcpListener> {
    const { address, port, scope } = where;
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: false });
    const host = scope === undefined ? formatIp(address) : `${formatIp(address)}%${scope}`;
    return new Promise((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) =>
        reject(listenRefusal(error.code ?? "EIO", "tcp", address, port)),
      );
      server.listen({ host, port, ipv6Only: true, backlog: CONNECTIONS_MAX }, () => {
        server.removeAllListeners("error");
        server.on("error", () => undefined);
        const bound = server.address();
        const actual = bound !== null && typeof bound === "object" ? bound.port : port;
        const listener = new TcpListener(server, address, actual);
        server.on("connection", (socket) => listener.#accept(socket, handler, limits));
        resolve(listener);
      });
    });
  }

  #accept(socket: Socket, handler: StreamHandler, limits: ConnectionLimits): void {
    const client = endpointOf(socket.remoteAddress, socket.remotePort);
    const local = endpointOf(socket.localAddress, socket.localPort);
    if (client === undefined || local === undefined || !limits.enter(client.address)) {
      socket.destroy();
      return;
    }
    const connection = new TcpConnection(socket, { client, local }, handler, () => {
      this.#connections.delete(connection);
      limits.leave(client.address);
    });
    this.#connections.add(connection);
  }

  /** Takes no new connections; those that exist end after their pending replies. */
  stopAccepting(): void {
    this.#server.close();
    for (const connection of this.#connections) connection.end();
  }

  /** Closes everything. */
  close(): void {
    this.#server.close();
    for (const connection of [...this.#connections]) connection.destroy();
  }
}

function endpointOf(text: string | undefined, port: number | undefined): Endpoint | undefined {
  const address = parseIp((text ?? "").replace(/%.*$/, ""));
  return address === undefined || port === undefined ? undefined : { address, port };
}
