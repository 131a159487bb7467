/** A world for the DNS server: clocks, timers, files and datagrams under the control of a test. */

import assert from "node:assert/strict";
import { type IpAddress, parseIp } from "../../src/base/ip.js";
import { seededRandom } from "../../src/base/random.js";
import type { StreamAnswer } from "../../src/dns/answer.js";
import { type Configuration, readConfiguration } from "../../src/dns/configuration.js";
import { formatProblem } from "../../src/dns/corefile/structure.js";
import type { Plugin } from "../../src/dns/plugin.js";
import type { Environment, FileStamp, LogLevel } from "../../src/dns/ports.js";
import type { Endpoint, Transport } from "../../src/dns/query.js";
import { type Listener, planListeners } from "../../src/dns/server/listeners.js";
import { DnsServer, type Incoming, PENDING } from "../../src/dns/server/server.js";
import { SourceFilter } from "../../src/dns/server/source-filter.js";
import { Site } from "../../src/dns/site.js";
import { MessageBuilder } from "../../src/wire/dns/builder.js";
import { type DecodedMessage, decodeMessage } from "../../src/wire/dns/message.js";
import { nameOf } from "../../src/wire/dns/name.js";
import { rcodeName, typeName, typeNumber } from "../../src/wire/dns/numbers.js";
import type { ResourceRecord } from "../../src/wire/dns/record.js";

export type { Plugin };

interface LogLine {
  readonly level: LogLevel;
  readonly plugin: string | undefined;
  readonly text: string;
}

interface Timer {
  readonly atMs: number;
  readonly action: () => void;
}

/** The environment of a test. */
export class World {
  nowMs = 1000;
  readonly log: LogLine[] = [];
  readonly files = new Map<string, { bytes: Uint8Array; stamp: FileStamp }>();
  readonly sent: { message: Uint8Array; to: Endpoint; from: Endpoint | undefined }[] = [];
  readonly counted = new Map<string, number>();
  /** What the other side of `datagrams` says. */
  replyTo: (message: Uint8Array) => Uint8Array | undefined = () => undefined;
  #timers: Timer[] = [];
  #stampCount = 0;

  readonly environment: Environment = {
    clock: { monotonicMs: () => this.nowMs, unixMs: () => 1_700_000_000_000 + this.nowMs },
    timers: {
      after: (delayMs, action) => {
        const timer = { atMs: this.nowMs + delayMs, action };
        this.#timers.push(timer);
        return () => {
          this.#timers = this.#timers.filter((other) => other !== timer);
        };
      },
    },
    random: seededRandom(7),
    log: {
      isDebug: false,
      write: (level, plugin, text) => this.log.push({ level, plugin, text }),
    },
    files: {
      read: async (path) => {
        const file = this.files.get(path);
        return file ? { ok: true, ...file } : { ok: false, error: "no such file" };
      },
      stamp: async (path) => this.files.get(path)?.stamp,
      list: async (directory) => {
        const names = [...this.files.keys()].filter((path) => path.startsWith(`${directory}/`));
        return names.map((path) => path.slice(directory.length + 1)).sort();
      },
    },
    datagrams: {
      exchange: async (message, to, from) => {
        this.sent.push({ message, to, from });
        return this.replyTo(message);
      },
    },
    metrics: {
      count: (name, labels, by = 1) => {
        const key = [name, ...Object.values(labels)].join(" ");
        this.counted.set(key, (this.counted.get(key) ?? 0) + by);
      },
      observe: () => {},
      gauge: () => {},
    },
    upstream: () => assert.fail("no upstream in this test"),
    mapper: () => assert.fail("no mapper in this test"),
  };

  writeFile(path: string, text: string): void {
    const bytes = new TextEncoder().encode(text);
    const modifiedMs = ++this.#stampCount;
    this.files.set(path, { bytes, stamp: { modifiedMs, sizeBytes: bytes.length, inode: 1 } });
  }

