/**
 * Server of a control socket: HTTP/1.1 over a UNIX stream socket (unix(7)). Who may ask is decided
 * twice: by the mode of the socket file, and by the credentials that the kernel tells of each
 * connection (SO_PEERCRED, SO_PEERGROUPS). Main thread, node:http.
 */

import { chmodSync, chownSync, lstatSync, mkdirSync, type Stats, unlinkSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { dirname } from "node:path";
import type { ControlReply, ControlRequest, ControlRoutes } from "../control/inspection/api.js";
import { refused } from "./system-error.js";
import { groupId, type PeerCredentials, peerCredentials, peerGroups } from "./unix-address.js";

const DIRECTORY_MODE = 0o775;
const SOCKET_MODE = 0o660;
/** Connections in all; the last ones are for root and the part's own user, who watch over it. */
const CONNECTIONS_MAX = 32;
const CONNECTIONS_OF_OTHERS_MAX = 24;
/** Connections beyond that are told so, and beyond this number closed. */
const CONNECTIONS_REFUSED_MAX = 4;
/** Time for a caller to send its whole question. */
const REQUEST_TIME_MS = 5000;
/** A question's body is a packet in hexadecimal at most. */
const BODY_BYTES_MAX = 256 * 1024;
const USUAL_GROUP = "ipref";
const PROBE_TIME_MS = 1000;

/** Where to listen, and what to answer. */
export interface ControlServerOptions {
  readonly path: string;
  /** Name or number of the group that may ask; undefined: `ipref` if root runs and it exists. */
  readonly group: string | undefined;
  readonly routes: ControlRoutes;
}

/** A listening control socket. */
export interface ControlServer {
  close(): void;
}

/** Listens; rejects with a SystemCallError when the path is served already or not to be had. */
export async function startControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const group = options.group ?? usualGroup();
  const { path } = options;
  await removeStale(path);
  const gid = group === undefined ? undefined : groupId(group);
  if (group !== undefined && gid === undefined) {
    throw refused(`use the group ${group}`, "group", "ENOENT", `create it: groupadd ${group}`);
  }
  const server = createServer({ requestTimeout: REQUEST_TIME_MS, keepAliveTimeout: 1000 });
  server.maxConnections = CONNECTIONS_MAX;
  // Who sends many questions at once would have them answered in one turn of the main thread.
  server.maxRequestsPerSocket = 1;
  const calls = new Set<AbortController>();
  const surplus = watchOthers(server);
  server.on("request", (request, response) => {
    const isSurplus = surplus.has(request.socket);
    void serve({ ...options, group, gid, isSurplus, calls }, request, response);
  });
  await listen(server, path);
  const file = giveTo(path, gid);
  return {
    close() {
      for (const call of calls) call.abort();
      server.close();
      server.closeAllConnections();
      removeOwn(path, file);
    },
  };
}

/** A package or an administrator makes this group for those who may look at the system. */
function usualGroup(): string | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  return groupId(USUAL_GROUP) === undefined ? undefined : USUAL_GROUP;
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(refused(`listen at ${path}`, "bind", error.code ?? "EIO"));
    });
    // Nobody may connect before the group has been set.
    const before = process.umask(0o177);
    server.listen(path, () => {
      server.removeAllListeners("error");
      server.on("error", () => undefined);
      resolve();
    });
    process.umask(before);
  });
}

function giveTo(path: string, gid: number | undefined): Stats {
  if (gid !== undefined) {
    try {
      chownSync(path, -1 >>> 0, gid);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? "EPERM";
      throw refused(`give ${path} to the group ${gid}`, "chown", code);
    }
  }
  chmodSync(path, SOCKET_MODE);
  return lstatSync(path);
}

/** A socket file that nobody serves any more is replaced. */
async function removeStale(path: string): Promise<void> {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: DIRECTORY_MODE });
    if (!lstatSync(path).isSocket()) throw refused(`listen at ${path}`, "bind", "EEXIST");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT") return;
    if (error instanceof Error && error.name === "SystemCallError") throw error;
    throw refused(`listen at ${path}`, "stat", code ?? "EIO");
  }
  if (await isServed(path)) {
    throw refused(`listen at ${path}`, "bind", "EADDRINUSE", "another process serves it");
  }
  unlinkSync(path);
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path, timeout: PROBE_TIME_MS });
    const answer = (isServedNow: boolean) => {
      socket.destroy();
      resolve(isServedNow);
    };
    socket.once("connect", () => answer(true));
    socket.once("timeout", () => answer(true));
    socket.once("error", () => answer(false));
  });
}

