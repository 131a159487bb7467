/**
 * A forwarding worker: the entry point of a worker thread that runs one direction of one lane
 * until its stop descriptor is signalled. It blocks in poll, has no timer while nothing comes (an
 * egress worker pauses under load, forward/coalescing.ts), and allocates nothing while it runs.
 *
 *   egress   TUN device -> fast path -> tunnel socket     the rest: ring -> main thread
 *   ingress  tunnel socket -> fast path -> TUN device     the rest: ring -> main thread
 */

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { EgressTap, IngressTap } from "../forward/capture-tap.js";
import { Coalescing } from "../forward/coalescing.js";
import { EgressLoop } from "../forward/egress.js";
import { FastEgress } from "../forward/fast-egress.js";
import { EgressFragments, IngressFragments } from "../forward/fast-fragments.js";
import { FastIngress } from "../forward/fast-ingress.js";
import { FastPathMemory, type FastPathSettings } from "../forward/fast-path.js";
import { HandOver } from "../forward/hand-over.js";
import { IngressLoop } from "../forward/ingress.js";
import { MssClamp } from "../forward/mss-clamp.js";
import type { Offloads } from "../forward/offloads.js";
import { PeerMeter } from "../forward/peer-meter.js";
import { SideQueue } from "../forward/side-queue.js";
import { forwardingLoad, totalLoad } from "../forward/slow-path-budget.js";
import { monotonicMs } from "../platform/clock.js";
import { signalEventFd } from "../platform/eventfd.js";
import { systemRandom } from "../platform/random.js";
import { TunDevicePort } from "../platform/tun-port.js";
import { TunnelSocketPort } from "../platform/tunnel-port.js";
import { WorkerMemory } from "../platform/worker-memory.js";
import { type ArenaPlan, counterWriter } from "../tables/arena.js";
import { CounterBlock, CounterReader, counterIndex } from "../tables/counters.js";
import { FlowSampleBlock } from "../tables/flow-samples.js";
import { PacketRingProducer } from "../tables/packet-ring.js";
import { PeerTrafficBlock } from "../tables/peer-traffic.js";
import { makeKernel, type WasmParts } from "./kernel-choice.js";

const HEARTBEATS = counterIndex("heartbeats");
const EGRESS_PACKETS = counterIndex("egress-packets");
const EGRESS_BYTES = counterIndex("egress-bytes");

/** Everything a worker is told at start. Descriptors stay owned by the main thread. */
export interface ForwardWorkerData {
  readonly role: "egress" | "ingress";
  readonly lane: number;
  /** The buffer of the shared WebAssembly.Memory. */
  readonly buffer: SharedArrayBuffer;
  /** The WebAssembly kernel and that memory; without it the worker runs the TypeScript kernel. */
  readonly wasm?: WasmParts | undefined;
  readonly plan: ArenaPlan;
  readonly settings: FastPathSettings;
  /** What is in use. `csum`: the TUN device was opened with device headers. */
  readonly offloads: Offloads;
  /** Largest MSS of a packet that passes the TUN device. */
  readonly localMssMax: number;
  /** Length of the pauses in which packets from the local network gather; 0: none. */
  readonly coalesceUs: number;
  readonly tunFd: number;
  /** Side queue of the TUN device, or -1. */
  readonly sideFd: number;
  readonly tunnelFd: number;
  /** Event descriptor that ends the worker when signalled, and asks for a sign of life. */
  readonly stopFd: number;
  /** Event descriptor that makes the main thread look at the rings. */
  readonly wakeFd: number;
}

/** Starts a worker thread. It exits with code 0 after its stop descriptor was signalled. */
export function startForwardWorker(data: ForwardWorkerData): Worker {
  return new Worker(new URL(import.meta.url), { workerData: data });
}

/** Runs one direction of one lane; returns when the worker is told to end. */
export function runForwardWorker(data: ForwardWorkerData): void {
  const { buffer, plan, settings, role } = data;
  const lane = plan.lanes[data.lane]!;
  const isEgress = role === "egress";
  const slabOffset = isEgress ? lane.egressSlabOffset : lane.ingressSlabOffset;
  const ringOffset = isEgress ? lane.egressRingOffset : lane.ingressRingOffset;
  const writer = counterWriter(data.lane, role);
  const counters = new CounterBlock(buffer, plan.countersOffset, writer);
  const worker = new WorkerMemory(buffer, slabOffset, data.stopFd, () => {
    counters.add(HEARTBEATS, 1);
  });
  const memory = new FastPathMemory(buffer, plan, slabOffset, (table) =>
    makeKernel(table, data.wasm),
  );
  const { offloads } = data;
  const { tunnelVersion, localVersion } = settings;
  const hasDeviceHeader = offloads.csum;
  const tun = new TunDevicePort(data.tunFd, worker, counters, hasDeviceHeader, data.sideFd);
  const tunnel = new TunnelSocketPort(data.tunnelFd, tunnelVersion, worker, counters, offloads);
  const ring = new PacketRingProducer(buffer, ringOffset, plan.options.ringBytes);
  const counter = isEgress ? "egress-slow-path" : "ingress-slow-path";
  const wake = (): void => signalEventFd(data.wakeFd);
  const captureParts = {
    memory,
    areaOffset: plan.captureOffset,
    ringOffset: isEgress ? lane.egressCaptureOffset : lane.ingressCaptureOffset,
    nowMs: monotonicMs,
  };
  const capture = isEgress ? new EgressTap(captureParts) : new IngressTap(captureParts);
  const handOver = new HandOver(ring, counters, counter, memory.contextWords, wake, capture);
  const mssClamp = new MssClamp(memory, tunnelVersion, data.localMssMax);
  const { peersMax } = plan.options;
  const traffic = new PeerTrafficBlock(buffer, plan.peerTrafficOffset, peersMax, writer);
  const samples = new FlowSampleBlock(buffer, plan.flowSamplesOffset, writer);
  const meter = new PeerMeter(memory, traffic, samples);
  const parts = { tun, tunnel, memory, handOver, counters, mssClamp, meter };
  if (capture instanceof EgressTap) {
    const fast = new FastEgress(memory, settings);
    const totals = new CounterReader(buffer, plan.countersOffset, plan.counterWriters);
    const nowMs = () => performance.now();
    const load = () => totalLoad(totals);
    const side = new SideQueue({
      nowMs,
      load,
      ownLoad: () => egressLoad(counters),
    });
    const coalescing = new Coalescing(data.coalesceUs, nowMs, load);
    const fragments = new EgressFragments(memory, fast, settings);
    const more = { fragments, side, coalescing, capture, hasDeviceHeader };
    new EgressLoop({ ...parts, fast, ...more }).run();
  } else {
    const fast = new FastIngress(memory, settings, systemRandom());
    const { tso: joinsTcp, uso: joinsUdp } = offloads;
    const joining = { hasDeviceHeader, joinsTcp, joinsUdp, localVersion };
    const fragments = new IngressFragments(memory, fast, settings);
    new IngressLoop({ ...parts, fast, fragments, capture, joining }).run();
  }
}

function egressLoad({ values }: CounterBlock): number {
  return forwardingLoad(values[EGRESS_PACKETS]!, values[EGRESS_BYTES]!);
}

if (!isMainThread && isForwardWorkerData(workerData)) {
  runForwardWorker(workerData);
  parentPort?.postMessage("ended");
}

function isForwardWorkerData(data: unknown): data is ForwardWorkerData {
  return typeof data === "object" && data !== null && "role" in data && "plan" in data;
}
