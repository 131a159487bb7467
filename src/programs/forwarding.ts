/**
 * The forwarding workers as the main thread sees them: starts them, empties their rings into the
 * slow path, and stops them. The main thread takes a bounded number of packets before it lets
 * timers and sockets have their turn, and rests in a flood (forward/slow-path-budget.ts).
 */

import type { Worker } from "node:worker_threads";
import type { Forwarding, ForwardingRequest, WorkerHealth } from "../control/ports.js";
import { SlowPathBudget, totalLoad } from "../forward/slow-path-budget.js";
import { monotonicMs, threadCpuMs } from "../platform/clock.js";
import {
  closeEventFd,
  createEventFd,
  drainEventFd,
  nudgeEventFd,
  signalEventFd,
} from "../platform/eventfd.js";
import { yieldToWorkers } from "../platform/priority.js";
import { EPOLLIN, type Reactor } from "../platform/reactor.js";
import { COUNTER_WRITER_MAIN, counterWriter } from "../tables/arena.js";
import { CounterBlock, CounterReader, counterIndex, dropCounterIndex } from "../tables/counters.js";
import { PacketRingConsumer } from "../tables/packet-ring.js";
import { type ForwardWorkerData, startForwardWorker } from "./forward-worker.js";
import type { WasmParts } from "./kernel-choice.js";

/** Packets taken from all rings in one turn of the event loop: about a millisecond. */
const PACKETS_PER_TURN_MAX = 16;
/**
 * At most this counts for a packet, with what storing its mapping and sending it take later: three
 * times what a first packet costs (November 2026). The main thread has other work as well.
 */
const PACKET_MS_MAX = 0.3;
const SLOW_PATH_FULL = dropCounterIndex("slow-path-full");
const HEARTBEATS = counterIndex("heartbeats");
/** How often an answer to a nudge is looked for. */
const PROBE_STEP_MS = 5;

/** A worker thread and the descriptor that reaches it. */
interface RunningWorker {
  readonly name: string;
  readonly worker: Worker;
  readonly stopFd: number;
  readonly counters: CounterBlock;
}

/** What the workers use of the machine. Descriptors stay owned by the caller. */
export interface ForwardingResources {
  /** Queues of the TUN device: an egress worker for each. */
  readonly tunFds: readonly number[];
  /** Side queue of the TUN device, for the first egress worker, where there is one. */
  readonly sideFd?: number | undefined;
  /** Sockets of the tunnel: an ingress worker for each. */
  readonly tunnelFds: readonly number[];
  /** The WebAssembly kernel and the memory of the request, unless TypeScript was chosen. */
  readonly wasm: WasmParts | undefined;
}

/**
 * Starts an egress worker for each queue of the TUN device and an ingress worker for each socket.
 * A kernel that refuses further queues leaves more sockets than queues: workers then share one.
 */
export function startForwarding(
  request: ForwardingRequest,
  resources: ForwardingResources,
  reactor: Reactor,
): Promise<Forwarding> {
  const running = new RunningForwarding(request, resources, reactor);
  return running.started();
}

class RunningForwarding implements Forwarding {
  readonly #request: ForwardingRequest;
  readonly #reactor: Reactor;
  readonly #wakeFd = createEventFd();
  readonly #rings: readonly PacketRingConsumer[];
  readonly #workers: readonly RunningWorker[];
  readonly #exits: readonly Promise<void>[];
  #isStopping = false;
  #turn: NodeJS.Immediate | undefined;
  #rest: NodeJS.Timeout | undefined;
  readonly #totals: CounterReader;
  readonly #counters: CounterBlock;
  readonly #budget: SlowPathBudget;
  /** What the main thread had worked when it was last charged. */
  #chargedMs = 0;

