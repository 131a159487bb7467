// Forwarding in all its cases: IP versions, sizes of the tables, numbers of flows, latency under
// load, floods of the slow path. Everything is compared with plain routing in the same run; see
// forward.ts for how. A full run takes about ten minutes and draws docs/images/forward-*.svg.

import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gatewayProgramExists, repositoryRoot } from "../src/programs/demo/gateway-process.js";
import { sleep } from "../src/programs/demo/namespaces.js";
import type { IpVersion } from "../src/programs/demo/network.js";
import { whyNoNamespaces } from "../src/programs/demo/requirements.js";
import { FLOOD_KINDS } from "./flood.js";
import { MEASURES, type MeasureKey, refuse } from "./forward.js";
import { measureFloods } from "./forward-floods.js";
import {
  buildLab,
  iperf,
  type Lab,
  median,
  type RoundTrip,
  residentMegabytes,
  roundTrip,
  roundTripLoaded,
  type Way,
  warmUp,
} from "./forward-lab.js";
import type { BenchOptions } from "./main.js";
import { plotSvg } from "./plot.js";

const WAYS: readonly Way[] = ["gateway", "plain"];
const FILL = fileURLToPath(new URL("./mapper-restore.js", import.meta.url));

/** A network and how its packets are called. */
interface Family {
  readonly name: string;
  readonly sites: readonly [IpVersion, IpVersion];
  readonly tunnelVersion: IpVersion;
}

const IPV4: Family = { name: "IPv4", sites: [4, 4], tunnelVersion: 4 };
const IPV6: Family = { name: "IPv6", sites: [6, 6], tunnelVersion: 6 };
/** An IPv4 site and an IPv6 site over IPv4; compared with plain routing of IPv4. */
const MIXED: Family = { name: "mixed", sites: [4, 6], tunnelVersion: 4 };

type Figures = Record<MeasureKey, number>;
type Shares = Partial<Record<Way, Figures>>;

/** How long and how often. */
interface Shape {
  readonly runs: number;
  readonly seconds: number;
  readonly pings: number;
  readonly mappings: readonly number[];
  readonly flows: readonly number[];
  readonly loads: readonly number[];
}

/** Runs the benchmark; prints tables unless `json`; draws unless `quick`. */
export async function run(options: BenchOptions): Promise<object> {
  const why = await whyNoNamespaces(["ip", "iperf3", "ping"]);
  if (why !== undefined) return refuse(why.reason, options);
  if (!gatewayProgramExists()) return refuse("the gateway program is not built", options);
  const shape: Shape = options.quick
    ? { runs: 1, seconds: 1, pings: 100, mappings: [1_000], flows: [1, 2], loads: [0, 1] }
    : {
        runs: options.runs,
        seconds: 2,
        pings: 1_000,
        mappings: [1, 10_000, 1_000_000],
        flows: [1, 2, 4, 8, 16, 32],
        loads: [0, 0.25, 0.5, 0.75, 1],
      };
  const say = (line: string): void => void (options.json || console.log(line));
  say("forward-matrix: shares of plain routing in the same run, medians");
  try {
    const first = await inLab(IPV4, (lab) => measureIpv4(lab, shape, say));
    const ipv6 = await inLab(IPV6, (lab) => measureFamily(lab, IPV6, shape, WAYS, say));
    const mixed = await inLab(MIXED, (lab) => measureFamily(lab, MIXED, shape, ["gateway"], say));
    const { plain } = first.ipv4;
    sayShares(say, "mixed, of plain IPv4", { ...mixed, plain: plain! });
    const mappings = await measureMappings(shape, say);
    const result = { ...first, ipv6, mixed, mappings };
    if (!options.quick) draw(first);
    return result;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error), options);
  }
}

async function inLab<Result>(family: Family, work: (lab: Lab) => Promise<Result>): Promise<Result> {
  const lab = await buildLab(true, family);
  try {
    return await work(lab);
  } finally {
    await lab.network.destroy();
  }
}

