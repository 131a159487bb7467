// Nanoseconds of single kernel calls, both kernels in turns on the same data.

import * as jobs from "../src/kernel/jobs.js";
import type { Kernel } from "../src/kernel/kernel.js";
import { allocateWasmMemory } from "../src/platform/wasm.js";
import { chooseKernel, makeKernel } from "../src/programs/kernel-choice.js";
import { AddressTableReader, addressTableBytes, KIND_REMOTE } from "../src/tables/address-table.js";
import { AddressTableWriter } from "../src/tables/address-table-writer.js";

/** Time of one call with each kernel. */
export interface CallResult {
  readonly name: string;
  readonly tsNanoseconds: number;
  readonly wasmNanoseconds: number;
}

interface Call {
  readonly name: string;
  /** Calls of one pass of the full benchmark. */
  readonly count: number;
  run(kernel: Kernel): number;
}

const SOURCE = 4096;
const HEADERS = 96 * 1024;
const MESSAGE = 160 * 1024;
const ROOM_BYTES = 256 * 1024;
const SEGMENT_BYTES = 1380;
const SEGMENTS = 46;
const TUNNEL_BYTES = 44;
const TCP_BYTES = 32;
const HASH_SEED = 4711;

/** A memory with a table of `records` remote hosts, and both kernels over it. */
function makeBench(records: number) {
  const versions = { localVersion: 4, tunnelVersion: 4 } as const;
  const shape = { recordsMax: records, ...versions, hashSeed: HASH_SEED };
  const at = addressTableBytes(shape);
  const memory = allocateWasmMemory(at + ROOM_BYTES);
  const writer = new AddressTableWriter(memory.buffer, 0, shape);
  const key = new DataView(memory.buffer, at, 48);
  const fields = { kind: KIND_REMOTE, flags: 0, lastUsedSeconds: 0, hint: 0 } as const;
  for (let record = 1; record <= records; record++) {
    key.setUint32(0, record, true);
    key.setUint32(44, record, true);
    writer.insert(fields, key, 0);
  }
  const { module, warning } = chooseKernel("wasm");
  if (module === undefined) throw new Error(warning);
  const table = () => new AddressTableReader(memory.buffer, 0, shape);
  return {
    at,
    buffer: memory.buffer,
    words: new Int32Array(memory.buffer),
    ts: makeKernel(table(), undefined),
    wasm: makeKernel(table(), { module, memory }),
  };
}

type Bench = ReturnType<typeof makeBench>;

function sumCall({ at }: Bench, length: number, count: number): Call {
  return { name: `sum of ${length} octets`, count, run: (kernel) => kernel.sum(at + 2, length) };
}

/** A super-packet of 46 segments, cut. */
function segmentCall({ at, buffer }: Bench): Call {
  const words = new Int32Array(buffer, at + 64, jobs.SEGMENT_JOB_BYTES / 4);
  words[jobs.SEGMENT_TEMPLATE] = at + 256;
  words[jobs.SEGMENT_TEMPLATE_LENGTH] = TUNNEL_BYTES;
  words[jobs.SEGMENT_LAYER4] = at + SOURCE;
  words[jobs.SEGMENT_HEADER_LENGTH] = TCP_BYTES;
  words[jobs.SEGMENT_PAYLOAD_LENGTH] = SEGMENTS * SEGMENT_BYTES;
  words[jobs.SEGMENT_SIZE] = SEGMENT_BYTES;
  words[jobs.SEGMENT_COUNT_MAX] = SEGMENTS;
  words[jobs.SEGMENT_TARGET] = at + HEADERS;
  words[jobs.SEGMENT_DISTANCE] = 192;
  words[jobs.SEGMENT_PROTOCOL] = 6;
  words[jobs.SEGMENT_PSEUDO_SUM] = 0x600;
  const name = `cut of ${SEGMENTS} segments of ${SEGMENT_BYTES} octets`;
  return { name, count: 1500, run: (kernel) => kernel.segmentInto(at + 64) };
}

