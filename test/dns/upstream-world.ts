/** Scripted servers behind the socket ports of the upstream client, under simulated time. */

import { parseIp } from "../../src/base/ip.js";
import { seededRandom } from "../../src/base/random.js";
import type {
  UpstreamOptions,
  UpstreamQuestion,
  UpstreamResult,
  UpstreamServer,
} from "../../src/dns/ports.js";
import type { Endpoint } from "../../src/dns/query.js";
import { UpstreamGroup, type UpstreamWorld } from "../../src/dns/upstream/group.js";
import type {
  DatagramExchange,
  DatagramReceiver,
  StreamConnection,
  StreamEvents,
} from "../../src/dns/upstream/transport.js";
import { MessageBuilder, type SectionOffset } from "../../src/wire/dns/builder.js";
import { type DecodedMessage, decodeMessage } from "../../src/wire/dns/message.js";
import { Name, nameOf } from "../../src/wire/dns/name.js";
import { type ResourceRecord, recordOf } from "../../src/wire/dns/record.js";
import { settle, World } from "./world.js";

/** A question as a server received it. */
export interface Received {
  readonly bytes: Uint8Array;
  readonly message: DecodedMessage;
  readonly name: string;
  readonly isStream: boolean;
  readonly atMs: number;
  /** Number of the socket or connection it came from. */
  readonly source: number;
  /** Sends octets back after a while. */
  reply(bytes: Uint8Array, delayMs?: number): void;
  /** An ICMP error, or the end of the connection. */
  refuse(): void;
}

/** One server: what it does with a question. */
export class FakeServer {
  readonly received: Received[] = [];
  behaviour: (question: Received) => void = (question) => question.reply(answerTo(question));
  /** Nobody listens on TCP. */
  isStreamClosed = false;

  /** Questions that are not health checks. */
  get asked(): Received[] {
    return this.received.filter(({ name }) => name !== ".");
  }

  take(question: Received): void {
    this.received.push(question);
    this.behaviour(question);
  }
}

/** Parts of a reply that differ from a plain answer. */
export interface ReplyParts {
  readonly rcode?: number;
  readonly flags?: number;
  readonly answer?: readonly ResourceRecord[];
  readonly authority?: readonly ResourceRecord[];
  readonly hasOpt?: boolean;
}

/** A correct reply: the question repeated, one A record or the given sections, an OPT. */
export function answerTo(question: Received, parts: ReplyParts = {}): Uint8Array {
  const { id, questions, edns, flags } = question.message;
  const [asked] = questions;
  const bytes = new Uint8Array(65_535);
  const builder = new MessageBuilder();
  const replyFlags = 0x8080 | (flags & 0x0100) | (parts.flags ?? 0) | ((parts.rcode ?? 0) & 15);
  builder.begin(bytes, bytes.length, id, replyFlags);
  builder.question(asked!.name, asked!.type, 1);
  const records = parts.answer ?? [recordOf(asked!.name, 1, 300, Uint8Array.of(192, 0, 2, 1))];
  for (const record of records) builder.record(6 as SectionOffset, record);
  for (const record of parts.authority ?? []) builder.record(8 as SectionOffset, record);
  if (parts.hasOpt ?? edns !== undefined) builder.opt((parts.rcode ?? 0) >> 4, false);
  return bytes.slice(0, builder.length);
}

/** A copy with some octets changed. */
export function changed(bytes: Uint8Array, change: (copy: Uint8Array) => void): Uint8Array {
  const copy = bytes.slice();
  change(copy);
  return copy;
}

/** Servers by address, the sockets to them, and the time. */
export class Network {
  readonly world = new World();
  readonly servers = new Map<string, FakeServer>();
  readonly upstreamWorld: UpstreamWorld;
  /** Sockets and connections that are open now, and how many there were. */
  openSockets = 0;
  openConnections = 0;
  socketCount = 0;
  connectionCount = 0;
  socketsMax = 100_000;
  /** Actions by the millisecond they are due at. */
  readonly #due = new Map<number, Set<() => void>>();

