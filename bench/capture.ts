// Capture benchmark: nanoseconds per packet of an egress worker's loop, system calls left out: without
// any means to capture, with a capture that is off, with one whose filter fits no packet, and with
// one that takes all. The four take turns, so that the rest of the machine disturbs them alike.

import { EgressTap } from "../src/forward/capture-tap.js";
import { EgressLoop } from "../src/forward/egress.js";
import { FastEgress } from "../src/forward/fast-egress.js";
import { HandOver } from "../src/forward/hand-over.js";
import type { PacketBatch } from "../src/forward/ports.js";
import { monotonicMs } from "../src/platform/clock.js";
import { BATCH_PACKETS_MAX } from "../src/tables/arena.js";
import { CaptureArea } from "../src/tables/capture-area.js";
import { CaptureRingConsumer } from "../src/tables/capture-ring.js";
import { CounterBlock } from "../src/tables/counters.js";
import { PacketRingProducer } from "../src/tables/packet-ring.js";
import { BenchWorld } from "./kernel.js";
import type { BenchOptions } from "./main.js";

const PAIRS = 16;
/** What is kept of each packet by the capture that takes all: headers. */
const SNAPLEN = 128;

const CASES = ["without", "off", "no packet fits", "every packet"] as const;
type Case = (typeof CASES)[number];

/** One worker with a tap or without, its ports and the reader of its ring. */
class BenchWorker {
  readonly #world = new BenchWorld(4, 4, PAIRS);
  readonly #head = this.#world.native(0);
  readonly #loop: EgressLoop;
  readonly #drain: () => void;

  constructor(which: Case) {
    const { memory, settings, plan } = this.#world.worker("egress", "wasm");
    const { buffer } = memory.bytes;
    const lane = plan.lanes[0]!;
    const nowMs = monotonicMs;
    const [areaOffset, ringOffset] = [plan.captureOffset, lane.egressCaptureOffset];
    const tap = new EgressTap({ memory, areaOffset, ringOffset, nowMs });
    const isOn = which === "no packet fits" || which === "every packet";
    if (isOn) {
      const filter = which === "every packet" ? "" : "host 192.0.2.200 and port 443";
      new CaptureArea(buffer, plan.captureOffset).write({ filter, snaplen: SNAPLEN });
      memory.control.setCaptureGeneration(1);
    }
    const ring = new CaptureRingConsumer(buffer, lane.egressCaptureOffset, 4);
    // As the main thread does it: another thread's work, not counted.
    this.#drain = () => {
      while (ring.take(1) !== undefined);
    };
    const counters = new CounterBlock(buffer, plan.countersOffset, 1);
    const producer = new PacketRingProducer(buffer, lane.egressRingOffset, 65_536);
    const handOver = new HandOver(producer, counters, "egress-slow-path", 1, () => {}, tap);
    this.#loop = new EgressLoop({
      tun: {
        waitReadable: () => true,
        readBatch: (batch) => this.#read(batch),
        hasSidePackets: () => false,
        readSideBatch: () => {},
      },
      tunnel: { sendBatch: (batch) => sendNothing(batch) },
      ...{ memory, handOver, counters, hasDeviceHeader: false },
      fast: new FastEgress(memory, settings),
      capture: which === "without" ? undefined : tap,
    });
  }

  #read(batch: PacketBatch): void {
    this.#world.fillBatch(batch, "egress");
    for (let index = 0; index < batch.count; index++) {
      this.#world.bytes.set(this.#head, batch.offsets[index]!);
    }
  }

  /** Nanoseconds per packet, over some batches. */
  measure(batches: number): number {
    let nanoseconds = 0n;
    for (let batch = 0; batch < batches; batch++) {
      const start = process.hrtime.bigint();
      this.#loop.runBatch();
      nanoseconds += process.hrtime.bigint() - start;
      this.#drain();
    }
    return Number(nanoseconds) / (batches * BATCH_PACKETS_MAX);
  }
}

function sendNothing(batch: PacketBatch): number {
  batch.outcomes.fill(0, 0, batch.count);
  return 0;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Measures all cases in turns; prints a table unless `json`. */
export async function run(options: BenchOptions): Promise<object> {
  const workers = CASES.map((name) => ({ name, worker: new BenchWorker(name) }));
  const [rounds, batches] = options.quick ? [20, 20] : [200 * options.runs, 100];
  const times = new Map<Case, number[]>(CASES.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const { name, worker } of workers) {
      const nanoseconds = worker.measure(batches);
      if (round >= rounds / 10) times.get(name)!.push(nanoseconds);
    }
  }
  const results = Object.fromEntries(CASES.map((name) => [name, median(times.get(name)!)]));
  if (!options.json) {
    console.log("Egress loop without system calls, nanoseconds per packet");
    for (const name of CASES) console.log(`  ${name.padEnd(20)}${results[name]!.toFixed(1)}`);
  }
  return { nanosecondsPerPacket: results };
}
