// What monitoring costs: the forwarding measurements with and without a scrape of /metrics at both
// gateways each second. The two take turns, and the median of the shares of the rounds is printed.
// A scrape asks every forwarding worker for a sign of life and reads all counters. On a busy machine
// the shares scatter by more than a scrape can cost; the processor time that a scrape takes a gateway
// says more there.

import { callControl } from "../src/platform/control-client.js";
import { gatewayProgramExists } from "../src/programs/demo/gateway-process.js";
import { whyNoNamespaces } from "../src/programs/demo/requirements.js";
import { refuse } from "./forward.js";
import {
  buildLab,
  cpuSeconds,
  iperf,
  type Lab,
  median,
  type Sample,
  warmUp,
} from "./forward-lab.js";
import type { BenchOptions } from "./main.js";

const SCRAPE_INTERVAL_MS = 1000;
const WARM_UP_ROUNDS = 2;
/** Scrapes whose processor time is taken together. */
const SCRAPES = 200;

const MEASURES = [
  { label: "TCP, one stream", unit: "Gb/s", args: [] },
  { label: "UDP, 64 bytes, delivered", unit: "kpps", args: ["-u", "-b", "0", "-l", "64"] },
] as const;

/** One measurement. */
interface ScrapeResult {
  readonly label: string;
  readonly unit: string;
  readonly scraped: number;
  readonly alone: number;
  /** Median of the shares of the rounds; 1: a scrape costs nothing. */
  readonly share: number;
  /** Least and greatest share. */
  readonly spread: readonly [number, number];
  /** Median of the shares of processor time of the gateways for one gigabyte; 1: no difference. */
  readonly cpuShare: number;
}

/** Runs the benchmark; prints a table unless `json`. */
export async function run(options: BenchOptions): Promise<object> {
  const why = await whyNoNamespaces(["ip", "iperf3"]);
  if (why !== undefined) return refuse(why.reason, options);
  if (!gatewayProgramExists()) return refuse("the gateway program is not built", options);
  const lab = await buildLab(true);
  try {
    for (let round = 0; round < WARM_UP_ROUNDS; round++) await warmUp(lab, "gateway");
    const results: ScrapeResult[] = [];
    for (const measure of MEASURES) results.push(await compare(lab, measure, options));
    const scrapeCpuMs = await scrapeCost(lab, options.quick ? SCRAPES / 10 : SCRAPES);
    if (!options.json) print(results, scrapeCpuMs, options);
    return { scrapeIntervalMs: SCRAPE_INTERVAL_MS, runs: options.runs, results, scrapeCpuMs };
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error), options);
  } finally {
    await lab.network.destroy();
  }
}

async function compare(
  lab: Lab,
  { label, unit, args }: (typeof MEASURES)[number],
  { quick, runs }: BenchOptions,
): Promise<ScrapeResult> {
  const seconds = quick ? 1 : 4;
  const once = () => iperf(lab, "gateway", unit, args, seconds);
  const scraped: Sample[] = [];
  const alone: Sample[] = [];
  for (let round = 0; round < (quick ? 1 : runs); round++) {
    // Which one goes first changes, so that a machine that slows down favours neither.
    if (round % 2 === 0) alone.push(await once());
    scraped.push(await whileScraped(lab, once));
    if (round % 2 === 1) alone.push(await once());
  }
  const shares = scraped.map(({ value }, round) => value / alone[round]!.value);
  const cpuShares = scraped.map((sample, round) => cpuCost(sample) / cpuCost(alone[round]!));
  return {
    ...{ label, unit, share: median(shares), cpuShare: median(cpuShares) },
    scraped: median(scraped.map(({ value }) => value)),
    alone: median(alone.map(({ value }) => value)),
    spread: [Math.min(...shares), Math.max(...shares)],
  };
}

/** Processor time of the gateways for a gigabyte. */
function cpuCost({ cpuSeconds: seconds, gigabytes }: Sample): number {
  return seconds / gigabytes;
}

/** Reads the page of each gateway once. */
async function scrapeAll(lab: Lab): Promise<void> {
  const pages = lab.gateways.map(async ({ socketPath }) => {
    const path = socketPath.replace(/mapper\.sock$/, "gateway.control");
    const text = await (await callControl(path, { path: "/metrics" })).text();
    if (!text.includes("ipref_fast_path_packets_total")) throw new Error("no metrics");
  });
  await Promise.all(pages);
}

/** Processor time of one gateway for one scrape while it does nothing else, in milliseconds. */
async function scrapeCost(lab: Lab, scrapes: number): Promise<number> {
  const before = cpuSeconds(lab);
  for (let count = 0; count < scrapes; count++) await scrapeAll(lab);
  return (1000 * (cpuSeconds(lab) - before)) / scrapes / lab.gateways.length;
}

/** Does something while both gateways are scraped. */
async function whileScraped<Value>(lab: Lab, work: () => Promise<Value>): Promise<Value> {
  let scrapes = 0;
  let fault: unknown;
  const scrape = async (): Promise<void> => {
    await scrapeAll(lab);
    scrapes++;
  };
  const timer = setInterval(
    () => void scrape().catch((error) => (fault = error)),
    SCRAPE_INTERVAL_MS,
  );
  try {
    await scrape();
    return await work();
  } finally {
    clearInterval(timer);
    if (fault !== undefined) console.error(`A scrape failed after ${scrapes}: ${fault}`);
  }
}

function print(
  results: readonly ScrapeResult[],
  scrapeCpuMs: number,
  { quick, runs }: BenchOptions,
): void {
  console.log(`forward --scrape: /metrics of both gateways each second, median of ${runs} rounds`);
  for (const { label, unit, scraped, alone, share, spread, cpuShare } of results) {
    const figures = `${scraped.toFixed(2)} of ${alone.toFixed(2)} ${unit}`;
    const [least, most] = spread.map((value) => (100 * value).toFixed(1));
    const cpu = `processor time ${(100 * cpuShare).toFixed(1)} %`;
    const text = `${(100 * share).toFixed(1)} % (${least} to ${most} %), ${cpu}`;
    console.log(`  ${label.padEnd(26)}${figures.padEnd(28)}${text}`);
  }
  const share = (scrapeCpuMs / SCRAPE_INTERVAL_MS) * 100;
  const cost = `${scrapeCpuMs.toFixed(2)} ms of processor time, ${share.toFixed(2)} % of one`;
  console.log(`  A scrape costs a gateway ${cost}`);
  if (quick) console.log("Quick run: the figures only show that the benchmark works");
}