  /** Lets time pass; timers run in order, promises in between. */
  async pass(durationMs: number): Promise<void> {
    const endMs = this.nowMs + durationMs;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.atMs <= endMs);
      const next = due.sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.nowMs = next.atMs;
      next.action();
      await settle();
    }
    this.nowMs = endMs;
  }

  texts(level: LogLevel): string[] {
    return this.log.filter((line) => line.level === level).map((line) => line.text);
  }
}

/** Lets all promises that are ready go on. */
export async function settle(): Promise<void> {
  await new Promise((done) => setImmediate(done));
}

/** Reads a Corefile; imports come from `files`. */
export function configure(
  text: string,
  files: Readonly<Record<string, string>> = {},
  variables: Readonly<Record<string, string>> = {},
): Promise<Configuration> {
  return readConfiguration({
    text,
    file: "Corefile",
    defaultPort: 53,
    variables: (name) => variables[name],
    imports: {
      read: async (path) => {
        const content = files[path];
        return content === undefined ? { error: "no such file" } : { text: content };
      },
      entries: async (directory) => {
        const prefix = directory === "." ? "" : `${directory}/`;
        const below = Object.keys(files).filter((path) => path.startsWith(prefix));
        return [...new Set(below.map((path) => path.slice(prefix.length).split("/")[0]!))];
      },
    },
  });
}

/** All complaints as text. */
export function complaintsOf(configuration: Configuration): string[] {
  return configuration.problems.map(formatProblem);
}

/** A reply as tests like to read it. */
export interface Seen {
  readonly message: DecodedMessage;
  readonly rcode: string;
  /** Subset of "aa tc ra rd". */
  readonly flags: string;
  readonly answer: string[];
  readonly authority: string[];
  readonly additional: string[];
}

interface AskOptions {
  readonly transport?: Transport;
  readonly client?: string;
  readonly edns?: boolean;
  readonly size?: number;
  readonly local?: string;
}

/** Replies over time, streams included. */
export class TestServer {
  readonly world: World;
  readonly site: Site;
  readonly server: DnsServer;
  readonly listeners: readonly Listener[];
  readonly filter = new SourceFilter();

  private constructor(world: World, configuration: Configuration) {
    this.world = world;
    this.site = new Site(configuration, world.environment, this.filter);
    this.server = new DnsServer(world.environment, this.filter);
    const interfaces = [
      { interfaceName: "lo", address: parseIp("127.0.0.1")! },
      { interfaceName: "eth0", address: parseIp("192.0.2.53")! },
    ];
    this.listeners = planListeners(this.site.chains, interfaces, {
      error: (_, message) => assert.fail(message),
      warning: () => {},
    });
  }

  /** Reads, builds and starts; fails on complaints. */
  static async start(
    corefile: string,
    files: Record<string, string> = {},
    world = new World(),
  ): Promise<TestServer> {
    for (const [path, text] of Object.entries(files)) world.writeFile(path, text);
    const configuration = await configure(corefile, files);
    assert.deepEqual(complaintsOf(configuration), []);
    const server = new TestServer(world, configuration);
    assert.deepEqual(await server.site.start(), []);
    return server;
  }

  /** Raw octets in, raw octets out; undefined without a reply. Streams give several messages. */
  async exchange(request: Uint8Array, options: AskOptions = {}): Promise<Uint8Array[]> {
    const listener =
      this.listeners.find(
        (one) => options.local === undefined || textOf(one.address) === options.local,
      ) ?? assert.fail("no such listener");
    const replies: Uint8Array[] = [];
    let isDone: () => void = () => {};
    const later = new Promise<void>((done) => {
      isDone = done;
    });
    const incoming: Incoming = {
      listener,
      origin: {
        transport: options.transport ?? "udp",
        client: { address: parseIp(options.client ?? "127.0.0.1")!, port: 4000 },
        local: { address: listener.address, port: listener.port },
      },
      deliver: (message) => {
        replies.push(message.slice());
        isDone();
      },
      deliverStream: (answer) => {
        replies.push(...drain(answer));
        isDone();
      },
    };
    const target = new Uint8Array(70_000).fill(0xa5);
    const length = this.server.receive(request, request.length, incoming, target);
    if (length === PENDING) await later;
    else if (length > 0) replies.push(target.slice(0, length));
    return replies;
  }

