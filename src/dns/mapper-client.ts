/**
 * Client of the gateway's mapper (spec/resolver.md 1.8): one connection for the whole process, any
 * number of requests in flight, matched by random ids, each with its own deadline. Monotonic clock.
 *
 * - Equal requests in flight are one request.
 * - When the connection is lost, everything learned from this mapper is void (`onLost`). It is
 *   opened again at once, then after 250 ms to 5 s; requests in flight are sent once more. While it
 *   cannot be opened new requests fail at once, except that each may try when 250 ms have passed.
 * - Replies with an unknown id are ignored; anything malformed closes the connection.
 */

import { addressKey, type IpAddress, type IpVersion } from "../base/ip.js";
import { type RandomSource, randomBelow } from "../base/random.js";
import type { Reference } from "../base/reference.js";
import {
  buildGetEaRequest,
  type GetEaReply,
  isMapperMessage,
  messageId,
  readGetEaReply,
  setRequestId,
} from "./mapper-client-message.js";
import type { Clock, Log, MapperPort, MapperResult, Metrics, Timers } from "./ports.js";

/** spec/resolver.md 8. */
export const MAPPER_TIMEOUT_MS = 500;
export const RECONNECT_MIN_MS = 250;
export const RECONNECT_MAX_MS = 5000;

/** Half of all ids, so that a free one is found after two guesses on average. */
const IN_FLIGHT_MAX = 32_768;
const ID_COUNT = 65_536;
/** spec/resolver.md 1.8: then the versions of gateway and resolver may differ. */
const TIMEOUTS_TO_WARN = 3;

/** An open connection. */
export interface MapperLink {
  /** Borrows the message. False when it was not taken: the connection is closing. */
  send(message: Uint8Array): boolean;
  close(): void;
}

/** What a connection reports; nothing more comes after `onClose`. */
export interface MapperLinkEvents {
  /** Borrowed until return. */
  onMessage(message: Uint8Array): void;
  onClose(): void;
}

/** Opens connections to one mapper; returns why it cannot. */
export interface MapperTransport {
  connect(events: MapperLinkEvents): MapperLink | { readonly error: string };
}

/** The world of a mapper client. */
export interface MapperClientParts {
  /** For the log. */
  readonly path: string;
  readonly transport: MapperTransport;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly log: Log;
  readonly metrics: Metrics;
}

interface Pending {
  readonly key: string;
  readonly message: Uint8Array;
  readonly startedAtMs: number;
  readonly promise: Promise<MapperResult>;
  readonly resolve: (result: MapperResult) => void;
  /** Connections it was sent on. */
  sentCount: number;
  isDone: boolean;
}

const REFUSED: MapperResult = { kind: "refused" };
const NO_LABELS = Object.freeze({});

/** One mapper; see the file header. */
export class MapperClient implements MapperPort {
  readonly #parts: MapperClientParts;
  readonly #byId = new Map<number, Pending>();
  readonly #byKey = new Map<string, Pending>();
  /** In order of their deadlines, which are all equally far away. */
  #queue: Pending[] = [];
  #queueHead = 0;
  readonly #lostListeners: (() => void)[] = [];
  #link: MapperLink | undefined;
  #generation = 0;
  #lastAttemptMs = Number.NEGATIVE_INFINITY;
  #lastError = "not connected";
  #retryDelayMs = 0;
  #cancelRetry: (() => void) | undefined;
  #cancelDeadline: (() => void) | undefined;
  #timeoutsInRow = 0;
  #isReady = false;
  #isClosed = false;
  #isFailureLogged = false;

  constructor(parts: MapperClientParts) {
    this.#parts = parts;
  }

  /** The mapper has accepted a connection; without requests there is nothing it could answer. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Requests that wait for their answer. */
  get inFlightCount(): number {
    return this.#byId.size;
  }

  onLost(listener: () => void): void {
    this.#lostListeners.push(listener);
  }

