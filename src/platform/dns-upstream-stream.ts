/**
 * TCP and TLS towards DNS servers (RFC 7766, RFC 7858) with Node's sockets. Events come from the
 * event loop only, never during a call.
 */

import { readFileSync } from "node:fs";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { formatIp } from "../base/ip.js";
import type { UpstreamServer, UpstreamTls } from "../dns/ports.js";
import type { StreamConnection, StreamEvents, StreamTransport } from "../dns/upstream/transport.js";

/** RFC 7858 has no ALPN of its own; "dot" is registered for it (RFC 7858 errata, IANA). */
const ALPN = "dot";

/** Opens connections. Certificates are read once for each set of paths. */
export class DnsStreams implements StreamTransport {
  readonly #credentials = new Map<string, ConnectionOptions>();

  connect(
    server: UpstreamServer,
    tls: UpstreamTls | undefined,
    events: StreamEvents,
  ): StreamConnection {
    try {
      return new Connection(this.#open(server, tls), server.transport, events);
    } catch (error) {
      return failedConnection(error, events);
    }
  }

  #open(server: UpstreamServer, tls: UpstreamTls | undefined): Socket {
    const host = formatIp(server.endpoint.address);
    const { port } = server.endpoint;
    if (server.transport === "dns") return connectTcp({ host, port, noDelay: true });
    const name = server.tlsServerName;
    // Without a name the certificate must carry the address; SNI has no addresses (RFC 6066 3).
    const servername = name === undefined || isIP(name) !== 0 ? {} : { servername: name };
    const credentials = this.#credentialsOf(tls);
    const socket = connectTls({ host, port, ALPNProtocols: [ALPN], ...servername, ...credentials });
    socket.setNoDelay(true);
    return socket;
  }

  #credentialsOf(tls: UpstreamTls | undefined): ConnectionOptions {
    if (tls === undefined) return {};
    const key = JSON.stringify(tls);
    let options = this.#credentials.get(key);
    if (options === undefined) {
      const { authorityPath, certificatePath, keyPath } = tls;
      options = {
        ...(authorityPath !== undefined && { ca: readFileSync(authorityPath) }),
        ...(certificatePath !== undefined && { cert: readFileSync(certificatePath) }),
        ...(keyPath !== undefined && { key: readFileSync(keyPath) }),
      };
      this.#credentials.set(key, options);
    }
    return options;
  }
}

class Connection implements StreamConnection {
  readonly #socket: Socket;
  #events: StreamEvents | undefined;
  #detail = "closed by the server";

  constructor(socket: Socket, transport: UpstreamServer["transport"], events: StreamEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.on(transport === "tls" ? "secureConnect" : "connect", () => this.#events?.onOpen());
    // A Buffer's slice() would share memory; readers expect that of Uint8Array, which copies.
    socket.on("data", ({ buffer, byteOffset, length }: Buffer) => {
      this.#events?.onChunk(new Uint8Array(buffer, byteOffset, length));
    });
    socket.on("error", (error) => {
      this.#detail = errorText(error);
    });
    socket.on("close", () => this.#ended());
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  close(): void {
    this.#events = undefined;
    this.#socket.destroy();
  }

  #ended(): void {
    const events = this.#events;
    this.#events = undefined;
    events?.onClose(this.#detail);
  }
}

/** What could not even be tried; told from the event loop like every other failure. */
function failedConnection(error: unknown, events: StreamEvents): StreamConnection {
  let isClosed = false;
  setImmediate(() => {
    if (!isClosed) events.onClose(errorText(error));
  });
  return {
    write: () => {},
    close: () => {
      isClosed = true;
    },
  };
}

/** "ECONNREFUSED", or the sentence that OpenSSL or Node has for it. */
function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  return code?.startsWith("E") && !code.startsWith("ERR_") ? code : error.message;
}
