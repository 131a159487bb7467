/** A scripted upstream and a scripted mapper for the `ipref` directive, under simulated time. */

import { type IpAddress, parseIp } from "../../src/base/ip.js";
import { seededRandom } from "../../src/base/random.js";
import {
  MapperClient,
  type MapperLinkEvents,
  type MapperTransport,
} from "../../src/dns/mapper-client.js";
import type { UpstreamPort, UpstreamQuestion, UpstreamResult } from "../../src/dns/ports.js";
import type { DecodedMessage } from "../../src/wire/dns/message.js";
import { nameOf, octetsOfKey } from "../../src/wire/dns/name.js";
import {
  RCODE_NOERROR,
  TYPE_A,
  TYPE_AAAA,
  TYPE_CNAME,
  TYPE_SOA,
  TYPE_TXT,
  typeName,
} from "../../src/wire/dns/numbers.js";
import { type ResourceRecord, recordOf } from "../../src/wire/dns/record.js";
import { recordLayout } from "../../src/wire/mapper-message.js";
import { settle, TestServer, World } from "./world.js";

/** What the upstream says to one question. */
export interface Script {
  readonly rcode?: number;
  readonly answer?: readonly ResourceRecord[];
  readonly authority?: readonly ResourceRecord[];
  readonly additional?: readonly ResourceRecord[];
  readonly failure?: "timeout" | "network" | "malformed";
  readonly delayMs?: number;
}

/** An upstream that answers from a table; what it does not know is NXDOMAIN with an SOA. */
export class ScriptedUpstream implements UpstreamPort {
  readonly scripts = new Map<string, Script>();
  readonly asked: string[] = [];
  readonly questions: UpstreamQuestion[] = [];
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  set(question: string, script: Script): void {
    this.scripts.set(question, script);
  }

  countOf(question: string): number {
    return this.asked.filter((one) => one === question).length;
  }

  ask(question: UpstreamQuestion): Promise<UpstreamResult> {
    const text = `${question.name} ${typeName(question.type)}`;
    this.asked.push(text);
    this.questions.push(question);
    const script = this.scripts.get(
      text.toLowerCase().replace(/ .*/, (type) => type.toUpperCase()),
    );
    const delayMs = script?.delayMs ?? 0;
    const result = resultOf(question, script);
    if (delayMs === 0) return Promise.resolve(result);
    return new Promise((done) => {
      this.#world.environment.timers.after(delayMs, () => done(result));
    });
  }
}

function resultOf(question: UpstreamQuestion, script: Script | undefined): UpstreamResult {
  if (script?.failure) return { ok: false, failure: script.failure, detail: "scripted" };
  const message: DecodedMessage = {
    id: 1,
    flags: 0x8180,
    rcode: script === undefined ? 3 : (script.rcode ?? RCODE_NOERROR),
    questions: [{ name: question.name, type: question.type, class: 1 }],
    answer: script?.answer ?? [],
    authority: script === undefined ? [soa("example.org.", 60, 60)] : (script.authority ?? []),
    additional: script?.additional ?? [],
    edns: undefined,
  };
  return { ok: true, message, bytes: new Uint8Array(0) };
}

export function txt(owner: string, ttl: number, ...strings: string[]): ResourceRecord {
  const data = strings.flatMap((text) => [text.length, ...Buffer.from(text, "latin1")]);
  return recordOf(nameOf(owner), TYPE_TXT, ttl, Uint8Array.from(data));
}

export function address(owner: string, ttl: number, text: string): ResourceRecord {
  const { version, bytes } = parseIp(text)!;
  return recordOf(nameOf(owner), version === 4 ? TYPE_A : TYPE_AAAA, ttl, bytes);
}

export function cname(owner: string, ttl: number, target: string): ResourceRecord {
  return recordOf(nameOf(owner), TYPE_CNAME, ttl, nameOf(target).wire);
}

export function soa(owner: string, ttl: number, minimum: number): ResourceRecord {
  const names = octetsOfKey(nameOf("ns.").key + nameOf("root.").key);
  const data = new Uint8Array(names.length + 20);
  data.set(names);
  new DataView(data.buffer).setUint32(data.length - 4, minimum);
  return recordOf(nameOf(owner), TYPE_SOA, ttl, data);
}

export type MapperMode =
  | "answer"
  | "refuse"
  | "silence"
  | "wrong-id"
  | "wrong-version"
  | "short"
  | "close"
  | "other-record";

/** A request as the gateway reads it. */
export interface SeenRequest {
  readonly bytes: Uint8Array;
  readonly id: number;
  readonly key: string;
}

/** A gateway behind a transport: byte for byte what spec/mapper.md 2 says. */
export class ScriptedGateway implements MapperTransport {
  mode: MapperMode = "answer";
  delayMs = 0;
  isListening = true;
  readonly requests: SeenRequest[] = [];
  connectCount = 0;
  readonly #world: World;
  readonly #addresses = new Map<string, number>();
  #events: MapperLinkEvents | undefined;
  #base = 1;

  constructor(world: World) {
    this.#world = world;
  }

