/**
 * What the DNS agent needs from the world (spec/dns-agent.md). Pure code asks through these
 * interfaces; `platform` and the program implement them, tests hand in doubles. Every promise
 * resolves: failures are values.
 */

import type { EventId } from "../base/event.js";
import type { IpAddress, IpVersion } from "../base/ip.js";
import type { RandomSource } from "../base/random.js";

/** Deadlines use the monotonic clock; signatures carry the other (RFC 8945 5.2.3). */
export interface Clock {
  monotonicMs(): number;
  unixSeconds(): number;
}

/** Runs `action` once after `delayMs`; the returned function cancels it. */
export interface Timers {
  after(delayMs: number, action: () => void): () => void;
}

/** The program's log; levels as in spec/dns-agent.md 1. */
export interface AgentLog {
  info(text: string, event: EventId): void;
  warning(text: string, event: EventId): void;
  error(text: string, event: EventId): void;
  debug(text: string): void;
}

/** What a resolver says about the addresses of one version of one name. */
export type AddressAnswer =
  | { readonly kind: "found"; readonly addresses: readonly IpAddress[] }
  /** The name does not exist, or has no address of this version. */
  | { readonly kind: "absent"; readonly reason: string }
  /** It could not be found out. */
  | { readonly kind: "failed"; readonly reason: string };

/** Texts of a name: each TXT record as its character strings, one character an octet. */
export type TextAnswer =
  | { readonly kind: "found"; readonly texts: readonly (readonly string[])[] }
  | { readonly kind: "absent"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

/** Asks for names, which are absolute; CNAMEs are followed. */
export interface Resolver {
  addresses(name: string, version: IpVersion): Promise<AddressAnswer>;
  texts(name: string): Promise<TextAnswer>;
}

export type StreamReceived =
  | { readonly ok: true; readonly message: Uint8Array }
  | { readonly ok: false; readonly reason: string };

/** A TCP connection that carries DNS messages (RFC 1035 4.2.2), without their length prefixes. */
export interface DnsStream {
  send(message: Uint8Array): void;
  /** The next message; one call at a time. */
  receive(timeoutMs: number): Promise<StreamReceived>;
  close(): void;
}

export type StreamOpened =
  | { readonly ok: true; readonly stream: DnsStream }
  | { readonly ok: false; readonly reason: string };

/** Opens connections to name servers. */
export interface DnsStreams {
  open(address: IpAddress, port: number, timeoutMs: number): Promise<StreamOpened>;
}

/** Hash functions of TSIG that this program uses (RFC 8945 6). */
export type HmacAlgorithm = "sha256" | "sha384" | "sha512";

/** Keyed hash (RFC 2104). */
export type Hmac = (algorithm: HmacAlgorithm, key: Uint8Array, data: Uint8Array) => Uint8Array;

/** Files by path. */
export interface AgentFiles {
  read(path: string): Promise<{ readonly bytes: Uint8Array } | { readonly error: string }>;
  /** Calls `onChange` after changes; the returned function ends the watch. */
  watch(path: string, onChange: () => void): () => void;
}

/** An open connection to the mapper. */
export interface MapperLink {
  /** Borrows the message. False when it was not taken: the connection is closing. */
  send(message: Uint8Array): boolean;
  close(): void;
}

/** What a connection reports; nothing more comes after `onClose`. */
export interface MapperLinkEvents {
  /** Borrowed until return. */
  onMessage(message: Uint8Array): void;
  onClose(): void;
}

/** Opens connections to one mapper; returns why it cannot. */
export interface MapperTransport {
  connect(events: MapperLinkEvents): MapperLink | { readonly error: string };
}

/** The world of an agent. */
export interface AgentWorld {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly log: AgentLog;
  /** For gateways, name servers and TXT queries; must not translate (spec/dns-agent.md 5.1). */
  readonly publicResolver: Resolver;
  /** For local hosts (spec/dns-agent.md 5.2). */
  readonly localResolver: Resolver;
  readonly streams: DnsStreams;
  readonly hmac: Hmac;
  readonly files: AgentFiles;
  readonly mapper: MapperTransport;
}
