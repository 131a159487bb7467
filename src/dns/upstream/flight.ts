/**
 * One question on its way to the servers of a group (spec/resolver.md 1.14, 4.2 to 4.4).
 *
 *   asking by datagram ── reply ──────────────────────────────► finished
 *     │  │  │             TC, ten strangers, case changed twice ► asking by stream
 *     │  │  └─ FORMERR without OPT ► the same server again, without EDNS
 *     │  └──── refused, malformed, SERVFAIL where that counts ► next server
 *     └─────── nothing in 400, 800, 1,600 ms ► next server
 *
 * Each attempt has its own source port, id and case. Everybody who asks the same meanwhile waits
 * for the same flight, each with the budget of its own.
 */

import { randomBelow } from "../../base/random.js";
import { readU16 } from "../../wire/bytes.js";
import type { Name } from "../../wire/dns/name.js";
import {
  FLAG_RCODE_MASK,
  FLAG_TC,
  RCODE_FORMERR,
  RCODE_REFUSED,
  RCODE_SERVFAIL,
} from "../../wire/dns/numbers.js";
import { HEADER_LENGTH } from "../../wire/dns/reader.js";
import { sameData } from "../../wire/dns/record.js";
import type { UpstreamFailure, UpstreamQuestion, UpstreamResult } from "../ports.js";
import { Deadline } from "./deadlines.js";
import type { FlightEntry, FlightKey } from "./flight-table.js";
import type { FlightControl } from "./group.js";
import { judgeReply } from "./judgement.js";
import { questionFlags, questionInto } from "./question.js";
import { type ReceivedReply, readReply } from "./reply.js";
import type { ServerState } from "./server-state.js";
import type { StreamReceiver, StreamTicket } from "./stream-pool.js";
import {
  type DatagramExchange,
  type DatagramReceiver,
  QUESTION_MESSAGE_MAX_BYTES,
} from "./transport.js";

/** spec/resolver.md 1.14. */
const ATTEMPT_MS = [400, 800, 1600] as const;
/** spec/resolver.md 1.14: including the connection. */
const STREAM_MS = 1500;
/** spec/resolver.md 4.4. */
const STRANGERS_MAX = 10;
/** Rounds through all servers when each of them refuses at once, and the pause between. */
const REFUSED_ROUNDS_MAX = 3;
const ROUND_PAUSE_MS = 100;

interface Waiter {
  readonly name: Name;
  readonly deadlineMs: number;
  readonly resolve: (result: UpstreamResult) => void;
}

/** The question sent over a stream, to compare its reply with. */
const streamMessage = new Uint8Array(QUESTION_MESSAGE_MAX_BYTES);

/** One question in flight. */
export class Flight extends Deadline implements DatagramReceiver, StreamReceiver, FlightEntry {
  readonly key: FlightKey;
  nextInBucket: FlightEntry | undefined = undefined;
  readonly #control: FlightControl;
  readonly #question: UpstreamQuestion;
  readonly #order: readonly ServerState[];
  readonly #waiters: Waiter[] = [];
  #server: ServerState;
  #exchange: DatagramExchange | undefined;
  #ticket: StreamTicket | undefined;
  /** End of the present attempt or pause. */
  #attemptEndMs = 0;
  #sentAtMs = 0;
  #position = 0;
  #timeouts = 0;
  #errors = 0;
  #strangers = 0;
  #hasEdns = true;
  #isPausing = false;
  #isFinished = false;
  /** What to answer when no server does better: SERVFAIL or REFUSED. */
  #fallback: ReceivedReply | undefined;
  #failure: UpstreamFailure = "timeout";
  #detail = "";

  /** `order` has at least one server. */
  constructor(
    control: FlightControl,
    key: FlightKey,
    question: UpstreamQuestion,
    order: readonly ServerState[],
  ) {
    super();
    this.#control = control;
    this.key = key;
    this.#question = question;
    this.#order = order;
    this.#server = order[0]!;
  }

  /** Adds somebody who waits; the result is spelled as `question.name`. */
  join(question: UpstreamQuestion, nowMs: number): Promise<UpstreamResult> {
    const deadlineMs = nowMs + question.budgetMs;
    return new Promise((resolve) => {
      this.#waiters.push({ name: question.name, deadlineMs, resolve });
      // A joiner in a greater hurry than the present alarm.
      if (this.slot >= 0 && deadlineMs < this.dueAtMs) this.#setAlarm(nowMs);
    });
  }

  /** Asks the first server. */
  start(nowMs: number): void {
    this.#attempt(nowMs);
  }

  /** Ends with a failure; for the end of the group. */
  abandon(): void {
    this.#fail("network", "the server stops");
  }