  constructor(seed = 11) {
    const { clock, log, metrics } = this.world.environment;
    this.upstreamWorld = {
      clock,
      timers: { after: (delayMs, action) => this.after(delayMs, action) },
      log,
      metrics,
      random: seededRandom(seed),
      datagrams: {
        target: (endpoint) => ({ open: (receiver) => this.#openSocket(endpoint, receiver) }),
      },
      streams: { connect: (server, _tls, events) => this.#openConnection(server, events) },
    };
  }

  /** A server at 192.0.2.`last`. */
  server(last: number): FakeServer {
    const server = new FakeServer();
    this.servers.set(`192.0.2.${last}`, server);
    return server;
  }

  group(lasts: readonly number[], options: Partial<UpstreamOptions> = {}): UpstreamGroup {
    const servers = lasts.map((last) => upstreamServer(last));
    return new UpstreamGroup(servers, { ...OPTIONS, ...options }, this.upstreamWorld);
  }

  /** A timer in simulated time; thousands may wait. */
  after(delayMs: number, action: () => void): () => void {
    const atMs = Math.ceil(this.world.nowMs + delayMs);
    const entry = () => action();
    const actions = this.#due.get(atMs) ?? new Set();
    this.#due.set(atMs, actions.add(entry));
    return () => void actions.delete(entry);
  }

  /** Lets time pass; timers run in order, promises after each millisecond with timers. */
  async pass(durationMs: number): Promise<void> {
    const endMs = this.world.nowMs + durationMs;
    for (;;) {
      const atMs = Math.min(...this.#due.keys());
      if (atMs > endMs) break;
      this.world.nowMs = Math.max(this.world.nowMs, atMs);
      const actions = this.#due.get(atMs)!;
      // Actions may add others for the same moment.
      for (const action of actions) {
        actions.delete(action);
        action();
      }
      this.#due.delete(atMs);
      await settle();
    }
    this.world.nowMs = endMs;
  }

  /** Waits until `promise` has a value, letting simulated time pass; gives the time it took. */
  async run(promise: Promise<UpstreamResult>): Promise<{ result: UpstreamResult; tookMs: number }> {
    const startMs = this.world.nowMs;
    let result: UpstreamResult | undefined;
    void promise.then((value) => {
      result = value;
    });
    await settle();
    while (result === undefined && this.world.nowMs < startMs + 10_000) await this.pass(5);
    if (result === undefined) throw new Error("no result within 10 s");
    return { result, tookMs: this.world.nowMs - startMs };
  }

  #deliver(server: FakeServer | undefined, question: Omit<Received, "message" | "name" | "atMs">) {
    this.after(0, () => {
      const decoded = decodeMessage(question.bytes);
      if (!decoded.ok) throw new Error(`the client sent nonsense: ${decoded.fault}`);
      const { message } = decoded;
      const name = message.questions[0]!.name.toString();
      server?.take({ ...question, message, name, atMs: this.world.nowMs });
    });
  }

  #openSocket({ address }: Endpoint, receiver: DatagramReceiver): DatagramExchange | string {
    if (this.openSockets >= this.socketsMax) return "EMFILE";
    const server = this.servers.get(address.bytes.join("."));
    const message = new Uint8Array(288).fill(0xa5);
    const source = this.socketCount++;
    let isOpen = true;
    this.openSockets++;
    const later = (delayMs: number, action: () => void): void => {
      this.after(delayMs, () => {
        if (isOpen) action();
      });
    };
    return {
      message,
      send: (length) => {
        this.#deliver(server, {
          bytes: message.slice(0, length),
          isStream: false,
          source,
          reply: (bytes, delayMs = 0) =>
            later(delayMs, () => receiver.onDatagram(bytes, bytes.length)),
          refuse: () => later(0, () => receiver.onRefused("ECONNREFUSED")),
        });
        return undefined;
      },
      release: () => {
        if (isOpen) this.openSockets--;
        isOpen = false;
      },
    };
  }

  #openConnection(server: UpstreamServer, events: StreamEvents): StreamConnection {
    const fake = this.servers.get(server.endpoint.address.bytes.join("."));
    const source = this.connectionCount++;
    this.openConnections++;
    let isOpen = true;
    const end = (): void => {
      if (isOpen) this.openConnections--;
      isOpen = false;
    };
    const lose = (): void => {
      if (!isOpen) return;
      end();
      events.onClose("ECONNRESET");
    };
    if (fake === undefined || fake.isStreamClosed) this.after(0, lose);
    return {
      write: (bytes) => {
        if (fake === undefined || fake.isStreamClosed) return;
        this.#deliver(fake, {
          bytes: bytes.slice(2),
          isStream: true,
          source,
          reply: (reply, delayMs = 0) => {
            const framed = Uint8Array.of(reply.length >> 8, reply.length & 255, ...reply);
            this.after(delayMs, () => {
              // One octet, then the rest: messages do not arrive in one piece.
              if (isOpen) events.onChunk(framed.subarray(0, 1));
              if (isOpen) events.onChunk(framed.subarray(1));
            });
          },
          refuse: () => this.after(0, lose),
        });
      },
      close: end,
    };
  }
}

/** spec/resolver.md 4.1. */
export const OPTIONS: UpstreamOptions = {
  policy: "sequential",
  isTcpForced: false,
  maxFails: 2,
  expireMs: 10_000,
  healthCheckMs: 500,
  healthCheckName: Name.ROOT,
  isHealthCheckRecursive: true,
  concurrentMax: 1024,
  isFailfast: false,
  isRefusalRetried: false,
  tls: undefined,
};

export function upstreamServer(last: number, transport: "dns" | "tls" = "dns"): UpstreamServer {
  const endpoint = { address: parseIp(`192.0.2.${last}`)!, port: 53 };
  return { endpoint, transport, tlsServerName: undefined };
}

/** A question for "name TYPE-number". */
export function questionFor(name: string, parts: Partial<UpstreamQuestion> = {}): UpstreamQuestion {
  return {
    name: nameOf(name),
    type: 1,
    isRecursionDesired: true,
    isCheckingDisabled: false,
    isDnssecOk: false,
    budgetMs: 4000,
    ...parts,
  };
}

/** The result must be a reply; gives it. */
export function replyOf(result: UpstreamResult): UpstreamResult & { ok: true } {
  if (!result.ok) throw new Error(`${result.failure}: ${result.detail}`);
  return result;
}