  /** Asks "name TYPE" and reads the only reply. */
  async ask(question: string, options: AskOptions = {}): Promise<Seen> {
    const replies = await this.exchange(requestOf(question, options), options);
    assert.equal(replies.length, 1, `one reply to ${question}`);
    return see(replies[0]!);
  }
}

function textOf(address: IpAddress): string {
  return address.bytes.join(".");
}

/** All messages of a stream. */
export function drain(answer: StreamAnswer): Uint8Array[] {
  const messages: Uint8Array[] = [];
  const target = new Uint8Array(70_000);
  for (;;) {
    const length = answer.nextInto(target);
    if (length === 0) break;
    messages.push(target.slice(0, length));
  }
  answer.close();
  return messages;
}

/** A request for "name TYPE". */
export function requestOf(question: string, options: AskOptions = {}): Uint8Array {
  const [name, type] = question.split(" ");
  const bytes = new Uint8Array(600);
  const builder = new MessageBuilder();
  builder.begin(bytes, bytes.length, 0x4711, 0x0100);
  builder.question(nameOf(name!), typeNumber(type!)!, 1);
  if (options.edns ?? options.size !== undefined) {
    builder.opt(0, false);
    const at = builder.length - 8;
    const size = options.size ?? 1232;
    bytes[at] = size >> 8;
    bytes[at + 1] = size & 255;
  }
  return bytes.slice(0, builder.length);
}

/** Decodes a reply. */
export function see(bytes: Uint8Array): Seen {
  const decoded = decodeMessage(bytes);
  assert(decoded.ok, decoded.ok ? "" : decoded.fault);
  const { message } = decoded;
  const names: [number, string][] = [
    [0x0400, "aa"],
    [0x0200, "tc"],
    [0x0100, "rd"],
    [0x0080, "ra"],
  ];
  return {
    message,
    rcode: rcodeName(message.rcode),
    flags: names
      .filter(([bit]) => (message.flags & bit) !== 0)
      .map(([, name]) => name)
      .join(" "),
    answer: message.answer.map(recordText),
    authority: message.authority.map(recordText),
    additional: message.additional.map(recordText),
  };
}

/** `owner TTL TYPE data`: addresses and names in their usual form, everything else in hex. */
export function recordText(record: ResourceRecord): string {
  return `${record.owner} ${record.ttlSeconds} ${typeName(record.type)} ${dataText(record)}`;
}

function dataText({ type, data }: ResourceRecord): string {
  const name = (from: number) => namesIn(data, from);
  switch (typeName(type)) {
    case "A":
      return data.join(".");
    case "AAAA":
      return `[${Buffer.from(data).toString("hex")}]`;
    case "TXT": {
      const texts: string[] = [];
      for (let at = 0; at < data.length; at += 1 + data[at]!) {
        texts.push(
          `"${Buffer.from(data.subarray(at + 1, at + 1 + data[at]!)).toString("latin1")}"`,
        );
      }
      return texts.join(" ");
    }
    case "NS":
    case "CNAME":
    case "DNAME":
    case "PTR":
      return name(0);
    case "MX":
      return name(2);
    case "SRV":
      return name(6);
    case "SOA":
      return name(0);
    default:
      return Buffer.from(data).toString("hex");
  }
}

function namesIn(data: Uint8Array, from: number): string {
  let text = "";
  for (let at = from; data[at] !== 0; at += 1 + data[at]!) {
    text += `${Buffer.from(data.subarray(at + 1, at + 1 + data[at]!)).toString("latin1")}.`;
  }
  return text === "" ? "." : text;
}
