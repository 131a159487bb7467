/** An agent in simulated time: scripted name servers, a resolver, a mapper that can be unplugged. */

import { createHmac } from "node:crypto";
import { Agent, type AgentSettings } from "../../src/agent/agent.js";
import { NO_KEYS } from "../../src/agent/key-file.js";
import type {
  AddressAnswer,
  AgentWorld,
  DnsStream,
  MapperLinkEvents,
  StreamReceived,
} from "../../src/agent/ports.js";
import { parseSourceSpec, type SourceSpec } from "../../src/agent/source-spec.js";
import { toHex } from "../../src/base/hex.js";
import { formatIp, parseIp } from "../../src/base/ip.js";
import { seededRandom } from "../../src/base/random.js";
import { SimulatedTime } from "../../src/programs/vectors/agent-world.js";
import { ANSWER_COUNT_OFFSET, MessageBuilder } from "../../src/wire/dns/builder.js";
import { decodeMessage } from "../../src/wire/dns/message.js";
import { nameOf } from "../../src/wire/dns/name.js";
import { FLAG_QR, TYPE_A, TYPE_IXFR, TYPE_SOA, TYPE_TXT } from "../../src/wire/dns/numbers.js";
import { type ResourceRecord, recordOf } from "../../src/wire/dns/record.js";

export const APEX = nameOf("example.com.");

/** An SOA of example.com with this serial. */
export function soaRecord(serial: number, zone = APEX): ResourceRecord {
  const numbers = new Uint8Array(20);
  const view = new DataView(numbers.buffer);
  for (const [index, value] of [serial, 3600, 600, 86_400, 300].entries()) {
    view.setUint32(4 * index, value);
  }
  return recordOf(zone, TYPE_SOA, 300, Uint8Array.of(...zone.wire, 0, ...numbers));
}

/** A TXT record below example.com; each text is one character string. */
export function txtRecord(label: string, ...texts: string[]): ResourceRecord {
  const owner = label === "@" ? APEX : nameOf(`${label}.example.com.`);
  const data = texts.flatMap((text) => [text.length, ...Buffer.from(text, "latin1")]);
  return recordOf(owner, TYPE_TXT, 300, Uint8Array.from(data));
}

export function addressRecord(label: string, address: string): ResourceRecord {
  return recordOf(nameOf(`${label}.example.com.`), TYPE_A, 300, parseIp(address)!.bytes);
}

/** A response in one message. */
export function response(
  request: { id: number; type: number },
  answer: readonly ResourceRecord[],
  flags = FLAG_QR,
  zone = APEX,
): Uint8Array {
  const target = new Uint8Array(65_535);
  const builder = new MessageBuilder();
  builder.begin(target, target.length, request.id, flags);
  builder.question(zone, request.type, 1);
  for (const record of answer) builder.record(ANSWER_COUNT_OFFSET, record);
  return target.slice(0, builder.length);
}

/** What a server does with a question: messages, then the end. */
export type Script = (question: {
  id: number;
  type: number;
  serial: number | undefined;
}) => readonly (Uint8Array | "break")[];

/** A server with a zone: `records` without SOA. Counts transfers. */
export class ZoneServer {
  serial: number;
  records: readonly ResourceRecord[];
  transfers = 0;
  soaQueries = 0;
  isDown = false;
  /** Replaces the honest behaviour. */
  script: Script | undefined;

  constructor(serial: number, records: readonly ResourceRecord[]) {
    this.serial = serial;
    this.records = records;
  }

  publish(records: readonly ResourceRecord[]): void {
    this.records = records;
    this.serial++;
  }

  open(): DnsStream {
    const queue: (Uint8Array | "break")[] = [];
    return {
      send: (message) => {
        const decoded = decodeMessage(message);
        if (!decoded.ok) throw new Error(`the agent sent a malformed question: ${decoded.fault}`);
        const { id, questions, authority } = decoded.message;
        const { type } = questions[0]!;
        const known = authority[0]?.data;
        const serial =
          known && new DataView(known.buffer).getUint32(known.byteOffset + known.length - 20);
        if (type === TYPE_SOA) this.soaQueries++;
        else this.transfers++;
        queue.push(...(this.script ?? this.honest)({ id, type, serial }));
      },
      receive: async (): Promise<StreamReceived> => {
        const next = queue.shift();
        if (next instanceof Uint8Array) return { ok: true, message: next };
        const reason = next === "break" ? "the server broke the connection off" : "no answer";
        return { ok: false, reason };
      },
      close: () => {},
    };
  }