  constructor(request: ForwardingRequest, resources: ForwardingResources, reactor: Reactor) {
    this.#request = request;
    this.#reactor = reactor;
    this.#rings = makeConsumers(request);
    const { memory, plan } = request;
    this.#totals = new CounterReader(memory, plan.countersOffset, plan.counterWriters);
    this.#counters = new CounterBlock(memory, plan.countersOffset, COUNTER_WRITER_MAIN);
    this.#budget = new SlowPathBudget(monotonicMs(), this.#load());
    const { tunFds, tunnelFds } = resources;
    this.#workers = [
      ...tunFds.map((_, lane) => this.#start("egress", lane, resources)),
      ...tunnelFds.map((_, lane) => this.#start("ingress", lane, resources)),
    ];
    this.#exits = this.#workers.map(({ worker }) => this.#watch(worker));
    reactor.add(this.#wakeFd, EPOLLIN, () => this.#onWake());
  }

  /** Resolves when all workers run their loops. */
  async started(): Promise<this> {
    await Promise.all(
      this.#workers.map(
        ({ worker }) => new Promise<void>((resolve) => worker.once("online", () => resolve())),
      ),
    );
    // Workers have started with the niceness of before.
    yieldToWorkers();
    this.#drain();
    return this;
  }

  async probe(timeoutMs: number): Promise<readonly WorkerHealth[]> {
    const startMs = monotonicMs();
    const before = this.#workers.map(({ counters }) => counters.values[HEARTBEATS]!);
    const answersMs = new Array<number | undefined>(before.length).fill(undefined);
    for (const { stopFd } of this.#isStopping ? [] : this.#workers) nudgeEventFd(stopFd);
    while (!this.#isStopping) {
      const nowMs = monotonicMs() - startMs;
      for (const [index, { counters }] of this.#workers.entries()) {
        if (counters.values[HEARTBEATS] !== before[index]) answersMs[index] ??= nowMs;
      }
      if (nowMs >= timeoutMs || !answersMs.includes(undefined)) break;
      await new Promise((resolve) => setTimeout(resolve, PROBE_STEP_MS));
    }
    return this.#workers.map(({ name }, index) => ({ name, answerMs: answersMs[index] }));
  }

  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    for (const { stopFd } of this.#workers) signalEventFd(stopFd);
    await Promise.all(this.#exits);
    clearImmediate(this.#turn);
    clearTimeout(this.#rest);
    for (const ring of this.#rings) {
      for (let item = ring.take(); item !== undefined; item = ring.take()) {
        this.#request.onPacket(item);
      }
    }
    this.#reactor.remove(this.#wakeFd);
    closeEventFd(this.#wakeFd);
    for (const { stopFd } of this.#workers) closeEventFd(stopFd);
  }

  #start(
    role: ForwardWorkerData["role"],
    lane: number,
    resources: ForwardingResources,
  ): RunningWorker {
    const { memory, plan, settings, offloads, localMssMax, coalesceUs } = this.#request;
    const { tunFds, sideFd = -1, tunnelFds, wasm } = resources;
    const stopFd = createEventFd();
    const counters = new CounterBlock(memory, plan.countersOffset, counterWriter(lane, role));
    const worker = startForwardWorker({
      role,
      lane,
      buffer: memory,
      plan,
      settings,
      offloads,
      localMssMax,
      coalesceUs,
      tunFd: tunFds[lane % tunFds.length]!,
      sideFd: lane === 0 ? sideFd : -1,
      tunnelFd: tunnelFds[lane % tunnelFds.length]!,
      wasm,
      stopFd,
      wakeFd: this.#wakeFd,
    });
    return { name: `${role}-${lane}`, worker, stopFd, counters };
  }

  #watch(worker: Worker): Promise<void> {
    return new Promise((resolve) => {
      worker.once("error", (error) => this.#request.onFailure(error));
      worker.once("exit", (code) => {
        if (!this.#isStopping) {
          this.#request.onFailure(new Error(`a forwarding worker ended with status ${code}`));
        }
        resolve();
      });
    });
  }

  #onWake(): void {
    drainEventFd(this.#wakeFd);
    this.#drain();
  }

  /**
   * Takes packets until the rings are empty, or goes on in the next turn of the event loop. In a
   * flood it rests now and then, and what has come meanwhile but for the oldest packets is lost:
   * a long queue of old packets would be of no use.
   */
  #drain(): void {
    if (this.#rest !== undefined) return;
    clearImmediate(this.#turn);
    this.#turn = undefined;
    let budget = PACKETS_PER_TURN_MAX;
    for (const ring of this.#rings) {
      budget -= this.#drainRing(ring, budget / this.#rings.length);
    }
    if (this.#isStopping) return;
    const areAllAsleep = this.#rings.map((ring) => ring.sleep()).every((isAsleep) => isAsleep);
    if (areAllAsleep) return;
    const workMs = this.#workOf(PACKETS_PER_TURN_MAX - budget);
    const restMs = this.#budget.spend(monotonicMs(), workMs, () => this.#load());
    if (restMs === 0) this.#turn = setImmediate(() => this.#drain());
    else this.#startRest(restMs);
  }

  /** What the main thread has worked for so many packets and for those before them. */
  #workOf(packets: number): number {
    const workedMs = threadCpuMs();
    const workMs = Math.min(workedMs - this.#chargedMs, packets * PACKET_MS_MAX);
    this.#chargedMs = workedMs;
    return workMs;
  }

  #startRest(restMs: number): void {
    for (const ring of this.#rings) {
      this.#counters.add(SLOW_PATH_FULL, ring.skipPackets());
    }
    this.#rest = setTimeout(() => {
      this.#rest = undefined;
      this.#drain();
    }, restMs);
  }

  #load(): number {
    return totalLoad(this.#totals);
  }

  #drainRing(ring: PacketRingConsumer, countMax: number): number {
    let count = 0;
    while (count < countMax) {
      const item = ring.take();
      if (item === undefined) break;
      this.#request.onPacket(item);
      count++;
    }
    return count;
  }
}

function makeConsumers({ memory, plan }: ForwardingRequest): PacketRingConsumer[] {
  const { ringBytes, tunnelVersion } = plan.options;
  const offsets = plan.lanes.flatMap((lane) => [lane.egressRingOffset, lane.ingressRingOffset]);
  return offsets.map((offset) => new PacketRingConsumer(memory, offset, ringBytes, tunnelVersion));
}