  /** Opens the connection; afterwards it is kept open. */
  start(): void {
    if (this.#link === undefined && !this.#isClosed) this.#connect();
  }

  /** Ends the connection and all requests; the client is not used afterwards. */
  close(): void {
    this.#isClosed = true;
    this.#cancelRetry?.();
    this.#cancelDeadline?.();
    const link = this.#link;
    this.#link = undefined;
    this.#generation++;
    link?.close();
    for (const pending of [...this.#byId.values()]) this.#fail(pending, "the server stops");
  }

  getEncodedAddress(
    context: IpAddress,
    reference: Reference,
    name: string,
    encodedVersion: IpVersion,
  ): Promise<MapperResult> {
    const key = `${encodedVersion}${addressKey(context)}+${reference.toString(36)}`;
    const same = this.#byKey.get(key);
    if (same !== undefined) return same.promise;
    const detail = this.#whyNot();
    if (detail !== undefined) return Promise.resolve({ kind: "unavailable", detail });
    const message = buildGetEaRequest(context, reference, name, encodedVersion);
    const pending = this.#register(key, message);
    this.#send(pending);
    return pending.promise;
  }

  /** Why no request can be made now; opens the connection if it may. */
  #whyNot(): string | undefined {
    if (this.#isClosed) return "the server stops";
    if (this.#byId.size >= IN_FLIGHT_MAX) return "too many requests in flight";
    if (this.#link !== undefined) return undefined;
    const sinceMs = this.#parts.clock.monotonicMs() - this.#lastAttemptMs;
    if (sinceMs >= RECONNECT_MIN_MS) this.#connect();
    return this.#link === undefined ? this.#lastError : undefined;
  }

  #register(key: string, message: Uint8Array): Pending {
    let resolve: (result: MapperResult) => void = () => {};
    const promise = new Promise<MapperResult>((settle) => {
      resolve = settle;
    });
    const startedAtMs = this.#parts.clock.monotonicMs();
    const pending: Pending = {
      key,
      message,
      startedAtMs,
      promise,
      resolve,
      sentCount: 0,
      isDone: false,
    };
    setRequestId(message, this.#unusedId());
    this.#byId.set(messageId(message), pending);
    this.#byKey.set(key, pending);
    this.#queue.push(pending);
    this.#armDeadline();
    return pending;
  }

  #unusedId(): number {
    for (;;) {
      const id = randomBelow(this.#parts.random, ID_COUNT);
      if (!this.#byId.has(id)) return id;
    }
  }

  #send(pending: Pending): void {
    pending.sentCount++;
    this.#link?.send(pending.message);
  }

  #connect(): void {
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#lastAttemptMs = this.#parts.clock.monotonicMs();
    const generation = ++this.#generation;
    const link = this.#parts.transport.connect({
      onMessage: (message) => {
        if (generation === this.#generation) this.#receive(message);
      },
      onClose: () => {
        if (generation === this.#generation) this.#lost("the mapper closed the connection");
      },
    });
    if ("error" in link) this.#connectFailed(link.error);
    else this.#connected(link);
  }

  #connected(link: MapperLink): void {
    this.#link = link;
    this.#isReady = true;
    this.#retryDelayMs = 0;
    this.#isFailureLogged = false;
    this.#parts.log.write(
      "INFO",
      "ipref",
      `connected to the mapper at ${this.#parts.path}`,
      "dns-mapper-connected",
    );
    for (const pending of [...this.#byId.values()]) {
      if (this.#link !== link) return;
      this.#send(pending);
    }
  }

  #connectFailed(error: string): void {
    this.#lastError = error;
    if (!this.#isFailureLogged) {
      this.#isFailureLogged = true;
      this.#parts.log.write("WARNING", "ipref", error, "dns-mapper-lost");
    }
    this.#planRetry();
  }

  #planRetry(): void {
    const doubledMs = Math.min(RECONNECT_MAX_MS, 2 * this.#retryDelayMs);
    this.#retryDelayMs = Math.max(RECONNECT_MIN_MS, doubledMs);
    this.#cancelRetry = this.#parts.timers.after(this.#retryDelayMs, () => {
      this.#cancelRetry = undefined;
      if (this.#link === undefined && !this.#isClosed) this.#connect();
    });
  }

  /** The connection is gone: voids what was learned, connects and sends again. */
  #lost(why: string): void {
    this.#link = undefined;
    this.#generation++;
    this.#lastError = why;
    this.#parts.log.write(
      "WARNING",
      "ipref",
      `mapper at ${this.#parts.path}: ${why}`,
      "dns-mapper-lost",
    );
    for (const listener of this.#lostListeners) listener();
    for (const pending of [...this.#byId.values()]) {
      if (pending.sentCount > 1) this.#fail(pending, why);
    }
    // A mapper that accepts and closes at once must not be asked in a loop.
    const sinceMs = this.#parts.clock.monotonicMs() - this.#lastAttemptMs;
    if (sinceMs >= RECONNECT_MIN_MS) this.#connect();
    else this.#planRetry();
  }

  #receive(message: Uint8Array): void {
    if (!isMapperMessage(message)) {
      this.#reject("it sent a malformed message");
      return;
    }
    const pending = this.#byId.get(messageId(message));
    if (pending === undefined) return;
    const reply = readGetEaReply(message, pending.message);
    if (reply.kind === "malformed") this.#reject("it sent a malformed answer");
    else if (reply.kind !== "foreign") this.#answered(pending, reply);
  }

  #answered(pending: Pending, reply: GetEaReply & { kind: "address" | "refused" }): void {
    this.#timeoutsInRow = 0;
    const durationMs = this.#parts.clock.monotonicMs() - pending.startedAtMs;
    this.#parts.metrics.observe(
      "coredns_ipref_mapper_duration_seconds",
      NO_LABELS,
      durationMs / 1000,
    );
    this.#finish(pending, reply.kind === "refused" ? REFUSED : reply);
  }

  #reject(why: string): void {
    const link = this.#link;
    this.#generation++; // the close of this connection is not reported again
    link?.close();
    this.#lost(why);
  }

  #fail(pending: Pending, detail: string): void {
    this.#finish(pending, { kind: "unavailable", detail });
  }

  #finish(pending: Pending, result: MapperResult): void {
    pending.isDone = true;
    this.#byId.delete(messageId(pending.message));
    this.#byKey.delete(pending.key);
    pending.resolve(result);
  }

  #armDeadline(): void {
    if (this.#cancelDeadline !== undefined) return;
    const first = this.#queue[this.#queueHead];
    if (first === undefined) return;
    const waitMs = first.startedAtMs + MAPPER_TIMEOUT_MS - this.#parts.clock.monotonicMs();
    this.#cancelDeadline = this.#parts.timers.after(Math.max(0, waitMs), () => {
      this.#cancelDeadline = undefined;
      this.#expire();
    });
  }

  #expire(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    for (;;) {
      const first = this.#queue[this.#queueHead];
      if (first === undefined) break;
      if (!first.isDone) {
        if (first.startedAtMs + MAPPER_TIMEOUT_MS > nowMs) break;
        this.#timedOut(first);
      }
      this.#queueHead++;
    }
    if (this.#queueHead > 0) this.#queue = this.#queue.slice(this.#queueHead);
    this.#queueHead = 0;
    this.#armDeadline();
  }

  #timedOut(pending: Pending): void {
    const isOpen = this.#link !== undefined;
    this.#fail(pending, isOpen ? "the mapper did not answer in time" : this.#lastError);
    if (!isOpen || ++this.#timeoutsInRow !== TIMEOUTS_TO_WARN) return;
    this.#parts.log.write(
      "WARNING",
      "ipref",
      `mapper at ${this.#parts.path}: three requests in a row were not answered; ` +
        "ea-ipver or gw-ipver may differ from the gateway's",
    );
  }
}
