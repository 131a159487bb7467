/**
 * What the DNS server needs from the world. Pure code asks through these interfaces; `platform`
 * implements them and tests hand in doubles. Every promise resolves: failures are values.
 */

import type { EventId } from "../base/event.js";
import type { IpAddress } from "../base/ip.js";
import type { RandomSource } from "../base/random.js";
import type { Reference } from "../base/reference.js";
import type { DecodedMessage } from "../wire/dns/message.js";
import type { Name } from "../wire/dns/name.js";
import type { PackedSections } from "../wire/dns/packed.js";
import type { Endpoint } from "./query.js";

/** Two clocks: deadlines use the monotonic one, schedules and logs the other. */
export interface Clock {
  monotonicMs(): number;
  unixMs(): number;
}

/** Runs `action` once after `delayMs`; the returned function cancels it. */
export interface Timers {
  after(delayMs: number, action: () => void): () => void;
}

export type LogLevel = "DEBUG" | "INFO" | "WARNING" | "ERROR";

/**
 * The program's log; `plugin` is undefined for the server itself (spec/resolver.md 2.1). `event`
 * has a default for the lines of plugins.
 */
export interface Log {
  write(level: LogLevel, plugin: string | undefined, text: string, event?: EventId): void;
  readonly isDebug: boolean;
}

/** Identity of a file's content: changed when any of these changed. */
export interface FileStamp {
  readonly modifiedMs: number;
  readonly sizeBytes: number;
  readonly inode: number;
}

export type FileRead =
  | { readonly ok: true; readonly bytes: Uint8Array; readonly stamp: FileStamp }
  | { readonly ok: false; readonly error: string };

/** Files by path; relative paths are relative to the working directory. */
export interface Files {
  read(path: string): Promise<FileRead>;
  /** Undefined when the file cannot be looked at. */
  stamp(path: string): Promise<FileStamp | undefined>;
  /** Paths of regular files below `directory`, relative to it, sorted; undefined: unreadable. */
  list(directory: string): Promise<readonly string[] | undefined>;
}

/** One server to ask. */
export interface UpstreamServer {
  readonly endpoint: Endpoint;
  readonly transport: "dns" | "tls";
  /** Name in the server's certificate; undefined: its address. */
  readonly tlsServerName: string | undefined;
}

/** A question for another server. */
export interface UpstreamQuestion {
  readonly name: Name;
  readonly type: number;
  readonly isRecursionDesired: boolean;
  readonly isCheckingDisabled: boolean;
  readonly isDnssecOk: boolean;
  /** AD of the request (RFC 6840 5.7); absent means no. */
  readonly isAuthenticDataWanted?: boolean;
  /** Whole budget of the client query that is left (spec/resolver.md 1.14). */
  readonly budgetMs: number;
}

export type UpstreamFailure = "timeout" | "network" | "malformed" | "overload" | "loop";

/**
 * A validated reply (spec/resolver.md 4.4). `message` borrows nothing, may be decoded when it is
 * asked for, and leaves out answer records that the question does not lead to.
 */
export interface UpstreamReply {
  readonly ok: true;
  readonly message: DecodedMessage;
  readonly bytes: Uint8Array;
  /**
   * The sections to be relayed as they are; undefined when the message has to be written from its
   * records, absent when nobody looked.
   */
  readonly sections?: PackedSections | undefined;
  /** With the upper bits of the OPT, as `message.rcode`, but known without decoding. */
  readonly rcode?: number;
  /** As `message.flags`, but known without decoding. */
  readonly flags?: number;
}

export type UpstreamResult =
  | UpstreamReply
  | { readonly ok: false; readonly failure: UpstreamFailure; readonly detail: string };

/**
 * Asks a group of servers with its policy, health state, retries, 0x20 and TCP fallback. `bytes` of
 * a reply is a complete message with the question at octet 12 spelled as `question.name`; its id
 * means nothing and its OPT may be left out.
 */
export interface UpstreamPort {
  ask(question: UpstreamQuestion): Promise<UpstreamResult>;
  /**
   * Asks each server once for a random name in `zone` (spec/resolver.md 1.15); a server for which
   * `found` is called leads back here and fails with "loop" from then on. `register` files a name.
   */
  probeLoops?(zone: Name, register: (name: Name, found: () => void) => void): void;
}

/** What the mapper said to MC_GET_EA. */
export type MapperResult =
  | { readonly kind: "address"; readonly address: IpAddress }
  | { readonly kind: "refused" }
  | { readonly kind: "unavailable"; readonly detail: string };

/** One connection to one mapper, shared by all blocks with the same path (spec/resolver.md 1.8). */
export interface MapperPort {
  /** `name`: the client's question name, lower case with final dot. Ends within 500 ms. */
  getEncodedAddress(
    context: IpAddress,
    reference: Reference,
    name: string,
    encodedVersion: 4 | 6,
  ): Promise<MapperResult>;
  /** True once the mapper has answered. */
  readonly isReady: boolean;
  /** Called when the connection is lost: whatever was learned from it is void. */
  onLost(listener: () => void): void;
}

/** Sends one datagram and waits for one reply (NOTIFY); undefined when none comes in time. */
export interface Datagrams {
  exchange(
    message: Uint8Array,
    to: Endpoint,
    from: Endpoint | undefined,
    timeoutMs: number,
  ): Promise<Uint8Array | undefined>;
}

/** Label values in the order of the metric's label names. */
export type MetricLabels = readonly string[];

/** Counters and histograms; implementations create a metric at first use. */
export interface Metrics {
  count(name: string, labels: Readonly<Record<string, string>>, by?: number): void;
  observe(name: string, labels: Readonly<Record<string, string>>, value: number): void;
  gauge(name: string, labels: Readonly<Record<string, string>>, value: number): void;
}

/** The world, handed to every plugin. */
export interface Environment {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly log: Log;
  readonly files: Files;
  readonly datagrams: Datagrams;
  readonly metrics: Metrics;
  /** A client for these servers; equal settings may share health state. */
  upstream(servers: readonly UpstreamServer[], options: UpstreamOptions): UpstreamPort;
  /** The mapper behind this socket path. */
  mapper(path: string): MapperPort;
}

/** How a group of servers is asked (spec/resolver.md 4.1, 4.2). */
export interface UpstreamOptions {
  readonly policy: "random" | "round_robin" | "sequential";
  readonly isTcpForced: boolean;
  readonly maxFails: number;
  readonly expireMs: number;
  readonly healthCheckMs: number;
  readonly healthCheckName: Name;
  readonly isHealthCheckRecursive: boolean;
  readonly concurrentMax: number;
  readonly isFailfast: boolean;
  /** Answer SERVFAIL and REFUSED are reasons to ask the next server (AA discovery). */
  readonly isRefusalRetried: boolean;
  readonly tls: UpstreamTls | undefined;
}

/** Files of the `tls` property of `forward`. */
export interface UpstreamTls {
  readonly certificatePath: string | undefined;
  readonly keyPath: string | undefined;
  readonly authorityPath: string | undefined;
}
