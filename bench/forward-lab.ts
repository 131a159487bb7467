// The laboratory of the forwarding benchmarks: two sites with gateways, iperf3 and ping(8) between
// their hosts, and what a run costs the gateways.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  externalLines,
  type GatewayProcess,
  publishLines,
  startGateway,
} from "../src/programs/demo/gateway-process.js";
import { sleep, waitFor } from "../src/programs/demo/namespaces.js";
import {
  createNetwork,
  type IpVersion,
  type Network,
  staticEncodedAddress,
} from "../src/programs/demo/network.js";

/** Port of the iperf3 server. */
const IPERF_PORT = 5201;

/** Clock ticks per second of proc_pid_stat(5); USER_HZ is 100 on every Linux port of Node. */
const TICKS_PER_SECOND = 100;

/** Through the gateways, or routed without them. */
export type Way = "gateway" | "plain";

/** Choices for a laboratory; IPv4 throughout by default. */
export interface LabOptions {
  readonly sites?: readonly [IpVersion, IpVersion];
  readonly tunnelVersion?: IpVersion;
  readonly extraArguments?: readonly string[];
  /** Fills the data directory of a gateway before it starts. */
  readonly prepare?: (dataDirectory: string) => void;
}

export interface Lab {
  readonly network: Network;
  readonly gateways: readonly GatewayProcess[];
  readonly targets: Readonly<Record<Way, string>>;
}

/** One iperf3 run's figure and the cost of it. */
export interface Sample {
  readonly value: number;
  readonly gigabytes: number;
  readonly cpuSeconds: number;
}

/** Percentiles of one series of pings, milliseconds. */
export interface RoundTrip {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly lost: number;
}

/** Two sites with gateways and an iperf3 server. */
export async function buildLab(withGateways: boolean, options: LabOptions = {}): Promise<Lab> {
  const { sites = [4, 4], tunnelVersion = 4, extraArguments = [] } = options;
  const network = await createNetwork({
    sites: [{ localVersion: sites[0], hosts: 2 }, { localVersion: sites[1] }],
    tunnelVersion,
    plainRoute: sites[0] === sites[1],
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
      options.prepare?.(join(site.directory, "data"));
      gateways.push(await startGateway(network, site, { hostsLines, extraArguments }));
    }
    await startIperf(network, site2.hosts[0].namespace);
    return {
      network,
      gateways,
      targets: { gateway: staticEncodedAddress(sites[0], 0), plain: site2.hosts[0].plainAddress },
    };
  } catch (error) {
    await network.destroy();
    throw error;
  }
}

async function startIperf(network: Network, namespace: string): Promise<void> {
  const args = ["-s", "--forceflush", "-p", String(IPERF_PORT)];
  const server = network.namespaces.spawn(namespace, "iperf3", args);
  let output = "";
  server.stdout?.on("data", (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-1_000);
  });
  const isReady = await waitFor(() => output.includes("listening") || undefined, 10_000);
  if (!isReady) throw new Error(`iperf3 does not start: ${output}`);
}

/** First packets: neighbours, routes, mappings, path MTU. */
export async function warmUp(lab: Lab, way: Way): Promise<void> {
  const result = await iperf(lab, way, "Gb/s", [], 1);
  if (!(result.value > 0)) throw new Error(`No traffic passes (${way})`);
}

/** One iperf3 run. Throughput is what the receiver got. */
export async function iperf(
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
export async function roundTrip(lab: Lab, way: Way, count: number): Promise<RoundTrip> {
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
export async function roundTripLoaded(lab: Lab, way: Way, count: number): Promise<RoundTrip> {
  const load = iperf(lab, way, "Gb/s", [], Math.ceil(count / 300) + 1);
  await sleep(300);
  const result = await roundTrip(lab, way, count);
  await load;
  return result;
}

/** User and system time of both gateways, proc_pid_stat(5) fields 14 and 15. */
export function cpuSeconds(lab: Lab): number {
  let ticks = 0;
  for (const { pid } of lab.gateways) {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

/** VmRSS of proc_pid_status(5). */
export function residentMegabytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? "0") / 1024);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2;
}
