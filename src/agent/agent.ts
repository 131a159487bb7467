/**
 * The DNS agent (spec/dns-agent.md): sources, and the one connection to the mapper that serves all
 * of them. The core decides; sockets, files, clocks and chance are in `AgentWorld`.
 *
 * The way of a name: poller -> fetcher (transfer) -> candidates -> vote -> host look-up -> set and
 * hash -> delivery -> mapper.
 */

import type { IpAddress } from "../base/ip.js";
import { type RandomSource, randomBelow } from "../base/random.js";
import { Delivery, type DeliveryCounts } from "./delivery.js";
import { fetchersOf } from "./fetchers.js";
import type { KeyRing } from "./key-file.js";
import { readReply } from "./mapper-publication.js";
import { handleNotify } from "./notify.js";
import type { AgentWorld, MapperLink } from "./ports.js";
import { type PlaceStatus, Source, type SourceSettings, type TransferCounts } from "./source.js";
import type { SourceSpec } from "./source-spec.js";

/** spec/dns-agent.md 8.5: 1, 2, 4, ... 10 s. */
const RECONNECT_MIN_MS = 1000;
const RECONNECT_MAX_MS = 10_000;
const ID_COUNT = 65_536;

/** Settings of an agent. */
export interface AgentSettings extends SourceSettings {
  readonly specs: readonly SourceSpec[];
  readonly keys: KeyRing;
  /** Bytes of one message; the default is that of spec/dns-agent.md 8.2. */
  readonly payloadBytesMax?: number;
}

/** State of one source, for status displays. */
export interface SourceStatus {
  readonly name: string;
  /** Hosts in the accepted set; undefined: there is none yet. */
  readonly hostCount: number | undefined;
  /** The mapper has acknowledged the whole set. */
  readonly isComplete: boolean;
  readonly places: readonly PlaceStatus[];
}

/** What has happened to one source since the start, for metrics. */
export interface SourceCounts extends SourceStatus {
  /** Seconds since 1970 when a server last confirmed its content. */
  readonly confirmedAtSeconds: number | undefined;
  readonly serial: number | undefined;
  readonly transfers: Readonly<TransferCounts>;
  readonly deliveries: Readonly<DeliveryCounts>;
}

/** An agent. */
export class Agent {
  readonly #world: AgentWorld;
  readonly #sources: readonly Source[];
  readonly #bySource: ReadonlyMap<string, Source>;
  #link: MapperLink | undefined;
  #generation = 0;
  #retryDelayMs = 0;
  #cancelRetry = () => {};
  #lastError: string | undefined;
  #nextId: number;
  #isClosed = false;

  constructor(settings: AgentSettings, world: AgentWorld) {
    this.#world = world;
    this.#nextId = firstId(world.random);
    this.#sources = settings.specs.map((spec) => this.#sourceOf(spec, settings));
    this.#bySource = new Map(this.#sources.map((source) => [source.spec.name, source]));
  }

  get isConnected(): boolean {
    return this.#link !== undefined;
  }

  /** Connects to the mapper and begins to poll. */
  start(): void {
    this.#connect();
    for (const source of this.#sources) source.start();
  }

  /** Ends everything at once. */
  close(): void {
    this.#isClosed = true;
    this.#cancelRetry();
    for (const source of this.#sources) source.close();
    this.#generation++;
    this.#link?.close();
    this.#link = undefined;
  }

  /** Handles a NOTIFY datagram; returns the reply. Borrows the message. */
  notify(message: Uint8Array, from: IpAddress): Uint8Array | undefined {
    return handleNotify(message, from, this.#sources, this.#world);
  }

  /** Asks all servers soon, e.g. after a reload. */
  pollNow(): void {
    for (const source of this.#sources) source.hint();
  }

  status(): SourceStatus[] {
    return this.#sources.map((source) => ({
      name: source.spec.name,
      hostCount: source.delivery.set?.records.length,
      isComplete: source.delivery.isComplete,
      places: source.places(),
    }));
  }

  counts(): SourceCounts[] {
    const states = this.status();
    return this.#sources.map(({ confirmedAtSeconds, serial, transfers, delivery }, index) => ({
      ...states[index]!,
      confirmedAtSeconds,
      serial,
      transfers,
      deliveries: delivery.counts,
    }));
  }

  #sourceOf(spec: SourceSpec, settings: AgentSettings): Source {
    const { timers, random, log } = this.#world;
    const { intervalSeconds, localVersion, gatewayVersion, payloadBytesMax } = settings;
    const versions = { local: localVersion, tunnel: gatewayVersion };
    const delivery = new Delivery({
      publisher: { local: spec.local, public: spec.public, versions },
      name: spec.name,
      intervalSeconds,
      ...(payloadBytesMax === undefined ? {} : { payloadBytesMax }),
      timers,
      random,
      log,
      nextId: () => this.#takeId(),
      send: (message) => this.#link?.send(message) ?? false,
    });
    const fetchers = fetchersOf(spec, this.#world, settings.keys);
    return new Source(spec, fetchers, settings, this.#world, delivery);
  }

  /** Packet ids count up by one and skip 0 (spec/dns-agent.md 8.2). */
  #takeId(): number {
    const id = this.#nextId;
    this.#nextId = id === ID_COUNT - 1 ? 1 : id + 1;
    return id;
  }

  #connect(): void {
    const generation = ++this.#generation;
    const link = this.#world.mapper.connect({
      onMessage: (message) => {
        if (generation === this.#generation) this.#receive(message);
      },
      onClose: () => {
        if (generation === this.#generation) this.#lost();
      },
    });
    if ("error" in link) {
      const isNew = link.error !== this.#lastError;
      if (isNew) this.#world.log.warning(link.error, "agent-mapper-lost");
      this.#lastError = link.error;
      this.#planRetry();
      return;
    }
    this.#link = link;
    this.#lastError = undefined;
    this.#world.log.info("connected to the mapper", "agent-mapper-connected");
    for (const { delivery } of this.#sources) delivery.connected();
  }

  #planRetry(): void {
    const doubledMs = Math.min(RECONNECT_MAX_MS, 2 * this.#retryDelayMs);
    this.#retryDelayMs = Math.max(RECONNECT_MIN_MS, doubledMs);
    this.#cancelRetry = this.#world.timers.after(this.#retryDelayMs, () => {
      if (!this.#isClosed) this.#connect();
    });
  }

  #lost(): void {
    this.#link = undefined;
    this.#generation++;
    if (this.#isClosed) return;
    this.#world.log.warning("lost the connection to the mapper", "agent-mapper-lost");
    for (const { delivery } of this.#sources) delivery.disconnected();
    this.#planRetry();
  }

  #receive(message: Uint8Array): void {
    const reply = readReply(message);
    if (reply === undefined) {
      this.#world.log.error("the mapper sent a malformed message, dropped", "agent-mapper-fault");
      return;
    }
    if (reply === "other") return;
    this.#retryDelayMs = 0; // a mapper that answers deserves a quick return
    const source = this.#bySource.get(reply.source);
    if (source === undefined) this.#world.log.debug(`reply about unknown source ${reply.source}`);
    else source.delivery.reply(reply);
  }
}

function firstId(random: RandomSource): number {
  return 1 + randomBelow(random, ID_COUNT - 1);
}