/** A message of 45 datagrams that all continue the head. */
function joinCall({ at, buffer, ts }: Bench): Call {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  const size = TUNNEL_BYTES + TCP_BYTES + SEGMENT_BYTES;
  const count = SEGMENTS - 1;
  for (let index = 0; index < count; index++) {
    const layer4 = at + MESSAGE + index * size + TUNNEL_BYTES;
    view.setUint32(layer4 + 4, index * SEGMENT_BYTES);
    bytes[layer4 + 12] = (TCP_BYTES / 4) << 4;
    view.setUint16(layer4 + 16, 0);
    const length = TCP_BYTES + SEGMENT_BYTES;
    const sum = ts.sum(layer4, length) + 0x600 + ((length & 255) << 8) + (length >> 8);
    view.setUint16(layer4 + 16, 0xffff - (sum % 0xffff), true);
  }
  const words = new Int32Array(buffer, at + 128, jobs.JOIN_JOB_BYTES / 4);
  words[jobs.JOIN_HEAD] = at + MESSAGE;
  words[jobs.JOIN_OFFSET] = at + MESSAGE;
  words[jobs.JOIN_LENGTH] = count * size;
  words[jobs.JOIN_SIZE] = size;
  words[jobs.JOIN_TUNNEL_LENGTH] = TUNNEL_BYTES;
  words[jobs.JOIN_HEADER_LENGTH] = TCP_BYTES;
  words[jobs.JOIN_SEGMENT_SIZE] = SEGMENT_BYTES;
  words[jobs.JOIN_COUNT_MAX] = count;
  words[jobs.JOIN_PROTOCOL] = 6;
  if (ts.joinable(at + 128) !== count) throw new Error("the datagrams cannot be joined");
  const name = `join of ${count} segments of ${SEGMENT_BYTES} octets`;
  return { name, count: 1500, run: (kernel) => kernel.joinable(at + 128) };
}

/** Look-ups of addresses; `records` of them in turns, in an order that caches do not foresee. */
function findCall({ at, words }: Bench, records: number, name: string): Call {
  let next = 0;
  return {
    name,
    count: 200_000,
    run(kernel) {
      next = (next + 7919) % records;
      words[at >>> 2] = next + 1;
      const found = kernel.findByLocal(at);
      if (found === 0) throw new Error("an address is missing");
      return found;
    },
  };
}

function time(call: Call, kernel: Kernel, count: number): number {
  const start = process.hrtime.bigint();
  for (let turn = 0; turn < count; turn++) call.run(kernel);
  return Number(process.hrtime.bigint() - start) / count;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Measures all calls; the kernels take turns, so that a slow moment hits both. */
export function measureCalls(runs: number, isQuick: boolean, pairs: number): CallResult[] {
  const bench = makeBench(2 * pairs);
  const calls = [
    sumCall(bench, 20, 100_000),
    sumCall(bench, 64, 100_000),
    sumCall(bench, 576, 50_000),
    sumCall(bench, 1448, 50_000),
    sumCall(bench, 9000, 5000),
    segmentCall(bench),
    joinCall(bench),
    findCall(bench, 16, "look-up, near"),
    findCall(bench, 2 * pairs, "look-up, far"),
  ];
  return calls.map((call) => {
    const times = { ts: [] as number[], wasm: [] as number[] };
    const count = isQuick ? Math.ceil(call.count / 20) : call.count;
    for (let run = 0; run <= runs; run++) {
      for (const kernel of ["ts", "wasm"] as const) {
        const nanoseconds = time(call, bench[kernel], count);
        if (run > 0) times[kernel].push(nanoseconds); // the first one warms up
      }
    }
    const { name } = call;
    return { name, tsNanoseconds: median(times.ts), wasmNanoseconds: median(times.wasm) };
  });
}