/** Everything that is measured with IPv4 alone. */
async function measureIpv4(lab: Lab, shape: Shape, say: (line: string) => void) {
  const ipv4 = await measureFamily(lab, IPV4, shape, WAYS, say);
  const roundTripIdleMs = await bothWays((way) => roundTrip(lab, way, shape.pings));
  const roundTripLoadedMs = await bothWays((way) => roundTripLoaded(lab, way, shape.pings));
  sayRoundTrips(say, "idle", roundTripIdleMs);
  sayRoundTrips(say, "full TCP load", roundTripLoadedMs);
  const residentMb = lab.gateways.map(({ pid }) => residentMegabytes(pid));
  say(`resident memory: ${residentMb.join(" + ")} MB`);
  const flows = await measureFlows(lab, shape, say);
  const loads = await measureLoads(lab, shape, ipv4.gateway!.tcp, say);
  say(
    "TCP of one host while another host of its site floods, of the same with the flood discarded",
  );
  const rounds = Math.min(shape.runs, 3);
  const kinds = FLOOD_KINDS;
  const floods = await measureFloods(lab, { rounds, seconds: shape.seconds, kinds }, say);
  return { ipv4, roundTripIdleMs, roundTripLoadedMs, residentMb, flows, loads, floods };
}

async function bothWays<Result>(work: (way: Way) => Promise<Result>): Promise<Record<Way, Result>> {
  return { gateway: await work("gateway"), plain: await work("plain") };
}

/** The medians of all measures; ways take turns. */
async function measureFamily(
  lab: Lab,
  { name }: Family,
  { runs, seconds }: Shape,
  ways: readonly Way[],
  say: (line: string) => void,
): Promise<Shares> {
  const samples = new Map<string, number[]>();
  for (const way of ways) await warmUp(lab, way);
  for (let round = 0; round < runs; round++) {
    for (const { key, unit, args } of MEASURES) {
      for (const way of ways) {
        const { value } = await iperf(lab, way, unit, args, seconds);
        samples.set(`${way}.${key}`, [...(samples.get(`${way}.${key}`) ?? []), value]);
      }
    }
  }
  const figures = (way: Way): Figures =>
    Object.fromEntries(
      MEASURES.map(({ key }) => [key, median(samples.get(`${way}.${key}`) ?? [])]),
    ) as Figures;
  const result: Shares = Object.fromEntries(ways.map((way) => [way, figures(way)]));
  if (ways.length === 2) sayShares(say, name, result);
  return result;
}

function sayShares(say: (line: string) => void, name: string, { gateway, plain }: Shares): void {
  say(`\n${name}`);
  for (const { key, label, unit } of MEASURES) {
    const [a, b] = [gateway![key], plain![key]];
    const figures = `${a.toFixed(2).padStart(9)} of ${b.toFixed(2).padStart(8)} ${unit}`;
    say(`  ${label.padEnd(28)}${figures}  ${((100 * a) / b).toFixed(1).padStart(6)} %`);
  }
}

function sayRoundTrips(
  say: (line: string) => void,
  name: string,
  trips: Record<Way, RoundTrip>,
): void {
  const text = WAYS.map((way) => {
    const { p50, p99, lost } = trips[way];
    return `${way} p50 ${p50.toFixed(3)} p99 ${p99.toFixed(3)} ms, ${lost} lost`;
  });
  say(`round trip, ${name}: ${text.join("; ")}`);
}

/** Throughput of TCP with more and more streams. */
async function measureFlows(lab: Lab, { flows, runs }: Shape, say: (line: string) => void) {
  const result: { flows: number; gateway: number; plain: number }[] = [];
  for (const count of flows) {
    const samples: Record<Way, number[]> = { gateway: [], plain: [] };
    for (let round = 0; round < runs; round++) {
      for (const way of WAYS) {
        samples[way].push((await iperf(lab, way, "Gb/s", ["-P", String(count)], 1)).value);
      }
    }
    const point = { flows: count, gateway: median(samples.gateway), plain: median(samples.plain) };
    say(`${count} TCP streams: ${point.gateway.toFixed(2)} of ${point.plain.toFixed(2)} Gb/s`);
    result.push(point);
  }
  return result;
}

