// Forwarding benchmark: two sites, two gateways, iperf3 through them and over plain routing.
//
// Plain routing uses a second pair of addresses of the same hosts, through the same router
// namespaces, without a gateway program: it is the limit of this machine. Everything runs on the
// same cores: hosts, routers, gateways and iperf3. Each figure is the median of the runs, and the
// two ways take turns, so that a slow minute of the machine hits both.

import { readFileSync } from "node:fs";
import { loadavg } from "node:os";
import {
  externalLines,
  type GatewayProcess,
  gatewayProgramExists,
  publishLines,
  startGateway,
} from "../src/programs/demo/gateway-process.js";
import { sleep, waitFor } from "../src/programs/demo/namespaces.js";
import { createNetwork, type Network, staticEncodedAddress } from "../src/programs/demo/network.js";
import { whyNoNamespaces } from "../src/programs/demo/requirements.js";
import type { BenchOptions } from "./main.js";

/** Port of the iperf3 server. */
const IPERF_PORT = 5201;

/** Clock ticks per second of proc_pid_stat(5); USER_HZ is 100 on every Linux port of Node. */
const TICKS_PER_SECOND = 100;

/** The measurements, in the order they are printed. */
const MEASURES = [
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

type MeasureKey = (typeof MEASURES)[number]["key"];
type Way = "gateway" | "plain";

/** Percentiles of one series of pings, milliseconds. */
interface RoundTrip {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly lost: number;
}

/** One way's medians. */
interface WayResult {
  readonly throughput: Record<MeasureKey, number>;
  readonly roundTripIdleMs: RoundTrip;
  readonly roundTripLoadedMs: RoundTrip;
}

interface Lab {
  readonly network: Network;
  readonly gateways: readonly GatewayProcess[];
  readonly targets: Readonly<Record<Way, string>>;
}

/** One iperf3 run's figure and the cost of it. */
interface Sample {
  readonly value: number;
  readonly gigabytes: number;
  readonly cpuSeconds: number;
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

function refuse(reason: string, options: BenchOptions): object {
  if (!options.json) console.log(`forward: not measured. ${reason}`);
  return { error: reason };
}

async function buildLab(withGateways: boolean): Promise<Lab> {
  const network = await createNetwork({
    sites: [{ localVersion: 4 }, { localVersion: 4 }],
    tunnelVersion: 4,
    plainRoute: true,
  });
  try {
    const [site1, site2] = network.sites;
    const published = network.sites.map((site) => [
      { address: site.hosts[0].addresses[0], reference: "1025", name: site.hosts[0].name },
    ]);
    const gateways: GatewayProcess[] = [];
    for (const [site, other] of withGateways
      ? [[site1, site2] as const, [site2, site1] as const]
      : []) {
      const own = published[site.number - 1] ?? [];
      const theirs = published[other.number - 1] ?? [];
      const hostsLines = [...publishLines(own), ...externalLines(site, other, theirs)];
      gateways.push(await startGateway(network, site, { hostsLines }));
    }
    const server = network.namespaces.spawn(
      site2.hosts[0].namespace,
      "iperf3",
      ["-s", "-p", String(IPERF_PORT)],
      { logPath: `${network.namespaces.directory}/iperf3.log` },
    );
    await waitFor(() => (server.exitCode !== null ? true : undefined), 400);
    return {
      network,
      gateways,
      targets: { gateway: staticEncodedAddress(4, 0), plain: site2.hosts[0].plainAddress },
    };
  } catch (error) {
    await network.destroy();
    throw error;
  }
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

/** First packets: neighbours, routes, mappings, path MTU. */
async function warmUp(lab: Lab, way: Way): Promise<void> {
  const result = await iperf(lab, way, "Gb/s", [], 1);
  if (!(result.value > 0)) throw new Error(`No traffic passes (${way})`);
}

/** One iperf3 run. Throughput is what the receiver got. */
async function iperf(
  lab: Lab,
  way: Way,
  unit: string,
  args: readonly string[],
  seconds: number,
): Promise<Sample> {
  const host = lab.network.sites[0].hosts[0].namespace;
  const before = cpuSeconds(lab);
  const result = await lab.network.namespaces.exec(
    host,
    "iperf3",
    ["-c", lab.targets[way], "-p", String(IPERF_PORT), "-t", String(seconds), "-J", ...args],
    { timeoutMs: (seconds + 15) * 1_000 },
  );
  const spent = cpuSeconds(lab) - before;
  const report = parseReport(result.stdout);
  if (report === undefined) {
    throw new Error(
      `iperf3 ${way} ${args.join(" ")}: ${result.stderr || result.stdout.slice(-300)}`,
    );
  }
  await sleep(200);
  const value =
    unit === "kpps" ? report.packetsPerSecond / 1_000 : report.bitsPerSecond / 1_000_000_000;
  return { value, gigabytes: (report.bitsPerSecond * seconds) / 8e9, cpuSeconds: spent };
}

/** The receiver's side of an iperf3 JSON report, or undefined when the run failed. */
function parseReport(
  text: string,
): { bitsPerSecond: number; packetsPerSecond: number } | undefined {
  try {
    const { end, error } = JSON.parse(text);
    if (error !== undefined || end === undefined) return undefined;
    const udp = end.sum;
    if (end.sum_received !== undefined && udp?.packets === undefined) {
      return { bitsPerSecond: end.sum_received.bits_per_second, packetsPerSecond: 0 };
    }
    const delivered = udp.packets - udp.lost_packets;
    const packetsPerSecond = delivered / udp.seconds;
    const share = udp.packets === 0 ? 0 : delivered / udp.packets;
    return { bitsPerSecond: udp.bits_per_second * share, packetsPerSecond };
  } catch {
    return undefined;
  }
}

/** Percentiles of `count` pings 2 ms apart. */
async function roundTrip(lab: Lab, way: Way, count: number): Promise<RoundTrip> {
  const host = lab.network.sites[0].hosts[0].namespace;
  const result = await lab.network.namespaces.exec(
    host,
    "ping",
    ["-n", "-i", "0.002", "-c", String(count), "-W", "1", lab.targets[way]],
    { timeoutMs: 30_000 },
  );
  const times = [...result.stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1]));
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor((times.length - 1) * share)] ?? Number.NaN;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), lost: count - times.length };
}

/** The same while one TCP stream runs. */
async function roundTripLoaded(lab: Lab, way: Way, count: number): Promise<RoundTrip> {
  const load = iperf(lab, way, "Gb/s", [], Math.ceil(count / 300) + 1);
  await sleep(300);
  const result = await roundTrip(lab, way, count);
  await load;
  return result;
}

/** User and system time of both gateways, proc_pid_stat(5) fields 14 and 15. */
function cpuSeconds(lab: Lab): number {
  let ticks = 0;
  for (const { pid } of lab.gateways) {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

/** VmRSS of proc_pid_status(5). */
function residentMegabytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? "0") / 1024);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2;
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
