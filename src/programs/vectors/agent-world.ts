/**
 * The world of one agent scenario in simulated time: name servers that hand the scenario's zones
 * out by AXFR, the resolver, and the mapper's end of the socket. Nothing waits for a real clock.
 */

import { txtData } from "../../agent/fetchers.js";
import type { AddressAnswer, AgentWorld, DnsStream, StreamReceived } from "../../agent/ports.js";
import { formatIp, type IpVersion, parseIp } from "../../base/ip.js";
import { seededRandom } from "../../base/random.js";
import { ANSWER_COUNT_OFFSET, MessageBuilder } from "../../wire/dns/builder.js";
import { decodeMessage } from "../../wire/dns/message.js";
import { type Name, nameOf } from "../../wire/dns/name.js";
import {
  FLAG_AA,
  FLAG_QR,
  MESSAGE_MAX_BYTES,
  RCODE_REFUSED,
  TYPE_AXFR,
  TYPE_IXFR,
  TYPE_NS,
  TYPE_SOA,
  TYPE_TXT,
} from "../../wire/dns/numbers.js";
import { type ResourceRecord, recordOf } from "../../wire/dns/record.js";
import type { AgentScenario, ScenarioZone } from "./agent-file.js";

const TTL_SECONDS = 300;
const SERIAL_FIRST = 2_025_070_101;

/** Timers that run when told, in the order of their times. */
export class SimulatedTime {
  nowMs = 0;
  #next = 0;
  readonly #timers = new Map<number, { readonly atMs: number; readonly action: () => void }>();

  readonly timers = {
    after: (delayMs: number, action: () => void) => {
      const id = this.#next++;
      this.#timers.set(id, { atMs: this.nowMs + delayMs, action });
      return () => void this.#timers.delete(id);
    },
  };

  /** Runs everything that is due until `endMs`. */
  async runUntil(endMs: number): Promise<void> {
    for (;;) {
      await settle();
      const due = this.#earliest();
      if (due === undefined || due[1].atMs > endMs) break;
      this.#timers.delete(due[0]);
      this.nowMs = Math.max(this.nowMs, due[1].atMs);
      due[1].action();
    }
    this.nowMs = endMs;
  }

  #earliest() {
    let best: [number, { readonly atMs: number; readonly action: () => void }] | undefined;
    for (const entry of this.#timers) {
      if (best === undefined || entry[1].atMs < best[1].atMs) best = entry;
    }
    return best;
  }
}

/** Lets all promises that are ready run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A message that the agent sent. */
export interface SentMessage {
  readonly atMs: number;
  readonly bytes: Uint8Array;
}

/** What a scenario's mapper answers to a message; undefined: nothing. */
export type Answer = (message: Uint8Array) => Uint8Array | undefined;

/** Everything around one agent. */
export class ScenarioWorld {
  readonly time = new SimulatedTime();
  readonly sent: SentMessage[] = [];
  readonly world: AgentWorld;
  readonly #scenario: AgentScenario;
  readonly #polls = new Map<number, number>();