  /** The attempt, a pause, or somebody's patience is over. */
  expire(nowMs: number): void {
    this.#dismissLate(nowMs);
    if (this.#waiters.length === 0) this.#finish();
    else if (nowMs < this.#attemptEndMs) this.#setAlarm(nowMs);
    else if (this.#isPausing) this.#next(nowMs);
    else this.#timeOut(nowMs);
  }

  // Attempts

  #attempt(nowMs: number): void {
    this.#isPausing = false;
    this.#strangers = 0;
    this.#sentAtMs = nowMs;
    this.#hasEdns = this.#server.hasEdns(nowMs);
    if (this.#control.options.isTcpForced || this.#server.needsStream(nowMs)) {
      this.#askByStream(nowMs);
    } else {
      this.#askByDatagram(nowMs);
    }
  }

  #askByDatagram(nowMs: number): void {
    const exchange = this.#server.target.open(this);
    if (typeof exchange === "string") {
      this.#attemptFailed("network", exchange, nowMs);
      return;
    }
    this.#exchange = exchange;
    const { random } = this.#control;
    const length = questionInto(exchange.message, this.#question, {
      id: randomBelow(random, 0x1_0000),
      flags: questionFlags(this.#question),
      caseRandom: this.#server.isSuspect(nowMs) ? undefined : random,
      hasEdns: this.#hasEdns,
    });
    this.#attemptEndMs = nowMs + (ATTEMPT_MS[this.#timeouts] ?? ATTEMPT_MS[2]);
    this.#setAlarm(nowMs);
    const refusal = exchange.send(length);
    if (refusal !== undefined) this.onRefused(refusal);
  }

  /** The rest of this attempt goes over a connection, which is hard to forge. */
  #askByStream(nowMs: number): void {
    this.#releaseAttempt(false);
    this.#attemptEndMs = nowMs + STREAM_MS;
    this.#setAlarm(nowMs);
    const length = questionInto(streamMessage, this.#question, {
      id: 0,
      flags: questionFlags(this.#question),
      caseRandom: undefined,
      hasEdns: this.#hasEdns,
    });
    this.#ticket = this.#server.pool.ask(streamMessage, length, this);
  }

  #timeOut(nowMs: number): void {
    if (this.#ticket !== undefined) this.#server.noteStreamFailed();
    this.#releaseAttempt(true);
    this.#control.serverFailed(this.#server);
    this.#timeouts++;
    this.#failure = "timeout";
    this.#detail = `no reply from ${this.#server.label}`;
    if (this.#timeouts >= ATTEMPT_MS.length) this.#giveUp();
    else this.#next(nowMs);
  }

  /** The server said something useless, or the network did. */
  #attemptFailed(failure: UpstreamFailure, detail: string, nowMs: number): void {
    if (this.#ticket !== undefined) this.#server.noteStreamFailed();
    this.#releaseAttempt(false);
    if (failure === "network") this.#control.serverFailed(this.#server);
    this.#failure = failure;
    this.#detail = `${this.#server.label}: ${detail}`;
    this.#errors++;
    if (this.#errors % this.#order.length !== 0) this.#next(nowMs);
    else this.#roundFailed(nowMs);
  }

  /** Every server failed since the last pause. */
  #roundFailed(nowMs: number): void {
    const rounds = this.#errors / this.#order.length;
    const isHopeless = this.#fallback !== undefined || this.#failure !== "network";
    if (isHopeless || rounds >= REFUSED_ROUNDS_MAX) {
      this.#giveUp();
      return;
    }
    this.#isPausing = true;
    this.#attemptEndMs = nowMs + ROUND_PAUSE_MS;
    this.#setAlarm(nowMs);
  }

  #next(nowMs: number): void {
    this.#position = (this.#position + 1) % this.#order.length;
    this.#server = this.#order[this.#position]!;
    this.#attempt(nowMs);
  }

  // Replies

