// Floods of the slow path: one TCP stream of the first host, while the second host of the same site
// sends packets that are not simple, as fast as it can.
//
// Each flood takes turns with the same packets sent to a network that the site's router discards:
// sending costs the same processors the same time both ways, and the share is what the gateways
// lose. Taking turns, a slow minute of the machine hits both. The median of the shares of the
// rounds is printed.

import { fileURLToPath } from "node:url";
import { gatewayProgramExists } from "../src/programs/demo/gateway-process.js";
import { sleep } from "../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../src/programs/demo/requirements.js";
import { FLOOD_KINDS, type FloodKind } from "./flood.js";
import { refuse } from "./forward.js";
import { buildLab, iperf, type Lab, median, warmUp } from "./forward-lab.js";
import type { BenchOptions } from "./main.js";

const FLOOD = fileURLToPath(new URL("./flood.js", import.meta.url));
/** A network that the site's router discards. */
const NOWHERE = { net: "10.99.0.0/16", address: "10.99.0.5" } as const;
/** Encoded addresses that stand for nobody. */
const UNKNOWN = "10.250.7.5";
/** Time for a flood to begin, and to end after the measurement. */
const START_MS = 500;

/** One kind of flood; throughput in Gb/s, the flood in thousands of packets per second. */
export interface FloodResult {
  readonly kind: FloodKind;
  readonly flooded: number;
  readonly discarded: number;
  /** Median of the shares of each round. */
  readonly share: number;
  readonly floodKpps: number;
}

interface Sample {
  readonly gbps: number;
  readonly floodKpps: number;
}

/** Runs the benchmark; prints a table unless `json`. */
export async function run(options: BenchOptions): Promise<object> {
  const why = await whyNoNamespaces(["ip", "iperf3"]);
  if (why !== undefined) return refuse(why.reason, options);
  if (!gatewayProgramExists()) return refuse("the gateway program is not built", options);
  const lab = await buildLab(true);
  const say = (line: string): void => void (options.json || console.log(line));
  const { runs, quick } = options;
  say("forward-floods: TCP of one host while another host of its site floods, IPv4 over IPv4");
  try {
    await warmUp(lab, "gateway");
    const shape = quick ? { rounds: 1, seconds: 1 } : { rounds: runs, seconds: 3 };
    return { floods: await measureFloods(lab, { ...shape, kinds: FLOOD_KINDS }, say) };
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error), options);
  } finally {
    await lab.network.destroy();
  }
}

/** Measures in a laboratory of two IPv4 sites, the first of which has two hosts. */
export async function measureFloods(
  lab: Lab,
  shape: { rounds: number; seconds: number; kinds: readonly FloodKind[] },
  say: (line: string) => void,
): Promise<FloodResult[]> {
  const { gatewayNamespace } = lab.network.sites[0];
  const route = ["route", "replace", "blackhole", NOWHERE.net];
  await lab.network.namespaces.exec(gatewayNamespace, "ip", route);
  const result: FloodResult[] = [];
  for (const kind of shape.kinds) {
    const target = kind === "unknown" ? UNKNOWN : lab.targets.gateway;
    const flooded: Sample[] = [];
    const discarded: Sample[] = [];
    for (let round = 0; round < shape.rounds; round++) {
      discarded.push(await under(lab, kind, NOWHERE.address, shape.seconds));
      flooded.push(await under(lab, kind, target, shape.seconds));
    }
    const point = summarize(kind, flooded, discarded);
    say(describe(point));
    result.push(point);
  }
  return result;
}

/** One run of TCP under one flood. */
async function under(lab: Lab, kind: FloodKind, target: string, seconds: number): Promise<Sample> {
  const { namespaces, sites } = lab.network;
  const floodSeconds = seconds + (2 * START_MS) / 1_000;
  const args = [FLOOD, kind, target, String(floodSeconds)];
  const host = sites[0].hosts[1]!.namespace;
  const flood = namespaces.exec(host, process.execPath, args, { timeoutMs: 30_000 });
  await sleep(START_MS);
  const { value } = await iperf(lab, "gateway", "Gb/s", [], seconds);
  const sent = Number((await flood).stdout);
  if (!(sent > 0)) throw new Error(`The flood of ${kind} did not run`);
  return { gbps: value, floodKpps: sent / floodSeconds / 1_000 };
}

function summarize(
  kind: FloodKind,
  flooded: readonly Sample[],
  discarded: readonly Sample[],
): FloodResult {
  return {
    kind,
    flooded: median(flooded.map(({ gbps }) => gbps)),
    discarded: median(discarded.map(({ gbps }) => gbps)),
    share: median(flooded.map(({ gbps }, round) => gbps / discarded[round]!.gbps)),
    floodKpps: median(flooded.map(({ floodKpps }) => floodKpps)),
  };
}

function describe({ kind, flooded, discarded, share, floodKpps }: FloodResult): string {
  const figures = `${flooded.toFixed(2)} of ${discarded.toFixed(2)} Gb/s`;
  const rate = `${floodKpps.toFixed(0)} thousand packets a second`;
  return `  ${kind.padEnd(12)}${figures.padEnd(22)}${(100 * share).toFixed(0).padStart(4)} %  ${rate}`;
}