  constructor(scenario: AgentScenario, seed: number, answer: Answer) {
    this.#scenario = scenario;
    const resolver = {
      addresses: async (name: string, version: IpVersion) => this.#lookUp(name, version),
      texts: async () => ({ kind: "absent" as const, reason: "it has no TXT record" }),
    };
    const quiet = () => {};
    this.world = {
      clock: { monotonicMs: () => this.time.nowMs, unixSeconds: () => 1_750_000_000 },
      timers: this.time.timers,
      random: seededRandom(seed),
      log: { info: quiet, warning: quiet, error: quiet, debug: quiet },
      publicResolver: resolver,
      localResolver: resolver,
      streams: {
        open: async (address, port) => {
          const text = `${formatIp(address)}:${port}`;
          const index = scenario.servers.findIndex(({ server }) => server === text);
          if (index < 0) return { ok: false, reason: "connection refused" };
          return { ok: true, stream: this.#server(index) };
        },
      },
      hmac: () => new Uint8Array(32),
      files: { read: async () => ({ error: "no files here" }), watch: () => quiet },
      mapper: { connect: (events) => this.#mapper(events.onMessage, answer) },
    };
  }

  #mapper(reply: (message: Uint8Array) => void, answer: Answer) {
    return {
      send: (message: Uint8Array) => {
        this.sent.push({ atMs: this.time.nowMs, bytes: message.slice() });
        const bytes = answer(message);
        if (bytes !== undefined) this.time.timers.after(1, () => reply(bytes));
        return true;
      },
      close: () => {},
    };
  }

  #lookUp(name: string, version: IpVersion): AddressAnswer {
    const { local_hosts: local, other_names: other } = this.#scenario;
    const texts = local[name] ?? other[name];
    if (texts === undefined) return { kind: "absent", reason: "it does not exist" };
    const addresses = texts.map((text) => parseIp(text)!).filter((one) => one.version === version);
    if (addresses.length > 0) return { kind: "found", addresses };
    return { kind: "absent", reason: `it has no IPv${version} address` };
  }

  /** A connection to a server; the zone changes between its first and its second connection. */
  #server(index: number): DnsStream {
    const poll = (this.#polls.get(index) ?? 0) + 1;
    this.#polls.set(index, poll);
    const changed = poll > 1 ? this.#scenario.zone_after_change : undefined;
    const apex = nameOf(`${this.#scenario.config.source.split(":")[1]}.`);
    const serial = SERIAL_FIRST + (changed === undefined ? 0 : 1);
    const zone = zoneRecords(changed ?? this.#scenario.servers[index]!.zone, apex, serial);
    const queue: Uint8Array[] = [];
    return {
      send: (message) => void queue.push(...answersTo(message, zone)),
      receive: async (): Promise<StreamReceived> => {
        const message = queue.shift();
        return message === undefined ? { ok: false, reason: "no answer" } : { ok: true, message };
      },
      close: () => {},
    };
  }
}

/** The SOA, an NS, and the TXT records of a zone. */
function zoneRecords(zone: ScenarioZone, apex: Name, serial: number): ResourceRecord[] {
  const numbers = new Uint8Array(20);
  const view = new DataView(numbers.buffer);
  for (const [index, value] of [serial, 3600, 600, 86_400, 300].entries()) {
    view.setUint32(4 * index, value);
  }
  const soa = recordOf(apex, TYPE_SOA, TTL_SECONDS, Uint8Array.of(...apex.wire, 0, ...numbers));
  const records = [soa, recordOf(apex, TYPE_NS, TTL_SECONDS, apex.wire)];
  for (const { name, txt } of zone) {
    const owner = name === "@" ? apex : nameOf(`${name}.${apex}`);
    records.push(recordOf(owner, TYPE_TXT, TTL_SECONDS, txtData(txt)));
  }
  return records;
}

function answersTo(request: Uint8Array, zone: readonly ResourceRecord[]): Uint8Array[] {
  const decoded = decodeMessage(request);
  if (!decoded.ok) return [];
  const { id, questions } = decoded.message;
  const question = questions[0]!;
  const soa = zone[0]!;
  const isTransfer = question.type === TYPE_AXFR || question.type === TYPE_IXFR;
  const isRefused = !question.name.equals(soa.owner) || (!isTransfer && question.type !== TYPE_SOA);
  const target = new Uint8Array(MESSAGE_MAX_BYTES);
  const builder = new MessageBuilder();
  builder.begin(target, MESSAGE_MAX_BYTES, id, FLAG_QR | FLAG_AA | (isRefused ? RCODE_REFUSED : 0));
  builder.question(question.name, question.type, question.class);
  const answer = isRefused ? [] : isTransfer ? [...zone, soa] : [soa];
  for (const record of answer) builder.record(ANSWER_COUNT_OFFSET, record);
  return [target.slice(0, builder.length)];
}