  readonly honest: Script = ({ id, type }) => {
    const soa = soaRecord(this.serial);
    if (type === TYPE_SOA) return [response({ id, type }, [soa])];
    const all = [soa, ...this.records, soa];
    return chunks(all, 200).map((part) => response({ id, type }, part));
  };
}

export function isIncremental(type: number): boolean {
  return type === TYPE_IXFR;
}

export function chunks<T>(list: readonly T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < list.length; at += size) parts.push(list.slice(at, at + size));
  return parts;
}

/** What the mapper knows of one source. */
export interface MapperView {
  readonly hash: string;
  readonly records: ReadonlySet<string>;
}

/** A mapper that keeps sets as spec/mapper.md 2.7 and 2.8 say; 4/4 only. */
export class FakeMapper {
  isUp = true;
  /** Data packets that get no answer. */
  losses = 0;
  readonly sent: { readonly atMs: number; readonly bytes: Uint8Array }[] = [];
  readonly sets = new Map<string, { hash: string; records: Set<string> }>();
  #events: MapperLinkEvents | undefined;
  readonly #time: SimulatedTime;

  constructor(time: SimulatedTime) {
    this.#time = time;
  }

  get(source: string): MapperView | undefined {
    return this.sets.get(source);
  }

  readonly transport = {
    connect: (events: MapperLinkEvents) => {
      if (!this.isUp) return { error: "Cannot connect to the mapper: nobody listens" };
      this.#events = events;
      return { send: (message: Uint8Array) => this.#take(message.slice()), close: () => {} };
    },
  };

  /** The gateway ends; with `forget` its next life knows nothing. */
  stop(forget = true): void {
    this.isUp = false;
    if (forget) this.sets.clear();
    const events = this.#events;
    this.#events = undefined;
    events?.onClose();
  }

  /** Says something unasked. */
  say(message: Uint8Array): void {
    this.#events?.onMessage(message);
  }

  #take(bytes: Uint8Array): boolean {
    this.sent.push({ atMs: this.#time.nowMs, bytes });
    const reply = this.#replyTo(bytes);
    const events = this.#events;
    if (reply !== undefined) {
      this.#time.timers.after(1, () => {
        if (this.#events === events) events?.onMessage(reply);
      });
    }
    return true;
  }

  #replyTo(bytes: Uint8Array): Uint8Array | undefined {
    let at = 20;
    const names: string[] = [];
    for (let item = 0; item < 2; item++) {
      const length = bytes[at + 1]!;
      names.push(Buffer.from(bytes.subarray(at + 2, at + 2 + length)).toString("latin1"));
      at += (length + 5) & ~3;
    }
    const source = names.join(":");
    const hash = toHex(bytes.subarray(12, 20));
    if (bytes[1] === 0x4e) return this.#data(source, hash, bytes, at);
    const set = this.sets.get(source);
    const count = new DataView(bytes.buffer).getUint32(8);
    const reply = bytes.slice();
    reply[1] = set?.hash === hash && set.records.size === count ? 0x8f : 0xcf;
    return reply;
  }

  #data(source: string, hash: string, bytes: Uint8Array, start: number): Uint8Array | undefined {
    if (this.losses > 0) {
      this.losses--;
      return undefined;
    }
    let set = this.sets.get(source);
    if (set?.hash !== hash) set = { hash, records: new Set() };
    this.sets.set(source, set);
    for (let at = start; at < bytes.length; at += 28) {
      const ip = formatIp({ version: 4, bytes: bytes.slice(at + 4, at + 8) });
      const gw = formatIp({ version: 4, bytes: bytes.slice(at + 8, at + 12) });
      const ref = BigInt(`0x${toHex(bytes.subarray(at + 12, at + 28))}`);
      set.records.add(`${gw}+${ref}=${ip}`);
    }
    const reply = bytes.slice(0, start);
    reply[1] = 0x8e;
    new DataView(reply.buffer).setUint16(6, reply.length / 4);
    return reply;
  }
}

export const hmac: AgentWorld["hmac"] = (algorithm, key, data) =>
  new Uint8Array(createHmac(algorithm, key).update(data).digest());

