/**
 * Small HTTP servers that answer a few paths: those of `health`, `ready` and `prometheus`, and the
 * ports for monitoring. Main thread, node:http. Callers are not trusted: few connections, short
 * headers, short times.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { formatIp, type IpAddress, parseIp } from "../base/ip.js";
import { listenRefusal } from "./dns-server-socket.js";

/** What a path answers. */
export interface HttpReply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Answers of one port by path. */
export type HttpPaths = ReadonlyMap<string, () => HttpReply | Promise<HttpReply>>;

const CONNECTIONS_MAX = 64;
/** A connection on which nothing happens ends after this time; a part may take 3 s to answer. */
const IDLE_TIME_MS = 5000;
/** And any connection after this one, however slowly its caller goes on. No timer without caller. */
const LIFE_TIME_MS = 15_000;
/** Time for the whole of a request, as `node:http` enforces it, twice a minute. */
const REQUEST_TIME_MS = 5000;
const HEADER_BYTES_MAX = 8192;
const REQUESTS_PER_CONNECTION_MAX = 1000;

const NOT_FOUND: HttpReply = { status: 404, contentType: "text/plain", body: "not found\n" };
const NOT_ALLOWED: HttpReply = { status: 405, contentType: "text/plain", body: "only GET\n" };
const FAILED: HttpReply = { status: 500, contentType: "text/plain", body: "internal error\n" };

/** An open HTTP port. `paths` may be replaced while it runs. */
export class HttpEndpoint {
  paths: HttpPaths;
  readonly #server: Server;

  private constructor(server: Server, paths: HttpPaths) {
    this.#server = server;
    this.paths = paths;
  }

  /** Opens a port; `address` undefined means everywhere. `mayAsk` decides about each client. */
  static open(
    where: { readonly address: IpAddress | undefined; readonly port: number },
    paths: HttpPaths,
    mayAsk: (client: IpAddress) => boolean,
  ): Promise<HttpEndpoint> {
    const server = createServer({
      requestTimeout: REQUEST_TIME_MS,
      headersTimeout: REQUEST_TIME_MS,
      keepAliveTimeout: 1000,
      maxHeaderSize: HEADER_BYTES_MAX,
    });
    server.maxConnections = CONNECTIONS_MAX;
    server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION_MAX;
    server.setTimeout(IDLE_TIME_MS);
    server.on("connection", (socket) => {
      const end = setTimeout(() => socket.destroy(), LIFE_TIME_MS);
      socket.once("close", () => clearTimeout(end));
    });
    const endpoint = new HttpEndpoint(server, paths);
    server.on("request", (request, response) => {
      const client = clientOf(request.socket.remoteAddress);
      if (client === undefined || !mayAsk(client)) request.socket.destroy();
      else void endpoint.#serve(request, response);
    });
    const host = where.address === undefined ? undefined : formatIp(where.address);
    return new Promise((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => {
        const address = where.address ?? parseIp("::")!;
        reject(listenRefusal(error.code ?? "EIO", "tcp", address, where.port));
      });
      server.listen({ port: where.port, ...(host !== undefined && { host }) }, () => {
        server.removeAllListeners("error");
        server.on("error", () => undefined);
        resolve(endpoint);
      });
    });
  }

  /** Port in use. */
  get port(): number {
    const address = this.#server.address();
    return address === null || typeof address === "string" ? 0 : address.port;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let reply: HttpReply;
    try {
      reply = await this.#answer(request);
    } catch {
      reply = FAILED;
    }
    response.writeHead(reply.status, {
      "content-type": reply.contentType,
      "content-length": Buffer.byteLength(reply.body),
    });
    response.end(request.method === "HEAD" ? undefined : reply.body, () => {
      // Nobody reads the body of a request.
      if (!request.complete) request.socket.destroy();
    });
  }

  #answer({ url = "", method }: IncomingMessage): HttpReply | Promise<HttpReply> {
    if (method !== "GET" && method !== "HEAD") return NOT_ALLOWED;
    return this.paths.get(url.replace(/\?.*$/s, ""))?.() ?? NOT_FOUND;
  }

  /** Closes the port and its connections. */
  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** A dual-stack socket shows IPv4 clients as ::ffff:a.b.c.d. */
function clientOf(text: string | undefined): IpAddress | undefined {
  return parseIp((text ?? "").replace(/^::ffff:/i, "").replace(/%.*$/, ""));
}