  onDatagram(bytes: Uint8Array, length: number): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    const questionEnd = this.#questionEnd();
    const judgement = judgeReply(bytes, length, exchange.message, questionEnd);
    const isSuspect = this.#server.isSuspect(this.#sentAtMs);
    if (judgement === "reply" || (judgement === "case" && isSuspect)) {
      if (!isSuspect) this.#server.noteCaseKept();
      this.#accept(bytes, length, false);
    } else if (judgement === "bare" && this.#hasEdns) {
      this.#askWithoutEdns();
    } else {
      this.#ignore(judgement);
    }
  }

  onRefused(detail: string): void {
    this.#attemptFailed("network", detail, this.#control.nowMs());
  }

  onMessage(bytes: Uint8Array): void {
    const questionEnd = this.#questionEnd();
    const { wire } = this.#question.name;
    streamMessage[0] = bytes[0]!;
    streamMessage[1] = bytes[1]!;
    streamMessage.set(wire, HEADER_LENGTH);
    streamMessage[questionEnd - 4] = this.#question.type >>> 8;
    streamMessage[questionEnd - 3] = this.#question.type;
    streamMessage[questionEnd - 2] = 0;
    streamMessage[questionEnd - 1] = 1;
    const judgement = judgeReply(bytes, bytes.length, streamMessage, questionEnd);
    if (judgement === "reply" || judgement === "case") this.#accept(bytes, bytes.length, true);
    else if (judgement === "bare" && this.#hasEdns) this.#askWithoutEdns();
    else {
      this.#server.countIgnored(judgement);
      this.#attemptFailed("malformed", "the reply belongs to another question", this.#now());
    }
  }

  onLost(detail: string): void {
    this.#attemptFailed("network", detail, this.#now());
  }

  #ignore(judgement: string): void {
    const nowMs = this.#now();
    this.#server.countIgnored(judgement);
    const isSuspect = judgement === "case" && this.#server.noteCaseChanged(nowMs);
    if (isSuspect || ++this.#strangers >= STRANGERS_MAX) this.#askByStream(nowMs);
  }

  /** Borrows bytes[0, length), a message that repeats the question. */
  #accept(bytes: Uint8Array, length: number, isStream: boolean): void {
    const flags = readU16(bytes, 2);
    if (!isStream && (flags & FLAG_TC) !== 0) {
      this.#askByStream(this.#now());
      return;
    }
    const reply = readReply(bytes, length, this.#question);
    if (reply === undefined) {
      this.#attemptFailed("malformed", "the reply does not decode", this.#now());
    } else if (reply.rcode === RCODE_FORMERR && !reply.hasOpt && this.#hasEdns) {
      this.#askWithoutEdns();
    } else {
      this.#judgeRcode(reply, flags);
    }
  }

  #judgeRcode(reply: ReceivedReply, flags: number): void {
    const nowMs = this.#now();
    const rcode = flags & FLAG_RCODE_MASK;
    this.#server.observe(rcode, nowMs - this.#sentAtMs);
    const isRefusal = rcode === RCODE_SERVFAIL || rcode === RCODE_REFUSED;
    if (!isRefusal || !this.#control.options.isRefusalRetried) {
      this.#finish(reply);
      return;
    }
    this.#fallback = reply;
    this.#attemptFailed("malformed", rcode === RCODE_REFUSED ? "REFUSED" : "SERVFAIL", nowMs);
  }

  /** FORMERR without OPT (spec/resolver.md 4.3): this server once more without EDNS, remembered. */
  #askWithoutEdns(): void {
    const nowMs = this.#now();
    this.#server.rememberWithoutEdns(nowMs);
    this.#releaseAttempt(false);
    this.#attempt(nowMs);
  }

  // Ends

  #giveUp(): void {
    if (this.#fallback !== undefined) this.#finish(this.#fallback);
    else this.#fail(this.#failure, this.#detail);
  }

  #fail(failure: UpstreamFailure, detail: string): void {
    this.#finish(undefined, { ok: false, failure, detail });
  }

  #finish(reply?: ReceivedReply, failure?: UpstreamResult): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#releaseAttempt(false);
    this.#control.flightEnded(this);
    for (const { name, resolve } of this.#waiters) {
      if (reply === undefined) resolve(failure!);
      else if (sameSpelling(name, this.#question.name)) resolve(reply);
      else resolve(reply.spelledAs(name));
    }
  }

  /** Tells those whose budget is used up. */
  #dismissLate(nowMs: number): void {
    for (let index = this.#waiters.length - 1; index >= 0; index--) {
      const { deadlineMs, resolve, name } = this.#waiters[index]!;
      if (deadlineMs > nowMs) continue;
      this.#waiters.splice(index, 1);
      const detail = this.#detail === "" ? `no reply from ${this.#server.label}` : this.#detail;
      if (this.#fallback !== undefined) resolve(this.#fallback.spelledAs(name));
      else resolve({ ok: false, failure: "timeout", detail });
    }
  }

  #setAlarm(nowMs: number): void {
    let dueAtMs = this.#attemptEndMs;
    for (const { deadlineMs } of this.#waiters) dueAtMs = Math.min(dueAtMs, deadlineMs);
    this.#control.wheel.set(this, dueAtMs, nowMs);
  }

  #releaseAttempt(isTimeout: boolean): void {
    this.#control.wheel.cancel(this);
    const exchange = this.#exchange;
    const ticket = this.#ticket;
    this.#exchange = undefined;
    this.#ticket = undefined;
    exchange?.release();
    ticket?.cancel(isTimeout);
  }

  #questionEnd(): number {
    return HEADER_LENGTH + this.#question.name.wire.length + 4;
  }

  #now(): number {
    return this.#control.nowMs();
  }
}

function sameSpelling(a: Name, b: Name): boolean {
  return a === b || sameData(a.wire, b.wire);
}
