/** The small HTTP servers of `health`, `ready` and `prometheus`. Main thread, node:http. */

import { createServer, type Server } from "node:http";
import { formatIp, type IpAddress, parseIp } from "../base/ip.js";
import { listenRefusal } from "./dns-server-socket.js";

/** What a path answers. */
export interface HttpReply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Answers of one port by path. */
export type HttpPaths = ReadonlyMap<string, () => HttpReply>;

const CONNECTIONS_MAX = 64;
const REQUEST_TIME_MS = 5000;

const NOT_FOUND: HttpReply = { status: 404, contentType: "text/plain", body: "not found\n" };

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
    const server = createServer({ requestTimeout: REQUEST_TIME_MS, keepAliveTimeout: 1000 });
    server.maxConnections = CONNECTIONS_MAX;
    const endpoint = new HttpEndpoint(server, paths);
    server.on("request", (request, response) => {
      const client = clientOf(request.socket.remoteAddress);
      if (client === undefined || !mayAsk(client)) {
        request.socket.destroy();
        return;
      }
      const path = (request.url ?? "").replace(/\?.*$/s, "");
      const reply = endpoint.paths.get(path)?.() ?? NOT_FOUND;
      response.writeHead(reply.status, {
        "content-type": reply.contentType,
        "content-length": Buffer.byteLength(reply.body),
      });
      response.end(reply.body);
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