/** Reads a specification that must be right. */
export function specOf(text: string): SourceSpec {
  const parsed = parseSourceSpec(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.spec;
}

export interface LabOptions {
  readonly specs?: readonly string[];
  readonly servers?: Readonly<Record<string, ZoneServer>>;
  readonly settings?: Partial<AgentSettings>;
  readonly seed?: number;
}

/** All parts around one agent. */
export class AgentLab {
  readonly time = new SimulatedTime();
  readonly mapper = new FakeMapper(this.time);
  readonly lines: string[] = [];
  /** Addresses by name; `undefined` values: the look-up fails. */
  readonly names = new Map<string, readonly string[] | undefined>();
  readonly texts = new Map<string, readonly (readonly string[])[] | undefined>();
  readonly files = new Map<string, string>();
  readonly servers: Map<string, ZoneServer>;
  readonly asked: string[] = [];
  readonly world: AgentWorld;
  readonly agent: Agent;
  readonly #watchers = new Map<string, () => void>();

  constructor(options: LabOptions) {
    this.servers = new Map(Object.entries(options.servers ?? {}));
    const line = (level: string) => (text: string) => void this.lines.push(`${level} ${text}`);
    this.world = {
      clock: {
        monotonicMs: () => this.time.nowMs,
        unixSeconds: () => 1_750_000_000 + Math.floor(this.time.nowMs / 1000),
      },
      timers: this.time.timers,
      random: seededRandom(options.seed ?? 7),
      log: { info: line("I"), warning: line("W"), error: line("E"), debug: line("D") },
      publicResolver: this.#resolver(),
      localResolver: this.#resolver(),
      streams: {
        open: async (address, port) => {
          const server = this.servers.get(`${formatIp(address)}:${port}`);
          if (server === undefined || server.isDown) return { ok: false, reason: "refused" };
          return { ok: true, stream: server.open() };
        },
      },
      hmac,
      files: {
        read: async (path) => {
          const text = this.files.get(path);
          return text === undefined
            ? { error: `cannot read ${path}` }
            : { bytes: Buffer.from(text) };
        },
        watch: (path, onChange) => {
          this.#watchers.set(path, onChange);
          return () => void this.#watchers.delete(path);
        },
      },
      mapper: this.mapper.transport,
    };
    this.agent = new Agent(
      {
        specs: (options.specs ?? ["lan:example.com:192.0.2.53"]).map(specOf),
        intervalSeconds: 60,
        localVersion: 4,
        gatewayVersion: 4,
        encodeNet: undefined,
        ownGateway: undefined,
        keys: NO_KEYS,
        ...options.settings,
      },
      this.world,
    );
  }

  /** Writes a file and tells whoever watches it. */
  write(path: string, text: string): void {
    this.files.set(path, text);
    this.#watchers.get(path)?.();
  }

  run(seconds: number): Promise<void> {
    return this.time.runUntil(this.time.nowMs + 1000 * seconds);
  }

  /** The records that the mapper has, sorted. */
  records(source = "lan:example.com"): string[] {
    return [...(this.mapper.get(source)?.records ?? [])].sort();
  }

  logged(pattern: RegExp): string[] {
    return this.lines.filter((line) => pattern.test(line));
  }

  #resolver(): AgentWorld["publicResolver"] {
    return {
      addresses: async (name, version): Promise<AddressAnswer> => {
        this.asked.push(name);
        if (!this.names.has(name)) return { kind: "absent", reason: "it does not exist" };
        const texts = this.names.get(name);
        if (texts === undefined) return { kind: "failed", reason: "no answer" };
        const all = texts.map((text) => parseIp(text)!);
        const addresses = all.filter((address) => address.version === version);
        if (addresses.length > 0) return { kind: "found", addresses };
        return { kind: "absent", reason: `it has no IPv${version} address` };
      },
      texts: async (name) => {
        if (!this.texts.has(name)) return { kind: "absent", reason: "it does not exist" };
        const texts = this.texts.get(name);
        return texts === undefined
          ? { kind: "failed", reason: "no answer" }
          : { kind: "found", texts };
      },
    };
  }
}

/** `count` hosts h0, h1, ...: their TXT records, and their local names in `lab`. */
export function manyHosts(count: number): ResourceRecord[] {
  return Array.from({ length: count }, (_, index) =>
    txtRecord(`h${index}`, `AA 198.51.100.1 + ${hostReference(index)}`),
  );
}

/** References whose second byte from the end is below 16. */
export function hostReference(index: number): string {
  return `${(Math.floor(index / 4000) + 1).toString(16)}-${((index % 4000) + 1).toString(16)}`;
}

export function addHosts(lab: AgentLab, count: number): void {
  for (let index = 0; index < count; index++) {
    lab.names.set(`h${index}.lan`, [`10.1.${index >> 8}.${index & 255 || 1}`]);
  }
}