/** The connections that other users have beyond their number. */
function watchOthers(server: Server): ReadonlySet<Socket> {
  const surplus = new Set<Socket>();
  let count = 0;
  server.on("connection", (socket: Socket) => {
    const caller = callerOf(socket);
    if (caller !== undefined && isTrusted(caller)) return;
    count++;
    if (count > CONNECTIONS_OF_OTHERS_MAX) surplus.add(socket);
    socket.once("close", () => {
      count--;
      surplus.delete(socket);
    });
    if (count > CONNECTIONS_OF_OTHERS_MAX + CONNECTIONS_REFUSED_MAX) socket.destroy();
  });
  return surplus;
}

function removeOwn(path: string, file: Stats): void {
  try {
    const now = lstatSync(path);
    if (now.ino === file.ino && now.dev === file.dev) unlinkSync(path);
  } catch {
    // Somebody has removed it.
  }
}

/** What is known of a connection when a question comes. */
interface Serving extends ControlServerOptions {
  readonly gid: number | undefined;
  readonly isSurplus: boolean;
  /** Of all questions that are being answered; they are aborted at the end. */
  readonly calls: Set<AbortController>;
}

async function serve(
  { group, gid, isSurplus, calls, routes, path }: Serving,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const call = new AbortController();
  const { signal } = call;
  calls.add(call);
  response.once("close", () => {
    calls.delete(call);
    call.abort();
  });
  try {
    const caller = callerOf(request.socket);
    if (caller === undefined || !mayAsk(caller, gid)) {
      await send(response, denied(path, group), signal);
      return;
    }
    if (isSurplus) {
      await send(response, problem(503, "Too many ask at once", "try again soon"), signal);
      return;
    }
    const body = await readBody(request);
    if (body === undefined) {
      await send(response, problem(413, "The question is too long"), signal);
      return;
    }
    await send(response, await answer(routes, request, body, caller, signal), signal);
  } catch {
    // The caller has gone, or a handler failed half-way through its answer.
    response.destroy();
  }
}

async function answer(
  routes: ControlRoutes,
  request: IncomingMessage,
  body: Uint8Array,
  caller: PeerCredentials,
  signal: AbortSignal,
): Promise<ControlReply> {
  const url = urlOf(request.url ?? "/");
  if (url === undefined) return problem(400, "The path of the question is none");
  const method = (request.method ?? "GET").toUpperCase();
  const handler = routes.get(`${method} ${url.pathname}`);
  if (handler === undefined) {
    const known = [...routes.keys()].join(", ");
    return problem(404, `There is no ${method} ${url.pathname} here`, `Known: ${known}`);
  }
  const question: ControlRequest = {
    ...{ method, path: url.pathname, query: url.searchParams, body, caller, signal },
  };
  try {
    return await handler(question);
  } catch (error) {
    return problem(500, `Internal error: ${error instanceof Error ? error.message : error}`);
  }
}

/** Undefined for what is no path, such as `//`. */
function urlOf(text: string): URL | undefined {
  try {
    return new URL(text, "http://ipref");
  } catch {
    return undefined;
  }
}

function problem(status: number, error: string, fix = ""): ControlReply {
  const body = `${JSON.stringify({ error, fix })}\n`;
  return { status, contentType: "application/json", body };
}

function denied(path: string, group: string | undefined): ControlReply {
  const fix =
    group === undefined ? "run the command as root" : `join the group: usermod -aG ${group} $USER`;
  return problem(403, `You may not ask at ${path}`, fix);
}

type Caller = PeerCredentials & { readonly groups: readonly number[] };

/** The descriptor of a node socket has no public name; it has been `_handle.fd` since Node 0.6. */
function callerOf(socket: Socket): Caller | undefined {
  const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd;
  if (fd === undefined || fd < 0) return undefined;
  return { ...peerCredentials(fd), groups: peerGroups(fd) };
}

function isTrusted({ uid }: Caller): boolean {
  return uid === 0 || uid === process.geteuid?.();
}

function mayAsk(caller: Caller, allowed: number | undefined): boolean {
  if (isTrusted(caller)) return true;
  const { gid, groups } = caller;
  const wanted = allowed ?? process.getegid?.();
  return wanted !== undefined && (gid === wanted || groups.includes(wanted));
}

async function readBody(request: IncomingMessage): Promise<Uint8Array | undefined> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

async function send(
  response: ServerResponse,
  { status, contentType, body }: ControlReply,
  signal: AbortSignal,
): Promise<void> {
  if (typeof body === "string" || body instanceof Uint8Array) {
    const bytes = Buffer.from(body as string);
    response.writeHead(status, { "content-type": contentType, "content-length": bytes.length });
    response.end(bytes);
    return;
  }
  response.writeHead(status, { "content-type": contentType });
  response.flushHeaders();
  for await (const piece of body) {
    if (signal.aborted) break;
    if (!response.write(piece)) await drained(response);
  }
  response.end();
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      response.off("drain", go);
      response.off("close", go);
      resolve();
    };
    response.once("drain", go);
    response.once("close", go);
  });
}
