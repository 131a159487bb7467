/**
 * From a received message to its reply (spec/resolver.md 1.1, 1.2):
 *
 *   1. accept: header, counts, names, OPT   → NOTIMP, FORMERR or nothing
 *   2. source: rate limit                   → nothing
 *   3. EDNS version, class, NOTIFY          → BADVERS, REFUSED, NOTAUTH
 *   4. choose the block, source filter      → REFUSED
 *   5. chain
 *   6. finish: sections, size, OPT
 *
 * Steps 1 to 4 allocate nothing. When the chain answers at once, the reply is in the caller's
 * memory on return; otherwise it is delivered later. A handler that throws costs one SERVFAIL
 * (spec/resolver.md 5.4).
 */

import { toHex } from "../../base/hex.js";
import { readU16 } from "../../wire/bytes.js";
import type { DnsFault } from "../../wire/dns/fault.js";
import {
  CLASS_IN,
  FLAG_RCODE_MASK,
  MESSAGE_MAX_BYTES,
  OPCODE_NOTIFY,
  RCODE_FORMERR,
  RCODE_NOTAUTH,
  RCODE_NOTIMP,
  RCODE_SERVFAIL,
} from "../../wire/dns/numbers.js";
import { type Answer, failure, REFUSED, type Reply, type StreamAnswer } from "../answer.js";
import type { Chain } from "../chain.js";
import type { Environment } from "../ports.js";
import { type Origin, Query } from "../query.js";
import { badVersionInto, Finisher, headerOnlyInto } from "./finish.js";
import type { Listener } from "./listeners.js";
import { SourceLimits } from "./rate-limit.js";
import type { SourceFilter } from "./source-filter.js";

/** One received message, from the sockets. The server keeps it while a reply is pending. */
export interface Incoming {
  readonly origin: Origin;
  readonly listener: Listener;
  /** Sends a reply that was not ready at once. Borrows `message`. */
  deliver(message: Uint8Array): void;
  /** Sends a stream of messages over TCP, pulling as the connection drains. */
  deliverStream(answer: StreamAnswer): void;
}

/** `receive` returned while the reply is pending: it comes through `Incoming`. */
export const PENDING = -1;

/** spec/resolver.md 1.14: client queries in flight. */
const IN_FLIGHT_MAX = 4096;

const FORMERR_ANSWER = failure(RCODE_FORMERR);
const NOTAUTH_ANSWER = failure(RCODE_NOTAUTH);
const BUSY_ANSWER = failure(RCODE_SERVFAIL, "too many queries in flight");

/** Messages that never reach a chain, by reason. */
export type RejectReason =
  | DnsFault
  | "rate-limit"
  | "class"
  | "edns-version"
  | "notify"
  | "no-block"
  | "source";

/** The server of one thread. */
export class DnsServer {
  readonly #environment: Environment;
  readonly #finisher = new Finisher();
  readonly #limits: SourceLimits;
  readonly #filter: SourceFilter;
  readonly #lateTarget = new Uint8Array(MESSAGE_MAX_BYTES + 1024);
  #query = new Query();
  #inFlight = 0;

  constructor(environment: Environment, filter: SourceFilter, limits = new SourceLimits()) {
    this.#environment = environment;
    this.#filter = filter;
    this.#limits = limits;
  }

  /** Time that idle connections stay open, as clients are told (RFC 7828). */
  set tcpIdleMs(idleMs: number) {
    this.#finisher.tcpIdleMs = idleMs;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * Handles bytes[0, length). Fills the reply into `target` and returns its length, 0 for none, or
   * `PENDING`. `target` is not `bytes` and has room for 65,535 octets over TCP, 5,120 over UDP.
   */
  receive(bytes: Uint8Array, length: number, incoming: Incoming, target: Uint8Array): number {
    const query = this.#query;
    query.receivedAtMs = this.#environment.clock.monotonicMs();
    query.origin = incoming.origin;
    query.depth = 0;
    const fault = query.read(bytes, length);
    if (fault !== undefined) return this.#reject(fault, target);
    if (!this.#limits.mayAsk(incoming.origin.client.address, query.receivedAtMs)) {
      return this.#count("rate-limit");
    }
    if (query.ednsVersion > 0) {
      this.#count("edns-version");
      return badVersionInto(target, query);
    }
    try {
      return this.#route(query, incoming, target);
    } catch (error) {
      return this.#write(query, this.#bug(query, error), undefined, target);
    }
  }

  #count(reason: RejectReason): 0 {
    this.#environment.metrics.count("ipref_dns_rejected_total", { reason });
    return 0;
  }

