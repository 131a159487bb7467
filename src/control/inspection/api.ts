/**
 * Questions to a running part of the system: one HTTP interface per part, over a UNIX socket whose
 * callers are known by their credentials. Handlers run on the part's main thread and must return
 * soon; what is long is an async iterable whose steps are short.
 */

import type { ClientCredentials } from "../ports.js";

/** One question. `body` is owned by the handler. */
export interface ControlRequest {
  /** In capitals. */
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: Uint8Array;
  readonly caller: ClientCredentials;
  /** Aborted when the caller goes away, or the part ends. */
  readonly signal: AbortSignal;
}

/** One answer. An iterable is sent piece by piece as fast as the caller takes it. */
export interface ControlReply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Uint8Array | AsyncIterable<string | Uint8Array>;
}

export type ControlHandler = (request: ControlRequest) => ControlReply | Promise<ControlReply>;

/** Handlers by method and path, such as "GET /status". */
export type ControlRoutes = ReadonlyMap<string, ControlHandler>;

/** What a refused question is answered with. */
export interface Refusal {
  /** What is wrong, one sentence. */
  readonly error: string;
  /** What to do about it; empty when there is nothing to say. */
  readonly fix: string;
}

/** A value as JSON. */
export function jsonReply(value: unknown, status = 200): ControlReply {
  return { status, contentType: "application/json", body: `${JSON.stringify(value)}\n` };
}

/** Plain text. */
export function textReply(text: string, status = 200): ControlReply {
  return { status, contentType: "text/plain; charset=utf-8", body: text };
}

/** A refusal with its reason. */
export function refusal(status: number, error: string, fix = ""): ControlReply {
  return jsonReply({ error, fix } satisfies Refusal, status);
}
