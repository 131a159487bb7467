/**
 * A group of servers asked as one: what `forward` and `ipref` call their upstream. Single flight,
 * limits and the end of the group live here; policy, health and the way of one question in the
 * files beside. All state is of this process and thread.
 */

import type { RandomSource } from "../../base/random.js";
import { Name } from "../../wire/dns/name.js";
import { TYPE_HINFO } from "../../wire/dns/numbers.js";
import type {
  Clock,
  Log,
  Metrics,
  Timers,
  UpstreamOptions,
  UpstreamPort,
  UpstreamQuestion,
  UpstreamResult,
  UpstreamServer,
} from "../ports.js";
import { DeadlineWheel } from "./deadlines.js";
import { Flight } from "./flight.js";
import { FlightTable, flightKeyOf } from "./flight-table.js";
import { HealthCheck } from "./health.js";
import { questionOf } from "./question.js";
import { ServerSelection } from "./selection.js";
import { ServerState } from "./server-state.js";
import { StreamPool } from "./stream-pool.js";
import type { DatagramTransport, StreamTransport } from "./transport.js";

/** Octets of a loop probe's random label, written in hexadecimal. */
const PROBE_WORDS = 4;
const PROBE_BUDGET_MS = 4000;

/** What a group needs from outside. */
export interface UpstreamWorld {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly datagrams: DatagramTransport;
  readonly streams: StreamTransport;
}

/** What a flight sees of its group. */
export interface FlightControl {
  readonly options: UpstreamOptions;
  readonly random: RandomSource;
  readonly wheel: DeadlineWheel;
  nowMs(): number;
  serverFailed(server: ServerState): void;
  flightEnded(flight: Flight): void;
}

/** Servers, their state, and the questions in flight. */
export class UpstreamGroup implements UpstreamPort, FlightControl {
  readonly options: UpstreamOptions;
  readonly random: RandomSource;
  readonly wheel: DeadlineWheel;
  readonly servers: readonly ServerState[];
  readonly #world: UpstreamWorld;
  readonly #selection: ServerSelection;
  readonly #checks: ReadonlyMap<ServerState, HealthCheck>;
  readonly #flights = new FlightTable<Flight>();
  #isStopped = false;

  /** `servers`: at least one. */
  constructor(servers: readonly UpstreamServer[], options: UpstreamOptions, world: UpstreamWorld) {
    const { clock, timers, random, log } = world;
    this.options = options;
    this.random = random;
    this.#world = world;
    const wheel = new DeadlineWheel(clock, timers);
    this.wheel = wheel;
    this.servers = servers.map((server) => this.#stateOf(server));
    this.#selection = new ServerSelection(this.servers, options, random);
    const shared = { clock, random, wheel, log, options };
    this.#checks = new Map(this.servers.map((state) => [state, new HealthCheck(shared, state)]));
  }

  /** Questions in flight. */
  get size(): number {
    return this.#flights.size;
  }

  ask(question: UpstreamQuestion): Promise<UpstreamResult> {
    const key = flightKeyOf(question);
    const nowMs = this.nowMs();
    const running = this.#flights.get(key);
    if (running !== undefined) return running.join(question, nowMs);
    if (this.#flights.size >= this.options.concurrentMax) return Promise.resolve(this.#overload());
    const order = this.#selection.order();
    if (order.length === 0 || this.#isStopped) return Promise.resolve(this.#nobody());
    const flight = new Flight(this, key, question, order);
    this.#flights.add(flight);
    const result = flight.join(question, nowMs);
    flight.start(nowMs);
    return result;
  }

  probeLoops(zone: Name, register: (name: Name, found: () => void) => void): void {
    for (const server of this.servers) {
      const name = this.#probeName(zone);
      register(name, () => this.#foundLoop(server));
      const question = questionOf(name, TYPE_HINFO, PROBE_BUDGET_MS);
      // The reply does not matter; the probe's return to this server does.
      const key = flightKeyOf(question);
      const flight = new Flight(this, key, question, [server]);
      this.#flights.add(flight);
      const nowMs = this.nowMs();
      void flight.join(question, nowMs);
      flight.start(nowMs);
    }
  }

  /** True when the server is out of use after failed checks. */
  isDown(server: ServerState): boolean {
    return this.#selection.isDown(server);
  }

  nowMs(): number {
    return this.#world.clock.monotonicMs();
  }

  serverFailed(server: ServerState): void {
    if (!this.#isStopped) this.#checks.get(server)!.begin();
  }

  flightEnded(flight: Flight): void {
    this.#flights.delete(flight);
  }

  /** Ends everything that is in flight; the group is not used afterwards. */
  stop(): void {
    this.#isStopped = true;
    for (const flight of this.#flights.values()) flight.abandon();
    for (const check of this.#checks.values()) check.stop();
    for (const server of this.servers) server.pool.close();
    this.wheel.stop();
  }

  #stateOf(server: UpstreamServer): ServerState {
    const { clock, random, metrics, datagrams, streams } = this.#world;
    const pool = new StreamPool({
      open: (events) => streams.connect(server, this.options.tls, events),
      random,
      clock,
      wheel: this.wheel,
      idleMs: this.options.expireMs,
    });
    return new ServerState(server, datagrams.target(server.endpoint), pool, metrics);
  }

  #overload(): UpstreamResult {
    this.#world.metrics.count("coredns_forward_max_concurrent_rejects_total", {});
    const detail = `more than ${this.options.concurrentMax} questions in flight`;
    return { ok: false, failure: "overload", detail };
  }

  #nobody(): UpstreamResult {
    if (this.servers.every((server) => server.isLooping)) {
      return { ok: false, failure: "loop", detail: "the upstream leads back to this server" };
    }
    this.#world.metrics.count("coredns_forward_healthcheck_broken_total", {});
    return { ok: false, failure: "network", detail: "no healthy server" };
  }

  #foundLoop(server: ServerState): void {
    if (server.isLooping) return;
    server.isLooping = true;
    const text = `upstream ${server.label} leads back to this server; it is not asked any more`;
    this.#world.log.write("ERROR", "loop", text, "dns-loop");
  }

  /** 32 hexadecimal digits in front of the zone: nobody has this name, nobody can guess it. */
  #probeName(zone: Name): Name {
    let digits = "";
    for (let count = 0; count < PROBE_WORDS; count++) {
      digits += this.random.word().toString(16).padStart(8, "0");
    }
    const label = Uint8Array.from(digits, (_, index) => digits.charCodeAt(index));
    return zone.prepend(label) ?? Name.ROOT.prepend(label)!;
  }
}