  /** Replies to messages that cannot be read: header only, or nothing (spec/resolver.md 1.2). */
  #reject(fault: DnsFault, target: Uint8Array): number {
    this.#count(fault);
    if (fault === "message-too-short" || fault === "message-is-response") return 0;
    const { id, flags, origin, receivedAtMs } = this.#query;
    // A forged source must not turn garbage into traffic without bound.
    if (!this.#limits.mayAsk(origin.client.address, receivedAtMs)) return 0;
    const rcode = fault === "opcode-unknown" ? RCODE_NOTIMP : FORMERR_ANSWER.rcode;
    return headerOnlyInto(target, id, flags, rcode);
  }

  #route(query: Query, incoming: Incoming, target: Uint8Array): number {
    if (query.opcode === OPCODE_NOTIFY) {
      this.#count("notify");
      return this.#write(query, NOTAUTH_ANSWER, undefined, target);
    }
    if (query.class !== CLASS_IN) return this.#refuse("class", query, target);
    const chain = incoming.listener.routes.select(query.name.key, query.type);
    if (chain === undefined) return this.#refuse("no-block", query, target);
    if (!this.#filter.isAllowed(chain.configuration, query.client.address))
      return this.#refuse("source", query, target);
    if (this.#inFlight >= IN_FLIGHT_MAX) return this.#write(query, BUSY_ANSWER, chain, target);
    const reply = this.#ask(chain, query);
    if (!(reply instanceof Promise)) return this.#finish(query, reply, chain, incoming, target);
    this.#finishLater(query, reply, chain, incoming);
    return PENDING;
  }

  #refuse(reason: RejectReason, query: Query, target: Uint8Array): number {
    this.#count(reason);
    if (!this.#limits.mayRefuse(query.client.address, query.receivedAtMs)) return 0;
    return this.#write(query, REFUSED, undefined, target);
  }

  #ask(chain: Chain, query: Query): Reply {
    try {
      return chain.ask(query);
    } catch (error) {
      return this.#bug(query, error);
    }
  }

  /** spec/resolver.md 5.4: a bug in handling one message costs one SERVFAIL. */
  #bug(query: Query, error: unknown): Answer {
    const { log, metrics } = this.#environment;
    metrics.count("coredns_panics_total", {});
    const text = error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
    log.write(
      "ERROR",
      undefined,
      `Recovered from a bug in handling a query: ${text}`,
      "internal-error",
    );
    if (log.isDebug) {
      log.write("DEBUG", undefined, `message ${toHex(query.bytes.subarray(0, query.length))}`);
    }
    return failure(RCODE_SERVFAIL, "internal error");
  }

  #finishLater(query: Query, reply: Promise<Answer>, chain: Chain, incoming: Incoming): void {
    query.retain();
    this.#query = new Query();
    this.#inFlight++;
    reply
      .catch((error: unknown) => this.#bug(query, error))
      .then((answer) => {
        this.#inFlight--;
        const target = this.#lateTarget;
        const length = this.#finish(query, answer, chain, incoming, target);
        if (length > 0) incoming.deliver(target.subarray(0, length));
      })
      .catch((error: unknown) => this.#bug(query, error));
  }

  #finish(
    query: Query,
    answer: Answer,
    chain: Chain,
    incoming: Incoming,
    target: Uint8Array,
  ): number {
    if (answer.kind !== "stream") return this.#write(query, answer, chain, target);
    if (query === this.#query) {
      query.retain();
      this.#query = new Query();
    }
    incoming.deliverStream(answer);
    this.#observe(query, answer, chain, target, 0);
    return PENDING;
  }

  #write(query: Query, answer: Answer, chain: Chain | undefined, target: Uint8Array): number {
    const sizeMax = query.replySizeMax(chain?.sizeBytes ?? MESSAGE_MAX_BYTES);
    const flags = chain?.replyFlags ?? 0;
    const length = this.#finisher.finishInto(target, query, answer, flags, sizeMax);
    if (chain?.hasObservers) this.#observe(query, answer, chain, target, length);
    return length;
  }

  #observe(query: Query, answer: Answer, chain: Chain, target: Uint8Array, length: number): void {
    const flags = length > 0 ? readU16(target, 2) : 0;
    chain.finished(query, {
      answer,
      rcode: answer.rcode > FLAG_RCODE_MASK ? answer.rcode : flags & FLAG_RCODE_MASK,
      flags,
      replyBytes: length,
      durationMs: this.#environment.clock.monotonicMs() - query.receivedAtMs,
    });
  }
}
