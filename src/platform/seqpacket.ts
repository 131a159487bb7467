/**
 * SOCK_SEQPACKET listener and client on the reactor: the mapper socket, spec/mapper.md 2.1 and
 * 8 (items 3 and 6); unix(7). Main thread.
 *
 * A socket file left by a process that has ended is replaced; one that a live process serves is
 * not. The file is removed on close only if it is still the one made here.
 */

import { chmodSync, chownSync, lstatSync, mkdirSync, type Stats, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import * as libc from "./libc.js";
import { EPOLLIN, type Reactor } from "./reactor.js";
import {
  SEND_LIMITS_DEFAULT,
  type SendLimits,
  SeqpacketConnection,
  type SeqpacketHandlers,
} from "./seqpacket-connection.js";
import { lastRefusal, processName, refused } from "./system-error.js";
import { callWithPath, groupId, newSeqpacketSocket, peerCredentials } from "./unix-address.js";

const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const BACKLOG = 128;
const DIRECTORY_MODE = 0o775; // spec/mapper.md 2.1
const SOCKET_MODE = 0o660;
const ACCEPTS_PER_TURN_MAX = 32;
/** Pause after the process has run out of descriptors, so that accepting does not spin. */
const ACCEPT_PAUSE_MS = 100;

/** How to listen. */
export interface ListenOptions {
  readonly path: string;
  readonly mode?: number;
  /** Name or number of the group that may use the socket; default: that of the process. */
  readonly group?: string;
  readonly limits?: SendLimits;
}

/** What the owner of a listener wants to hear. */
export interface ListenHandlers extends SeqpacketHandlers {
  onConnect?(connection: SeqpacketConnection): void;
}

/** Listens at a path and makes connections. */
export class SeqpacketListener {
  readonly path: string;
  private readonly reactor: Reactor;
  private readonly fd: number;
  private readonly handlers: ListenHandlers;
  private readonly limits: SendLimits;
  private readonly file: Stats;
  private readonly connections = new Set<SeqpacketConnection>();
  private isClosed = false;

  constructor(reactor: Reactor, options: ListenOptions, handlers: ListenHandlers) {
    this.path = options.path;
    this.reactor = reactor;
    this.handlers = handlers;
    this.limits = options.limits ?? SEND_LIMITS_DEFAULT;
    prepareDirectory(options.path);
    removeStaleSocket(options.path);
    this.fd = bindAt(options);
    this.file = lstatSync(options.path);
    reactor.add(this.fd, EPOLLIN, () => this.acceptAll());
  }

  /** Number of open connections. */
  get connectionCount(): number {
    return this.connections.size;
  }

  /** Stops listening, closes all connections and removes the socket file if it is ours. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.reactor.remove(this.fd);
    libc.close(this.fd);
    for (const connection of [...this.connections]) connection.close();
    removeOwnFile(this.path, this.file);
  }

  private acceptAll(): void {
    for (let count = 0; count < ACCEPTS_PER_TURN_MAX; count++) {
      const fd = libc.accept4(this.fd, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        const code = libc.lastErrorName();
        if (code === "EMFILE" || code === "ENFILE" || code === "ENOMEM") this.pauseAccepting();
        if (code !== "ECONNABORTED" && code !== "EINTR") return;
      } else this.welcome(fd);
    }
  }

  private pauseAccepting(): void {
    this.reactor.modify(this.fd, 0);
    const resume = () => {
      if (!this.isClosed) this.reactor.modify(this.fd, EPOLLIN);
    };
    setTimeout(resume, ACCEPT_PAUSE_MS).unref();
  }

  private welcome(fd: number): void {
    const handlers: SeqpacketHandlers = {
      onMessages: (connection, messages) => this.handlers.onMessages(connection, messages),
      onClose: (connection, reason) => {
        this.connections.delete(connection);
        this.handlers.onClose?.(connection, reason);
      },
    };
    const connection = new SeqpacketConnection(this.reactor, fd, handlers, this.limits);
    this.connections.add(connection);
    this.handlers.onConnect?.(connection);
  }
}

/** Connects to a listener. Throws SystemCallError when nobody listens or access is refused. */
export function connectSeqpacket(
  reactor: Reactor,
  path: string,
  handlers: SeqpacketHandlers,
  limits: SendLimits = SEND_LIMITS_DEFAULT,
): SeqpacketConnection {
  const fd = newSeqpacketSocket();
  if (callWithPath(libc.connect, fd, path) < 0) {
    const error = lastRefusal(`connect to ${path}`, "connect", "check that the gateway runs");
    libc.close(fd);
    throw error;
  }
  return new SeqpacketConnection(reactor, fd, handlers, limits);
}

function prepareDirectory(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: DIRECTORY_MODE });
  } catch (error) {
    throw fileRefusal(`create the directory of the socket ${path}`, "mkdir", error);
  }
}

function removeStaleSocket(path: string): void {
  const file = lstatSync(path, { throwIfNoEntry: false });
  if (file === undefined) return;
  const action = `listen at ${path}`;
  if (!file.isSocket()) {
    const advice = "something that is not a socket is there; remove it or choose another path";
    throw refused(action, "lstat", "EEXIST", advice);
  }
  const holder = findHolder(path);
  if (holder !== undefined) {
    const advice = `it is already served by ${holder}; stop that process or choose another path`;
    throw refused(action, "connect", "EADDRINUSE", advice);
  }
  unlinkSync(path);
}

/** Who serves the socket file now; undefined when nobody does. */
function findHolder(path: string): string | undefined {
  const fd = newSeqpacketSocket();
  try {
    if (callWithPath(libc.connect, fd, path) === 0) {
      const { pid } = peerCredentials(fd);
      return `pid ${pid} (${processName(pid)})`;
    }
    const code = libc.lastErrorName();
    return code === "ECONNREFUSED" || code === "ENOENT" ? undefined : `a process (${code})`;
  } finally {
    libc.close(fd);
  }
}

/** Permissions are set between bind and listen, so that nobody can connect before. */
function bindAt(options: ListenOptions): number {
  const { path } = options;
  const fd = newSeqpacketSocket();
  try {
    if (callWithPath(libc.bindSocket, fd, path) < 0) throw lastRefusal(`listen at ${path}`, "bind");
    chmodSync(path, options.mode ?? SOCKET_MODE);
    if (options.group !== undefined) setGroup(path, options.group);
    if (libc.listen(fd, BACKLOG) < 0) throw lastRefusal(`listen at ${path}`, "listen");
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

function setGroup(path: string, group: string): void {
  const gid = groupId(group);
  if (gid === undefined) {
    const advice = "create it (groupadd --system) or name another one";
    throw refused(`give ${path} to the group ${group}`, "getgrnam", "ENOENT", advice);
  }
  try {
    chownSync(path, process.getuid!(), gid);
  } catch (error) {
    throw fileRefusal(`give ${path} to the group ${group}`, "chown", error);
  }
}

function fileRefusal(action: string, syscall: string, error: unknown): Error {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === undefined) return error as Error;
  const advice = code === "EACCES" || code === "EPERM" ? "run as root or choose another path" : "";
  return refused(action, syscall, code, advice);
}

function removeOwnFile(path: string, own: Stats): void {
  const file = lstatSync(path, { throwIfNoEntry: false });
  if (file?.ino === own.ino && file.dev === own.dev) unlinkSync(path);
}
