/** A machine in memory: everything the gateway asks for, recorded in one list of events. */

import type { IpAddress } from "../../src/base/ip.js";
import { seededRandom } from "../../src/base/random.js";
import type { ControlRoutes } from "../../src/control/inspection/api.js";
import type { monitoringPaths } from "../../src/control/inspection/monitoring.js";
import {
  formatListenAddress,
  type ListenAddress,
} from "../../src/control/metrics/listen-address.js";
import type { ProcessUsage } from "../../src/control/metrics/process.js";
import type {
  ClientConnection,
  ClientHandlers,
  FileText,
  ForwardingRequest,
  Machine,
} from "../../src/control/ports.js";
import { NO_OFFLOADS } from "../../src/forward/offloads.js";
import type { SendResult } from "../../src/forward/slow-path-options.js";
import { MemoryStore } from "../../src/mapper/memory-store.js";

/** A machine whose clock stands still until a test moves it. */
export class FakeMachine implements Machine {
  readonly version = "0.0.0-test";
  readonly kernel = "ts";
  readonly random = seededRandom(1);
  /** What was opened, written and closed, in order. */
  readonly events: string[] = [];
  readonly store = new MemoryStore();
  readonly timers = new Set<{ readonly intervalMs: number; readonly work: () => void }>();
  readonly sent: { destination: IpAddress; port: number; payload: Uint8Array }[] = [];
  readonly written: Uint8Array[] = [];
  file: FileText = { kind: "missing" };
  nowMs = 5_000;
  /** Path MTU towards everybody. */
  pathMtu = 1500;
  /** What becomes of datagrams that the main thread sends. */
  sendResult: SendResult = "sent";
  /** Whether the device takes packets that the main thread writes. */
  takesPackets = true;
  /** Mappings at a time; the usual number when undefined. */
  recordsMax: number | undefined;
  /** Steps that throw: name of the event. */
  readonly broken = new Set<string>();
  handlers: ClientHandlers | undefined;
  /** Pages of the HTTP port. */
  pages: ReturnType<typeof monitoringPaths> = new Map();
  forwarding: ForwardingRequest | undefined;
  /** Whether the worker answers when it is asked for a sign of life. */
  isWorkerAlive = true;
  onFileChange = () => {};

  monotonicMs(): number {
    return this.nowMs;
  }

  wallClockMs(): number {
    return 1_700_000_000_000 + this.nowMs;
  }

  allocateShared(bytes: number): SharedArrayBuffer {
    return new SharedArrayBuffer(bytes);
  }

  openStore() {
    this.#open("store");
    const { store, events } = this;
    return {
      store: {
        load: () => store.load(),
        commit: (changes: Parameters<MemoryStore["commit"]>[0]) => store.commit(changes),
        close: async () => void events.push("close store"),
      },
      notices: [],
    };
  }

  interfaceMtu(): number | undefined {
    return 1500;
  }

  ownAddresses(): readonly IpAddress[] {
    return [];
  }

  openTunnel(_bind: IpAddress, port: number) {
    this.#open("tunnel");
    return {
      port,
      offloads: NO_OFFLOADS,
      send: (destination: IpAddress, remotePort: number, payload: Uint8Array) => {
        if (this.sendResult !== "sent") return this.sendResult;
        this.sent.push({ destination, port: remotePort, payload: payload.slice() });
        return "sent" as const;
      },
      pathMtu: () => this.pathMtu,
      takeErrors: () => [],
      close: () => void this.events.push("close tunnel"),
    };
  }

  openTun() {
    this.#open("tun");
    return {
      name: "fake0",
      known: undefined,
      offloads: NO_OFFLOADS,
      warnings: ["forwarding is off"],
      write: (packet: Uint8Array) => this.takesPackets && this.written.push(packet.slice()) > 0,
      close: () => void this.events.push("close tun"),
    };
  }

  async startForwarding(request: ForwardingRequest) {
    this.#open("workers");
    this.forwarding = request;
    return {
      probe: async () => [{ name: "egress-0", answerMs: this.isWorkerAlive ? 1 : undefined }],
      stop: async () => void this.events.push("stop workers"),
    };
  }

  listen(path: string, _group: string | undefined, handlers: ClientHandlers) {
    this.#open(`listen ${path}`);
    this.handlers = handlers;
    return { close: () => void this.events.push("close listener") };
  }

  async serveHttp(where: ListenAddress, pages: ReturnType<typeof monitoringPaths>) {
    this.#open(`http ${formatListenAddress(where)}`);
    this.pages = pages;
    return { close: () => void this.events.push("close http") };
  }

  processUsage(): ProcessUsage {
    return {
      ...{ cpuSeconds: 1.5, residentBytes: 2 ** 26, virtualBytes: 2 ** 30, openFds: 20 },
      ...{ maxFds: 1024, startSeconds: 1_700_000_000, activeSeconds: 0.25 },
    };
  }

  readText(): FileText {
    return this.file;
  }

  /** Questions that the gateway answers, once it listens. */
  controlRoutes: ControlRoutes = new Map();

  async serveControl(_path: string, _group: string | undefined, routes: ControlRoutes) {
    this.#open("control");
    this.controlRoutes = routes;
    return { close: () => void this.events.push("close control") };
  }

  watchFile(_path: string, onChange: () => void) {
    this.onFileChange = onChange;
    return { close: () => void this.events.push("close watch") };
  }

  every(intervalMs: number, work: () => void) {
    const timer = { intervalMs, work };
    this.timers.add(timer);
    return { close: () => void this.timers.delete(timer) };
  }

  /** Lets time pass and runs the timers that are due, once a second. */
  pass(seconds: number): void {
    for (let count = 0; count < seconds; count++) {
      this.nowMs += 1000;
      for (const { work } of [...this.timers]) work();
    }
  }

  /** A client of the mapper socket; `replies` fills with what it is sent. */
  connect(id: number): { client: ClientConnection; replies: Uint8Array[] } {
    const replies: Uint8Array[] = [];
    const client: ClientConnection = {
      id,
      credentials: { pid: 100 + id, uid: 0, gid: 0 },
      send: (message) => void replies.push(message.slice()),
      close: () => {},
    };
    this.handlers!.onConnect(client);
    return { client, replies };
  }

  #open(what: string): void {
    if (this.broken.has(what)) throw new Error(`Cannot open ${what}`);
    this.events.push(`open ${what}`);
  }
}

/** Lets promises and commits settle. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
