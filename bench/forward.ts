// Forwarding benchmark: two sites, two gateways, iperf3 through them and over plain routing.
//
// Plain routing uses a second pair of addresses of the same hosts, through the same router
// namespaces, without a gateway program: it is the limit of this machine. Everything runs on the
// same cores: hosts, routers, gateways and iperf3. Each figure is the median of the runs, and the
// two ways take turns, so that a slow minute of the machine hits both.

import { loadavg } from "node:os";
import { gatewayProgramExists } from "../src/programs/demo/gateway-process.js";
import { whyNoNamespaces } from "../src/programs/demo/requirements.js";
import {
  buildLab,
  iperf,
  type Lab,
  median,
  type RoundTrip,
  residentMegabytes,
  roundTrip,
  roundTripLoaded,
  type Sample,
  type Way,
  warmUp,
} from "./forward-lab.js";
import type { BenchOptions } from "./main.js";

/** The measurements, in the order they are printed. */
export const MEASURES = [
  { key: "tcp", label: "TCP, one stream", unit: "Gb/s", args: [] },
  { key: "tcpReverse", label: "TCP, one stream, reverse", unit: "Gb/s", args: ["-R"] },
  { key: "tcpFour", label: "TCP, four streams", unit: "Gb/s", args: ["-P", "4"] },
  {
    key: "udpSmall",
    label: "UDP, 64 bytes, delivered",
    unit: "kpps",
    args: ["-u", "-b", "0", "-l", "64"],
  },
  {
    key: "udpLarge",
    label: "UDP, 1300 bytes, delivered",
    unit: "Gb/s",
    args: ["-u", "-b", "0", "-l", "1300"],
  },
] as const;

export type MeasureKey = (typeof MEASURES)[number]["key"];

/** One way's medians. */
interface WayResult {
  readonly throughput: Record<MeasureKey, number>;
  readonly roundTripIdleMs: RoundTrip;
  readonly roundTripLoadedMs: RoundTrip;
}

/** Runs the benchmark; prints a table unless `json`. */
export async function run(options: BenchOptions): Promise<object> {
  const why = await whyNoNamespaces(["ip", "iperf3", "ping"]);
  if (why !== undefined) return refuse(why.reason, options);
  const withGateways = gatewayProgramExists();
  const lab = await buildLab(withGateways);
  try {
    const ways: Way[] = withGateways ? ["gateway", "plain"] : ["plain"];
    const result = await measure(lab, ways, options);
    if (!options.json) printTable(result, options);
    return result;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error), options);
  } finally {
    await lab.network.destroy();
  }
}

export function refuse(reason: string, options: BenchOptions): object {
  if (!options.json) console.log(`forward: not measured. ${reason}`);
  return { error: reason };
}

async function measure(
  lab: Lab,
  ways: readonly Way[],
  options: BenchOptions,
): Promise<ForwardResult> {
  const seconds = options.quick ? 1 : 4;
  const loadBefore = loadavg()[0] ?? 0;
  const runs = options.quick ? 1 : options.runs;
  const samples = new Map<string, Sample[]>();
  for (const way of ways) await warmUp(lab, way);
  for (let round = 0; round < runs; round += 1) {
    for (const { key, unit, args } of MEASURES) {
      for (const way of ways) {
        const sample = await iperf(lab, way, unit, args, seconds);
        samples.set(`${way}.${key}`, [...(samples.get(`${way}.${key}`) ?? []), sample]);
      }
    }
  }
  const pings = options.quick ? 200 : 1_000;
  const byWay: Partial<Record<Way, WayResult>> = {};
  for (const way of ways) {
    byWay[way] = {
      throughput: Object.fromEntries(
        MEASURES.map(({ key }) => [
          key,
          median((samples.get(`${way}.${key}`) ?? []).map((s) => s.value)),
        ]),
      ) as Record<MeasureKey, number>,
      roundTripIdleMs: await roundTrip(lab, way, pings),
      roundTripLoadedMs: await roundTripLoaded(lab, way, pings),
    };
  }
  return summarize(lab, byWay, samples, { runs, seconds, loadBefore });
}

interface ForwardResult {
  /** Load of the machine during the last minute, before the first measurement; near 0 is good. */
  readonly loadBefore: number;
  readonly runs: number;
  readonly secondsPerRun: number;
  readonly gateway?: WayResult;
  readonly plain?: WayResult;
  readonly ratio?: Record<MeasureKey, number>;
  /** CPU time of both gateways together for one gigabyte of TCP payload. */
  readonly cpuSecondsPerGigabyte?: number;
  readonly residentMegabytes?: readonly number[];
}

function summarize(
  lab: Lab,
  byWay: Partial<Record<Way, WayResult>>,
  samples: ReadonlyMap<string, readonly Sample[]>,
  shape: { runs: number; seconds: number; loadBefore: number },
): ForwardResult {
  const base = {
    loadBefore: shape.loadBefore,
    runs: shape.runs,
    secondsPerRun: shape.seconds,
    ...byWay,
  };
  const { gateway, plain } = byWay;
  if (gateway === undefined || plain === undefined) return base;
  const ratio = Object.fromEntries(
    MEASURES.map(({ key }) => [key, gateway.throughput[key] / plain.throughput[key]]),
  ) as Record<MeasureKey, number>;
  const tcp = samples.get("gateway.tcp") ?? [];
  return {
    ...base,
    ratio,
    cpuSecondsPerGigabyte: median(tcp.map((s) => s.cpuSeconds / s.gigabytes)),
    residentMegabytes: lab.gateways.map(({ pid }) => residentMegabytes(pid)),
  };
}

function printTable(result: ForwardResult, options: BenchOptions): void {
  const { gateway, plain, ratio } = result;
  const figure = (value: number | undefined): string =>
    value === undefined ? "-" : value >= 100 ? value.toFixed(0) : value.toFixed(2);
  const row = (label: string, a: string, b: string, c: string, unit: string): void =>
    console.log(`${label.padEnd(30)}${a.padStart(10)}${b.padStart(12)}${c.padStart(9)}  ${unit}`);
  console.log(`forward: IPv4 over IPv4, median of ${result.runs}, ${result.secondsPerRun} s each`);
  if (gateway === undefined) console.log("Plain routing only: the gateway program is not built");
  row("", "gateways", "plain", "ratio", "");
  for (const { key, label, unit } of MEASURES) {
    const share = ratio === undefined ? "-" : ratio[key].toFixed(3);
    row(label, figure(gateway?.throughput[key]), figure(plain?.throughput[key]), share, unit);
  }
  for (const [label, key] of [
    ["idle", "roundTripIdleMs"],
    ["loaded", "roundTripLoadedMs"],
  ] as const) {
    for (const point of ["p50", "p90", "p99"] as const) {
      const text = (way: WayResult | undefined): string => way?.[key][point].toFixed(3) ?? "-";
      row(`Round trip ${label}, ${point}`, text(gateway), text(plain), "", "ms");
    }
  }
  if (result.cpuSecondsPerGigabyte !== undefined) {
    row(
      "CPU of both gateways",
      result.cpuSecondsPerGigabyte.toFixed(2),
      "",
      "",
      "s per gigabyte of TCP",
    );
    row("Resident memory", (result.residentMegabytes ?? []).join(" + "), "", "", "MB");
  }
  if (result.loadBefore > 0.5) {
    console.log(
      `The machine was busy before (load ${result.loadBefore.toFixed(1)}): measure again`,
    );
  }
  if (options.quick) console.log("Quick run: the figures only show that the benchmark works");
}
