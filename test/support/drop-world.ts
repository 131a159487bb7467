/**
 * A gateway on a machine in memory together with its forwarding workers: packets come in at the
 * ports of the workers, and what these hand over reaches the slow path through the real rings.
 */

import assert from "node:assert/strict";
import { type IpAddress, parseIp } from "../../src/base/ip.js";
import type { GatewaySettings, KernelName } from "../../src/control/gateway-flags.js";
import type { GatewayStatus } from "../../src/control/inspection/status.js";
import type { ForwardingRequest } from "../../src/control/ports.js";
import { FastPathMemory } from "../../src/forward/fast-path.js";
import { VNET_HEADER_BYTES } from "../../src/forward/ports.js";
import { allocateWasmMemory, type WasmMemory } from "../../src/platform/wasm.js";
import { statusText } from "../../src/programs/inspect/status-text.js";
import { chooseKernel, makeKernel } from "../../src/programs/kernel-choice.js";
import { slabLayout, slotPacketOffset } from "../../src/tables/arena.js";
import { settle } from "../control/fake-machine.js";
import {
  ExplainWorld,
  REMOTE_GATEWAY,
  type WorldSettings,
} from "../control/inspection/explain-world.js";
import { makeGateway, type WorkerWorld } from "../forward/memory-ports.js";
import { type PacketOfFile, packetsOfFile } from "./capture-packets.js";

/** Who captures. */
const CAPTURE_PID = 1;

/** What no flag can ask for. */
export interface Oddities {
  /** Inner loops of the workers; TypeScript when absent. */
  readonly kernel?: KernelName;
  /** Mappings at a time. */
  readonly recordsMax?: number;
  /** Remote gateways at a time. */
  readonly remoteGatewaysMax?: number;
  /** The public address changes to this one while the gateway starts. */
  readonly movesTo?: IpAddress;
}

/** What a worker is handed with a packet or message. */
export interface PortDetails {
  /** Device header of a packet. */
  readonly header?: Uint8Array;
  /** Octets of each datagram of a message, or MESSAGE_…. */
  readonly segmentSize?: number;
}

/** The gateway under test. */
export class DropWorld extends ExplainWorld {
  workers!: ReturnType<typeof makeGateway>;
  /** While this is false the main thread leaves the rings alone. */
  emptiesRings = true;
  readonly #oddities: Oddities;
  #memory: WasmMemory | undefined;

  constructor(settings: WorldSettings, oddities: Oddities = {}) {
    super(settings);
    this.#oddities = oddities;
    this.machine.allocateShared = (bytes) => {
      this.#memory = allocateWasmMemory(bytes);
      return this.#memory.buffer;
    };
  }

