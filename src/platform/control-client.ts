/** Asks a running part of the system over its control socket (platform/control-server.ts). */

import { statSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import type { Refusal } from "../control/inspection/api.js";
import { groupName } from "./unix-address.js";

/** Time until the first octet of an answer. */
const ANSWER_TIME_MS = 10_000;
/** Whole answers are read into memory up to this length; longer ones are streamed. */
const TEXT_BYTES_MAX = 16 * 2 ** 20;
/** Time for the whole of such an answer; the longest question looks for ten seconds. */
const TEXT_TIME_MS = 20_000;
const EXIT_NOT_RUNNING = 4;
const EXIT_UNAVAILABLE = 69;
const EXIT_NO_PERMISSION = 77;

/** One question. */
export interface ControlCall {
  readonly method?: "GET" | "POST";
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal;
}

/** The part cannot be asked; the message says why and what to do. */
export class ControlUnavailable extends Error {
  override readonly name = "ControlUnavailable";
  /** 4 not running, 77 no permission, 69 anything else. */
  readonly exitStatus: number;

  constructor(message: string, exitStatus: number) {
    super(message);
    this.exitStatus = exitStatus;
  }
}

/** An answer whose head has arrived. */
export class ControlAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly #message: IncomingMessage;
  readonly #socketPath: string;

  constructor(message: IncomingMessage, socketPath: string) {
    this.#socketPath = socketPath;
    this.status = message.statusCode ?? 0;
    this.contentType = message.headers["content-type"] ?? "";
    this.#message = message;
  }

  /** The body as it arrives; throws ControlUnavailable when it breaks off. */
  async *stream(): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#message as AsyncIterable<Buffer>;
    } catch (error) {
      if (!(error instanceof Error) || error.name === "AbortError") throw error;
      throw this.#failure("broke off");
    }
  }

  /** The whole body, which may have `bytesMax` octets and take `timeMs`. */
  async text(bytesMax = TEXT_BYTES_MAX, timeMs = TEXT_TIME_MS): Promise<string> {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    const timer = setTimeout(() => this.#message.destroy(), timeMs);
    try {
      for await (const piece of this.stream()) {
        bytes += piece.length;
        if (bytes > bytesMax) throw this.#failure("is too long");
        pieces.push(piece);
      }
    } finally {
      clearTimeout(timer);
    }
    return Buffer.concat(pieces).toString("utf8");
  }

  async json(bytesMax = TEXT_BYTES_MAX): Promise<unknown> {
    const text = await this.text(bytesMax);
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw this.#failure("is no JSON");
    }
  }

  #failure(what: string): ControlUnavailable {
    return new ControlUnavailable(`The answer from ${this.#socketPath} ${what}`, EXIT_UNAVAILABLE);
  }
}

/**
 * Asks; resolves when the answer's head is there, whatever its status, but for 403, which throws
 * ControlUnavailable like a socket that cannot be reached.
 */
export async function callControl(socketPath: string, call: ControlCall): Promise<ControlAnswer> {
  const answer = new ControlAnswer(await exchange(socketPath, call), socketPath);
  if (answer.status !== 403) return answer;
  const { error, fix } = (await answer.json()) as Refusal;
  throw new ControlUnavailable(`${error}; ${fix}`, EXIT_NO_PERMISSION);
}

function exchange(socketPath: string, call: ControlCall): Promise<IncomingMessage> {
  const { method = "GET", path, query, body, signal } = call;
  const search = query === undefined ? "" : `?${new URLSearchParams({ ...query })}`;
  return new Promise((resolve, reject) => {
    const question = request({
      socketPath,
      method,
      path: `${path}${search}`,
      agent: false,
      ...(signal !== undefined && { signal }),
    });
    const timer = setTimeout(() => {
      question.destroy(new Error("no answer in time"));
    }, ANSWER_TIME_MS);
    question.once("response", (message) => {
      clearTimeout(timer);
      resolve(message);
    });
    question.once("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(unavailable(socketPath, error));
    });
    question.end(body);
  });
}

function unavailable(path: string, error: NodeJS.ErrnoException): Error {
  if (error.name === "AbortError") return error;
  if (error.code === "ENOENT" || error.code === "ECONNREFUSED") {
    return new ControlUnavailable(
      `Nothing answers at ${path}: start the system with sudo ipref up, ` +
        "or name its run folder with --run",
      EXIT_NOT_RUNNING,
    );
  }
  if (error.code === "EACCES" || error.code === "EPERM") {
    const group = groupOf(path);
    const join = group === undefined ? "" : `, or join its group: sudo usermod -aG ${group} $USER`;
    return new ControlUnavailable(
      `You may not ask at ${path}: run the command with sudo${join}`,
      EXIT_NO_PERMISSION,
    );
  }
  return new ControlUnavailable(
    `No answer from ${path}: ${error.code ?? error.message}`,
    EXIT_UNAVAILABLE,
  );
}

/** The group of a socket file, unless it is root's. */
function groupOf(path: string): string | undefined {
  try {
    const { gid } = statSync(path);
    return gid === 0 ? undefined : groupName(gid);
  } catch {
    return undefined;
  }
}
