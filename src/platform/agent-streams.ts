/**
 * TCP connections that carry DNS messages (RFC 1035 4.2.2, RFC 7766): the transfers of the DNS
 * agent. Main thread. A reader takes one message at a time; the socket pauses while unread messages
 * pile up, so a server cannot fill the memory.
 */

import { createConnection, type Socket } from "node:net";
import type { DnsStream, DnsStreams, StreamOpened, StreamReceived } from "../agent/ports.js";
import { formatIp, type IpAddress } from "../base/ip.js";

/** Unread octets beyond which the socket is paused; a message has at most 65,537. */
const UNREAD_BYTES_MAX = 1 << 18;
const LENGTH_BYTES = 2;

/** Opens TCP connections. */
export const tcpStreams: DnsStreams = { open };

function open(address: IpAddress, port: number, timeoutMs: number): Promise<StreamOpened> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: formatIp(address), port, noDelay: true });
    const timer = setTimeout(() => fail(`no connection after ${timeoutMs / 1000} s`), timeoutMs);
    const fail = (reason: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ ok: false, reason });
    };
    const onError = (error: NodeJS.ErrnoException) => fail(errorText(error));
    socket.once("error", onError);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", onError);
      resolve({ ok: true, stream: new TcpStream(socket) });
    });
  });
}

class TcpStream implements DnsStream {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #unreadBytes = 0;
  #endReason: string | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk) => {
      this.#chunks.push(chunk);
      this.#unreadBytes += chunk.length;
      if (this.#unreadBytes > UNREAD_BYTES_MAX) socket.pause();
      this.#wake?.();
    });
    const end = (reason: string) => {
      this.#endReason ??= reason;
      this.#wake?.();
    };
    socket.on("end", () => end("the server closed the connection"));
    socket.on("error", (error) => end(errorText(error)));
    socket.on("close", () => end("the connection is closed"));
  }

  send(message: Uint8Array): void {
    const framed = Buffer.alloc(LENGTH_BYTES + message.length);
    framed.writeUInt16BE(message.length);
    framed.set(message, LENGTH_BYTES);
    this.#socket.write(framed);
  }

  receive(timeoutMs: number): Promise<StreamReceived> {
    const ready = this.#take();
    if (ready !== undefined) return Promise.resolve(ready);
    return new Promise((resolve) => {
      const finish = (received: StreamReceived) => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve(received);
      };
      const reason = `no answer after ${timeoutMs / 1000} s`;
      const timer = setTimeout(() => finish({ ok: false, reason }), timeoutMs);
      this.#wake = () => {
        const received = this.#take();
        if (received !== undefined) finish(received);
      };
    });
  }

  close(): void {
    this.#endReason ??= "closed here";
    this.#socket.destroy();
  }

  /** A complete message, or the end; undefined while neither is there. */
  #take(): StreamReceived | undefined {
    const message = this.#message();
    if (message !== undefined) return { ok: true, message };
    const reason = this.#endReason;
    return reason === undefined ? undefined : { ok: false, reason };
  }

  #message(): Uint8Array | undefined {
    if (this.#unreadBytes < LENGTH_BYTES) return undefined;
    if (this.#chunks.length > 1 && this.#chunks[0]!.length < LENGTH_BYTES) this.#join();
    const need = LENGTH_BYTES + this.#chunks[0]!.readUInt16BE(0);
    if (this.#unreadBytes < need) return undefined;
    if (this.#chunks[0]!.length < need) this.#join();
    const first = this.#chunks[0]!;
    const message = Uint8Array.from(first.subarray(LENGTH_BYTES, need));
    if (first.length === need) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(need);
    this.#unreadBytes -= need;
    if (this.#unreadBytes <= UNREAD_BYTES_MAX) this.#socket.resume();
    return message;
  }

  #join(): void {
    this.#chunks = [Buffer.concat(this.#chunks)];
  }
}

function errorText(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "ECONNREFUSED":
      return "connection refused; no name server listens there on TCP";
    case "ECONNRESET":
      return "the server broke the connection off";
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return "the network or the host cannot be reached";
    default:
      return error.code ?? error.message;
  }
}