  override async start(...flags: string[]): Promise<this> {
    await super.start("-lanes", "1", ...flags);
    const forwarding = this.machine.forwarding!;
    const { localMssMax } = forwarding;
    const { kernel = "ts" } = this.#oddities;
    const options = { hasDeviceHeader: true, localMssMax, kernel };
    this.workers = makeGateway(workerWorld(forwarding, this.#memory!), options);
    return this;
  }

  protected override changed(settings: GatewaySettings): GatewaySettings {
    const { recordsMax, remoteGatewaysMax, movesTo } = this.#oddities;
    const { machine } = this;
    const changed = { ...settings };
    machine.recordsMax = recordsMax;
    if (remoteGatewaysMax !== undefined) changed.remoteGatewaysMax = remoteGatewaysMax;
    if (movesTo === undefined) return changed;
    const openTunnel = machine.openTunnel.bind(machine);
    machine.openTunnel = (bind, port) => {
      changed.publicAddress = movesTo;
      return openTunnel(bind, port);
    };
    return changed;
  }

  /** A packet that an egress worker reads. */
  override fromLocal(packet: Uint8Array, { header }: PortDetails = {}): void {
    const read = new Uint8Array(VNET_HEADER_BYTES + packet.length);
    if (header !== undefined) read.set(header);
    read.set(packet, VNET_HEADER_BYTES);
    this.workers.tun.waiting.push(read);
    this.workers.egress.run();
    this.#emptyRings();
  }

  /** A message that an ingress worker receives. */
  override fromTunnel(
    packet: Uint8Array,
    from = REMOTE_GATEWAY,
    port = 1045,
    { segmentSize = packet.length }: PortDetails = {},
  ): void {
    const source = parseIp(from)!;
    this.workers.tunnel.waiting.push({ packet, source, port, segmentSize });
    this.workers.ingress.run();
    this.#emptyRings();
  }

  /** Counters of the page of metrics, all reasons. */
  async metrics(): Promise<Map<string, number>> {
    const { body } = await this.ask("GET", "/metrics", "");
    const lines = String(body).matchAll(/^ipref_drops_total\{reason="([^"]+)"\} ([0-9]+)$/gm);
    return new Map([...lines].map(([, reason, count]) => [reason!, Number(count)]));
  }

  async status(): Promise<GatewayStatus> {
    const { body } = await this.ask("GET", "/status", "");
    return JSON.parse(String(body)) as GatewayStatus;
  }

  /** Begins a capture at once; the result ends it and has its packets. */
  capture(): () => Promise<PacketOfFile[]> {
    const question = { format: "pcapng", durationMs: 3_600_000 };
    const beginning = this.ask("POST", "/capture", JSON.stringify(question));
    return async () => {
      const { status, body } = await beginning;
      assert.equal(status, 200, String(body));
      const ended = await this.ask("POST", "/capture/end", "");
      assert.equal(ended.status, 200, `process ${CAPTURE_PID} ends its capture`);
      const pieces: Buffer[] = [];
      for await (const piece of body as AsyncIterable<Uint8Array>) pieces.push(Buffer.from(piece));
      return packetsOfFile(Buffer.concat(pieces));
    };
  }

  /** Commits, and all that waits for them. */
  async settled(): Promise<void> {
    for (let count = 0; count < 4; count++) await settle();
  }

  #emptyRings(): void {
    const { egressRing, ingressRing } = this.workers;
    for (const ring of [egressRing, ingressRing]) {
      for (;;) {
        const item = this.emptiesRings ? ring.take() : undefined;
        if (item === undefined) break;
        this.machine.forwarding!.onPacket(item);
      }
    }
  }
}

/** `ipref status --explain` with this gateway and nothing else, as one line. */
export function explainedStatus(gateway: GatewayStatus): string {
  const nothing = { state: "not-running", message: "" } as const;
  const parts = { resolver: nothing, agent: nothing, up: nothing };
  const answer = { state: "answered", value: gateway } as const;
  const report = { runFolder: "/run/ipref", parts: { ...parts, gateway: answer }, peers: [] };
  return statusText(report, { isExplained: true }).join(" ").replaceAll(/\s+/g, " ");
}

/** What workers need of a gateway that asks for forwarding. */
function workerWorld(request: ForwardingRequest, wasmMemory: WasmMemory): WorkerWorld {
  const { memory, plan, settings } = request;
  const { localVersion, tunnelVersion, decrementTtl } = settings;
  return {
    options: { localVersion, tunnelVersion, decrementTtl },
    plan,
    buffer: memory,
    bytes: new Uint8Array(memory),
    fastSettings: settings,
    worker: (role, kernel = "ts") => {
      const { module, warning } = chooseKernel(kernel);
      assert.equal(warning, undefined);
      const parts = module && { module, memory: wasmMemory };
      const { egressSlabOffset, ingressSlabOffset } = plan.lanes[0]!;
      const slabOffset = role === "egress" ? egressSlabOffset : ingressSlabOffset;
      const view = new FastPathMemory(memory, plan, slabOffset, (table) =>
        makeKernel(table, parts),
      );
      view.refresh();
      const slab = slabLayout(slabOffset);
      const address = slab.socketAddressesOffset + 8;
      return { memory: view, offset: slotPacketOffset(slab, 0), address };
    },
  };
}
