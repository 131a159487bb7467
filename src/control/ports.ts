/**
 * What the gateway needs from the machine. Implemented by platform and joined in
 * programs/ipref-gw.ts; tests hand in doubles. Everything here belongs to the main thread.
 */

import type { IpAddress, IpVersion } from "../base/ip.js";
import type { RandomSource } from "../base/random.js";
import type { FastPathSettings } from "../forward/fast-path.js";
import type { Offloads } from "../forward/offloads.js";
import type { SendResult } from "../forward/slow-path-options.js";
import type { MappingStore } from "../mapper/store.js";
import type { ArenaPlan } from "../tables/arena.js";
import type { RingPacket } from "../tables/packet-ring.js";
import type { ControlRoutes } from "./inspection/api.js";
import type { monitoringPaths } from "./inspection/monitoring.js";
import type { ListenAddress } from "./metrics/listen-address.js";
import type { ProcessUsage } from "./metrics/process.js";

/** A resource that has to be given back. */
export interface Closable {
  close(): void;
}

/** An opened store, and what happened while it was opened, one sentence each. */
export interface OpenedStore {
  readonly store: MappingStore;
  readonly notices: readonly string[];
}

/** The tunnel socket as the main thread uses it. */
export interface TunnelSocket extends Closable {
  readonly port: number;
  /** What is in use of the offloads that were asked for. */
  readonly offloads: Pick<Offloads, "gso" | "gro">;
  /** Sends one datagram; `payload` is borrowed. */
  send(destination: IpAddress, port: number, payload: Uint8Array): SendResult;
  /** Path MTU in octets that the kernel knows towards an address; undefined without a route. */
  pathMtu(destination: IpAddress): number | undefined;
  /** Reports about sent datagrams that wait in the socket's error queue. */
  takeErrors(): readonly TunnelError[];
}

/** A report of the kernel or of a router about a datagram that the gateway has sent. */
export interface TunnelError {
  readonly kind: "message-too-big" | "refused" | "unreachable" | "other";
  readonly destination: IpAddress;
  /** MTU of the narrow link; 0 when none was told. */
  readonly mtuBytes: number;
}

/** What the TUN device shall be. */
export interface TunRequest {
  readonly address: IpAddress;
  readonly prefixBits: number;
  readonly mtuBytes: number;
  /** Offloads to ask for. */
  readonly offloads: Offloads;
  /** Queues to ask for. */
  readonly queues: number;
  /** Asks for a side queue beside them; the seed is that of the known addresses. */
  readonly side: { readonly seed: number };
}

/** The TUN device as the main thread uses it. Closing it removes the interface. */
export interface TunInterface extends Closable {
  readonly name: string;
  /** What is in use of the offloads that were asked for. */
  readonly offloads: Pick<Offloads, "csum" | "tso" | "uso">;
  /** Where the kernel sorts packets: the buckets to fill (tables/known-addresses.ts). */
  readonly known: Uint8Array | undefined;
  /** Settings of the machine that may stop traffic, one sentence each. */
  readonly warnings: readonly string[];
  /** Writes one native packet (borrowed); false when the kernel refuses it. */
  write(packet: Uint8Array): boolean;
}

/** What forwarding workers are started with. */
export interface ForwardingRequest {
  readonly memory: SharedArrayBuffer;
  readonly plan: ArenaPlan;
  readonly settings: FastPathSettings;
  readonly offloads: Offloads;
  /** Largest MSS of a packet that passes the TUN device. */
  readonly localMssMax: number;
  /** Length of the pauses in which packets from the local network gather; 0: none. */
  readonly coalesceUs: number;
  readonly tun: TunInterface;
  readonly tunnel: TunnelSocket;
  /** Called for each packet that a worker hands to the slow path. */
  readonly onPacket: (packet: RingPacket) => void;
  /** A worker has ended by itself: a bug or a broken device. */
  readonly onFailure: (error: Error) => void;
}

/** Whether a forwarding worker runs its loop. */
export interface WorkerHealth {
  /** Direction and lane, such as "egress-0". */
  readonly name: string;
  /** Time until it answered; undefined: it did not. */
  readonly answerMs: number | undefined;
}

/** Running forwarding workers. */
export interface Forwarding {
  /** Asks all workers for a sign of life; resolves after `timeoutMs` at the latest. */
  probe(timeoutMs: number): Promise<readonly WorkerHealth[]>;
  /** Tells the workers to end, waits for them, and delivers what their rings still hold. */
  stop(): Promise<void>;
}

/** Identity of a process at the other end of the mapper socket. */
export interface ClientCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** One connection of the mapper socket. */
export interface ClientConnection extends Closable {
  readonly id: number;
  readonly credentials: ClientCredentials;
  /** Sends one message; `message` is borrowed. */
  send(message: Uint8Array): void;
}

/** What the owner of the mapper socket wants to hear. */
export interface ClientHandlers {
  onConnect(connection: ClientConnection): void;
  /** `message` is borrowed; `isTruncated`: it was longer than the receive buffer. */
  onMessage(connection: ClientConnection, message: Uint8Array, isTruncated: boolean): void;
  /** `reason` names the cause, e.g. "send-queue-full". */
  onClose(connection: ClientConnection, reason: string): void;
}

/** The result of reading a file. */
export type FileText =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "missing" }
  | { readonly kind: "unreadable"; readonly reason: string };

/** The machine. Calls that fail throw an error whose message is one sentence for people. */
export interface Machine {
  /** Version of the program. */
  readonly version: string;
  /** The kernel that forwarding workers run. */
  readonly kernel: "wasm" | "ts";
  readonly random: RandomSource;
  /** Monotonic clock in milliseconds, with fractions. */
  monotonicMs(): number;
  /** Wall clock in milliseconds since 1970. */
  wallClockMs(): number;
  /** Shared memory of this many bytes, zeroed, committed when first touched. */
  allocateShared(bytes: number): SharedArrayBuffer;
  /** Mappings at a time, where memory is small; the usual number when absent. */
  readonly recordsMax?: number | undefined;
  openStore(folder: string, localVersion: IpVersion, tunnelVersion: IpVersion): OpenedStore;
  /** MTU of the interface with a prefix that contains the address. */
  interfaceMtu(address: IpAddress): number | undefined;
  /** All addresses of the machine. */
  ownAddresses(): readonly IpAddress[];
  /** Opens a socket for each lane, all on one port. */
  openTunnel(bind: IpAddress, port: number, offloads: Offloads, lanes: number): TunnelSocket;
  openTun(request: TunRequest): TunInterface;
  startForwarding(request: ForwardingRequest): Promise<Forwarding>;
  /** `group`: name or number of the group that may connect; undefined: that of the process. */
  listen(path: string, group: string | undefined, handlers: ClientHandlers): Closable;
  /** Answers questions at a control socket; `group` as with `listen`. */
  serveControl(path: string, group: string | undefined, routes: ControlRoutes): Promise<Closable>;
  /** Answers pages at an HTTP port. */
  serveHttp(where: ListenAddress, pages: ReturnType<typeof monitoringPaths>): Promise<Closable>;
  processUsage(): ProcessUsage;
  readText(path: string): FileText;
  /** Calls back, delayed until writing has paused, when a file changes, appears or goes. */
  watchFile(path: string, onChange: () => void): Closable;
  every(intervalMs: number, work: () => void): Closable;
}