  connect(events: MapperLinkEvents) {
    this.connectCount++;
    if (!this.isListening) return { error: "nobody listens at the socket" };
    this.#events = events;
    return {
      send: (message: Uint8Array) => {
        this.#receive(message.slice(), events);
        return true;
      },
      close: () => {
        if (this.#events === events) this.#events = undefined;
      },
    };
  }

  /** Ends the connection, as a restart of the gateway does; addresses begin anew. */
  restart(base = 101): void {
    const events = this.#events;
    this.#events = undefined;
    this.#addresses.clear();
    this.#base = base;
    events?.onClose();
  }

  /** Sends octets that nobody asked for. */
  inject(message: Uint8Array): void {
    this.#events?.onMessage(message);
  }

  #receive(bytes: Uint8Array, events: MapperLinkEvents): void {
    const layout = layoutOf(bytes);
    const key = Buffer.from(bytes.subarray(8 + layout.gw, 8 + layout.length)).toString("hex");
    this.requests.push({ bytes, id: (bytes[2]! << 8) | bytes[3]!, key });
    const { mode } = this;
    if (mode === "silence") return;
    if (mode === "close") {
      this.#world.environment.timers.after(0, () => this.restart());
      return;
    }
    const reply = this.#reply(bytes, key, mode);
    this.#world.environment.timers.after(this.delayMs, () => {
      if (this.#events === events) events.onMessage(reply);
    });
  }

  #reply(request: Uint8Array, key: string, mode: MapperMode): Uint8Array {
    if (mode === "refuse") {
      return Uint8Array.of(0x11, 0xc7, request[2]!, request[3]!, request[4]!, 0, 0, 2);
    }
    const layout = layoutOf(request);
    const reply = request.slice(0, 8 + layout.length);
    reply[1] = 0x87;
    reply[7] = reply.length / 4;
    reply.set(this.#encoded(key, request[4]! >> 4 === 4 ? 4 : 6).bytes, 8);
    if (mode === "wrong-id") reply[2] = reply[2]! ^ 0xff;
    if (mode === "wrong-version") reply[4] = 0x66;
    if (mode === "other-record") reply[8 + layout.gw] = reply[8 + layout.gw]! ^ 1;
    return mode === "short" ? reply.slice(0, 6) : reply;
  }

  #encoded(key: string, version: 4 | 6): IpAddress {
    let index = this.#addresses.get(key);
    if (index === undefined) {
      index = this.#base + this.#addresses.size;
      this.#addresses.set(key, index);
    }
    const low = `${index >> 8}.${index & 255}`;
    return version === 4 ? parseIp(`10.240.${low}`)! : parseIp(`fd00::${index.toString(16)}`)!;
  }
}

function layoutOf(bytes: Uint8Array) {
  const local = bytes[4]! >> 4 === 4 ? 4 : 6;
  const tunnel = (bytes[4]! & 15) === 4 ? 4 : 6;
  return recordLayout("oldv1", { local, tunnel });
}

/** A world with an upstream and a mapper. */
export class IprefWorld extends World {
  readonly upstream = new ScriptedUpstream(this);
  readonly gateway = new ScriptedGateway(this);
  readonly mapper: MapperClient;

  constructor() {
    super();
    const { clock, timers, log, metrics } = this.environment;
    const parts = { clock, timers, log, metrics, random: seededRandom(11) };
    this.mapper = new MapperClient({ path: "/test", transport: this.gateway, ...parts });
    Object.assign(this.environment, {
      upstream: () => this.upstream,
      mapper: () => this.mapper,
    });
  }

  /** Names with one AA string each. */
  publish(owner: string, ttl: number, ...strings: string[]): void {
    this.upstream.set(`${owner} TXT`, { answer: [txt(owner, ttl, ...strings)] });
  }

  /** How often an outcome was counted. */
  outcome(name: string): number {
    for (const [key, count] of this.counted) {
      if (key.startsWith("coredns_ipref_outcome_total") && key.endsWith(` ${name}`)) return count;
    }
    return 0;
  }

  /** Lets everything that needs no time happen. */
  async run(durationMs = 0): Promise<void> {
    for (let round = 0; round < 6; round++) {
      await settle();
      await this.pass(0);
    }
    if (durationMs > 0) await this.pass(durationMs);
    for (let round = 0; round < 6; round++) {
      await settle();
      await this.pass(0);
    }
  }
}

/** A server with `ipref { properties }` and the other directives of `rest`. */
export async function startIpref(
  properties = "",
  rest = "",
  keys = ".",
  from = "",
): Promise<{ readonly world: IprefWorld; readonly server: TestServer }> {
  const world = new IprefWorld();
  const ipref = `ipref ${from} {\n upstream 192.0.2.1\n ${properties}\n }`;
  const corefile = `${keys} {\n ${ipref}\n ${rest}\n}\n`;
  const server = await TestServer.start(corefile, {}, world);
  return { world, server };
}

/** Asks and lets time pass until the reply comes. */
export async function askIn(world: IprefWorld, server: TestServer, question: string, ms = 0) {
  const reply = server.ask(question);
  await world.run(ms);
  return reply;
}
