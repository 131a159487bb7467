/**
 * Health checks of CoreDNS (spec/resolver.md 4.1, 4.2): a failed exchange starts them; the root's
 * NS is asked at once and then every interval until any reply arrives.
 */

import { type RandomSource, randomBelow } from "../../base/random.js";
import { readU16 } from "../../wire/bytes.js";
import { FLAG_QR, FLAG_RD, TYPE_NS } from "../../wire/dns/numbers.js";
import type { Clock, Log, UpstreamOptions } from "../ports.js";
import { Deadline, type DeadlineWheel } from "./deadlines.js";
import { questionInto } from "./question.js";
import type { ServerState } from "./server-state.js";
import type { StreamReceiver, StreamTicket } from "./stream-pool.js";
import {
  type DatagramExchange,
  type DatagramReceiver,
  QUESTION_MESSAGE_MAX_BYTES,
} from "./transport.js";

/** spec/resolver.md 4.2. */
const CHECK_TIMEOUT_MS = 1000;

/** What all checks of a group share. */
export interface HealthWorld {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly wheel: DeadlineWheel;
  readonly log: Log;
  readonly options: UpstreamOptions;
}

const streamMessage = new Uint8Array(QUESTION_MESSAGE_MAX_BYTES);

/** Checks one server until it replies. */
export class HealthCheck extends Deadline implements DatagramReceiver, StreamReceiver {
  readonly #world: HealthWorld;
  readonly #server: ServerState;
  #exchange: DatagramExchange | undefined;
  #ticket: StreamTicket | undefined;
  #sentAtMs = 0;
  /** Waits for a reply, not for the next round. */
  #isAsking = false;

  constructor(world: HealthWorld, server: ServerState) {
    super();
    this.#world = world;
    this.#server = server;
  }

  /** An exchange failed; does nothing while checks run. */
  begin(): void {
    if (this.#server.isChecking || this.#world.options.maxFails === 0) return;
    this.#server.isChecking = true;
    this.#ask();
  }

  stop(): void {
    this.#world.wheel.cancel(this);
    this.#release();
  }

  expire(nowMs: number): void {
    if (!this.#isAsking) this.#ask();
    else this.#fail(nowMs);
  }

  onDatagram(bytes: Uint8Array, length: number): void {
    const sent = this.#exchange?.message;
    if (sent === undefined || length < 12) return;
    if (readU16(bytes, 0) !== readU16(sent, 0) || (readU16(bytes, 2) & FLAG_QR) === 0) return;
    this.#succeed();
  }

  onRefused(): void {
    this.#fail(this.#world.clock.monotonicMs());
  }

  onMessage(): void {
    this.#ticket = undefined;
    this.#succeed();
  }

  onLost(): void {
    this.#ticket = undefined;
    this.#fail(this.#world.clock.monotonicMs());
  }

  #ask(): void {
    const { clock, wheel, options } = this.#world;
    this.#sentAtMs = clock.monotonicMs();
    this.#isAsking = true;
    wheel.set(this, this.#sentAtMs + CHECK_TIMEOUT_MS, this.#sentAtMs);
    const isStream = options.isTcpForced || this.#server.server.transport === "tls";
    if (isStream) this.#askByStream();
    else this.#askByDatagram();
  }

  #askByStream(): void {
    const length = this.#questionInto(streamMessage);
    this.#ticket = this.#server.pool.ask(streamMessage, length, this);
  }

  #askByDatagram(): void {
    const exchange = this.#server.target.open(this);
    if (typeof exchange === "string") {
      this.#fail(this.#sentAtMs);
      return;
    }
    this.#exchange = exchange;
    const refusal = exchange.send(this.#questionInto(exchange.message));
    if (refusal !== undefined) this.#fail(this.#sentAtMs);
  }

  #questionInto(target: Uint8Array): number {
    const { random, options } = this.#world;
    const question = { name: options.healthCheckName, type: TYPE_NS, isDnssecOk: false };
    return questionInto(target, question, {
      id: randomBelow(random, 0x1_0000),
      flags: options.isHealthCheckRecursive ? FLAG_RD : 0,
      caseRandom: undefined,
      hasEdns: false,
    });
  }

  #succeed(): void {
    this.stop();
    this.#isAsking = false;
    const { log, options } = this.#world;
    if (this.#server.failCount > options.maxFails) {
      log.write(
        "INFO",
        undefined,
        `upstream ${this.#server.label} answers again`,
        "dns-upstream-up",
      );
    }
    this.#server.failCount = 0;
    this.#server.isChecking = false;
  }

  #fail(nowMs: number): void {
    this.#release();
    this.#isAsking = false;
    const { log, options, wheel } = this.#world;
    this.#server.countCheckFailed();
    if (++this.#server.failCount === options.maxFails + 1) {
      log.write(
        "WARNING",
        undefined,
        `upstream ${this.#server.label} does not answer`,
        "dns-upstream-down",
      );
    }
    const nextAtMs = Math.max(nowMs + 1, this.#sentAtMs + options.healthCheckMs);
    wheel.set(this, nextAtMs, nowMs);
  }

  #release(): void {
    this.#exchange?.release();
    this.#exchange = undefined;
    this.#ticket?.cancel(true);
    this.#ticket = undefined;
  }
}