/** Round trips while a TCP stream runs at a share of what it could. */
async function measureLoads(
  lab: Lab,
  { loads, pings }: Shape,
  fullGbps: number,
  say: (line: string) => void,
) {
  const result: { share: number; gbps: number; p50: number; p99: number }[] = [];
  for (const share of loads) {
    const seconds = Math.ceil(pings / 300) + 1;
    const rate = share === 1 ? [] : ["-b", `${Math.round(share * fullGbps * 1_000)}M`];
    const load = share === 0 ? undefined : iperf(lab, "gateway", "Gb/s", rate, seconds);
    await sleep(300);
    const { p50, p99 } = await roundTrip(lab, "gateway", pings);
    const gbps = (await load)?.value ?? 0;
    say(`load ${gbps.toFixed(2)} Gb/s: round trip p50 ${p50.toFixed(3)}, p99 ${p99.toFixed(3)} ms`);
    result.push({ share, gbps, p50, p99 });
  }
  return result;
}

/** Two gateways whose tables hold so many mappings. */
interface FilledLab {
  readonly mappings: number;
  readonly lab: Lab;
  readonly samples: Record<"tcp" | "udpSmall", number[]>;
}

/**
 * Throughput with tables that hold so many mappings. All gateways stand side by side and take
 * turns, each round in another order: who comes after the pause or after a TCP run is faster.
 */
async function measureMappings({ mappings, runs, seconds }: Shape, say: (line: string) => void) {
  const filled: FilledLab[] = [];
  try {
    for (const count of mappings) filled.push(await fillLab(count));
    for (let round = 0; round < 2 * runs; round++) {
      for (const { key, unit, args } of MEASURES) {
        if (key !== "tcp" && key !== "udpSmall") continue;
        const first = round % filled.length;
        for (const { lab, samples } of [...filled.slice(first), ...filled.slice(0, first)]) {
          samples[key].push((await iperf(lab, "gateway", unit, args, seconds)).value);
        }
      }
    }
    return filled.map(({ mappings: count, lab, samples }) => {
      const [tcp, udpSmall] = [median(samples.tcp), median(samples.udpSmall)];
      const residentMb = residentMegabytes(lab.gateways[0]!.pid);
      say(
        `${count} mappings: TCP ${tcp.toFixed(2)} Gb/s, ` +
          `UDP of 64 octets ${udpSmall.toFixed(1)} kpps, ${residentMb} MB resident`,
      );
      return { mappings: count, tcp, udpSmall, residentMb };
    });
  } finally {
    for (const { lab } of filled) await lab.network.destroy();
  }
}

async function fillLab(count: number): Promise<FilledLab> {
  const prepare = (directory: string): void => {
    if (count === 1) return;
    mkdirSync(directory, { recursive: true });
    execFileSync(process.execPath, [FILL, "fill", directory, String(count)]);
  };
  // The widest of the private networks: a million addresses fill a twelve-bit prefix.
  const extraArguments = ["-encode-net", "10.0.0.0/8"];
  const lab = await buildLab(true, { ...IPV4, extraArguments, prepare });
  await warmUp(lab, "gateway");
  return { mappings: count, lab, samples: { tcp: [], udpSmall: [] } };
}

function draw(result: Awaited<ReturnType<typeof measureIpv4>>): void {
  const folder = join(repositoryRoot(), "docs/images");
  mkdirSync(folder, { recursive: true });
  const flows = plotSvg({
    title: "Throughput of TCP against the number of flows",
    xLabel: "TCP streams",
    yLabel: "Gb/s",
    lines: WAYS.map((way) => ({
      label: way === "gateway" ? "through two gateways" : "plain routing",
      points: result.flows.map((point) => [point.flows, point[way]] as const),
    })),
  });
  writeFileSync(join(folder, "forward-flows.svg"), flows);
  const loads = plotSvg({
    title: "Round trip through two gateways against load",
    xLabel: "Gb/s of TCP at the same time",
    yLabel: "ms",
    lines: (["p50", "p99"] as const).map((key) => ({
      label: key === "p50" ? "median" : "99th percentile",
      points: result.loads.map((point) => [point.gbps, point[key]] as const),
    })),
  });
  writeFileSync(join(folder, "forward-latency.svg"), loads);
}
