// DNS server benchmark: queries per second and latencies with dnsperf, beside the figures of the
// original (CoreDNS 1.12.1 with the IPREF plugin) on a machine of two cores.
//
// One namespace holds everything: dnsperf (-c 10 -q 100, UDP), ipref-coredns, Knot DNS as upstream
// on port 5353 and ipref-gw at the mapper socket. All of them share the processor cores.
//
//   queries/s, p50, p99   saturated
//   p99 at 1,000/s        what a host sees that is not alone
//   memory                resident set after each million of ten million queries

import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { repositoryRoot, stopProcess } from "../src/programs/demo/gateway-process.js";
import { knotServer } from "../src/programs/demo/home-servers.js";
import { Namespaces, waitFor } from "../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../src/programs/demo/requirements.js";
import { block, CASES, type Case, FORWARD, IPREF, KNOT_PORT, many, NAMES } from "./dns-cases.js";
import type { BenchOptions } from "./main.js";

const GATEWAY = "198.51.100.1";
const REMOTE_GATEWAY = "203.0.113.5";
const CALM_QUERIES_PER_SECOND = 1000;
const MEMORY_ROUNDS = 10;
const MEMORY_ROUND_QUERIES = 1_000_000;

interface Row {
  readonly queriesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly calmP50Ms: number;
  readonly calmP99Ms: number;
  readonly lost: number;
  /** Processor time of the server for one query, user and system, in microseconds. */
  readonly cpuMicroseconds: number;
  /** Part of the original's queries a second. */
  readonly ratio: number;
  readonly target: number;
  readonly residentMegabytes: number;
}

interface DnsResult {
  readonly [key: string]: Row | readonly number[] | string;
}

/** Measures all cases. */
export async function run(options: BenchOptions): Promise<object> {
  const why = await whyNoNamespaces(["ip", "dnsperf", "knotd"]);
  if (why !== undefined) return refuse(why.reason, options);
  const bench = new DnsBench(options);
  try {
    await bench.build();
    return await bench.measure();
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error), options);
  } finally {
    await bench.destroy();
  }
}

function refuse(reason: string, options: BenchOptions): object {
  if (!options.json) console.log(`dns: not measured. ${reason}`);
  return { error: reason };
}

/** What one dnsperf run says. */
interface Sample {
  readonly queriesPerSecond: number;
  readonly completed: number;
  readonly lost: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

class DnsBench {
  readonly #options: BenchOptions;
  readonly #namespaces = new Namespaces();
  readonly #folder: string;
  #namespace = "";

  constructor(options: BenchOptions) {
    this.#options = options;
    this.#folder = this.#namespaces.subdirectory("dns");
  }

  async destroy(): Promise<void> {
    await this.#namespaces.destroy();
  }

  /** Namespace, Knot DNS, gateway. */
  async build(): Promise<void> {
    this.#namespace = await this.#namespaces.add("bench");
    await this.#namespaces.ip(this.#namespace, [
      "link add name out0 type veth peer name out1",
      "link set out1 up",
      `address add ${GATEWAY}/24 dev out0`,
      "link set out0 up",
    ]);
    writeFileSync(join(this.#folder, "example.com.zone"), zoneText());
    writeFileSync(join(this.#folder, "knot.conf"), knotConfiguration(this.#folder));
    this.#spawn("knot", "knotd", ["-c", join(this.#folder, "knot.conf")]);
    await this.#logged("knot", "server started");
    const gateway = join(repositoryRoot(), "bin", "ipref-gw");
    this.#spawn("gateway", gateway, [
      ...["-gateway-bind", GATEWAY, "-gateway-pub", GATEWAY, "-encode-net", "10.240.0.0/12"],
      ...["-data", join(this.#folder, "data"), "-mapper-socket", this.#mapper],
      ...["-hosts", join(this.#folder, "hosts")],
    ]);
    await this.#logged("gateway", "mapper socket");
  }

  get #mapper(): string {
    return join(this.#folder, "mapper.sock");
  }

  #spawn(name: string, command: string, args: readonly string[]): ChildProcess {
    const logPath = join(this.#folder, `${name}.log`);
    return this.#namespaces.spawn(this.#namespace, command, args, { logPath });
  }

  async #logged(name: string, text: string): Promise<void> {
    const path = join(this.#folder, `${name}.log`);
    const read = () => (existsSync(path) ? readFileSync(path, "utf8") : "");
    const found = await waitFor(() => (read().includes(text) ? true : undefined), 15_000);
    if (!found) throw new Error(`${name} does not start:\n${read()}`);
  }

  async measure(): Promise<DnsResult> {
    const result: Record<string, Row | readonly number[]> = {};
    if (!this.#options.json) printHead();
    for (const one of CASES) {
      const row = await this.#measureCase(one);
      result[one.key] = row;
      if (!this.#options.json) printRow(one, row);
    }
    if (!this.#options.quick) {
      const memory = await this.#memory();
      result.residentMegabytesPerMillion = memory;
      if (!this.#options.json) console.log(`memory: ${memory.join(" ")} MB`);
    }
    return result;
  }

  async #measureCase(one: Case): Promise<Row> {
    const server = await this.#startServer(one);
    try {
      const { quick, runs } = this.#options;
      const list = this.#writeNames(one.names);
      const seconds = quick ? 1 : 5;
      await this.#dnsperf(list, ["-l", "1"]);
      const samples: Sample[] = [];
      const cpuBefore = cpuSeconds(server);
      for (let round = 0; round < (quick ? 1 : runs); round++) {
        samples.push(await this.#dnsperf(list, ["-l", String(seconds)]));
      }
      const cpu = cpuSeconds(server) - cpuBefore;
      const completed = samples.reduce((sum, sample) => sum + sample.completed, 0);
      const detailed = await this.#dnsperf(list, ["-l", quick ? "1" : "2", "-v"]);
      const calm = await this.#dnsperf(list, [
        "-l",
        String(seconds),
        "-Q",
        String(CALM_QUERIES_PER_SECOND),
        "-v",
      ]);
      const queriesPerSecond = median(samples.map((sample) => sample.queriesPerSecond));
      return {
        queriesPerSecond,
        p50Ms: detailed.p50Ms,
        p99Ms: detailed.p99Ms,
        calmP50Ms: calm.p50Ms,
        calmP99Ms: calm.p99Ms,
        lost: samples.reduce((sum, sample) => sum + sample.lost, 0),
        cpuMicroseconds: (1e6 * cpu) / completed,
        ratio: queriesPerSecond / one.original.queries,
        target: one.target,
        residentMegabytes: residentMegabytes(server),
      };
    } finally {
      await stopProcess(server, "SIGTERM");
    }
  }

  /** Ten million queries for cached, translated, forwarded and unknown names. */
  async #memory(): Promise<number[]> {
    const corefile = block("cache", IPREF, FORWARD);
    const server = await this.#startServer({ key: "memory", corefile });
    const unknown = Array.from({ length: 20_000 }, (_, index) => `x${index}.example.com`);
    const list = this.#writeNames([...many("aa"), ...many("plain"), ...unknown]);
    const megabytes: number[] = [];
    try {
      for (let round = 0; round < MEMORY_ROUNDS; round++) {
        const passes = Math.ceil(MEMORY_ROUND_QUERIES / (2 * NAMES + unknown.length));
        await this.#dnsperf(list, ["-n", String(passes)]);
        megabytes.push(residentMegabytes(server));
      }
    } finally {
      await stopProcess(server, "SIGTERM");
    }
    return megabytes;
  }

  async #startServer({ key, corefile }: Pick<Case, "key" | "corefile">): Promise<ChildProcess> {
    const path = join(this.#folder, `Corefile.${key}`);
    const root = `root ${this.#folder}`;
    const text = corefile.replaceAll("MAPPER", this.#mapper).replace("{\n", `{\n    ${root}\n`);
    writeFileSync(path, text);
    const program = join(repositoryRoot(), "bin", "ipref-coredns");
    const server = this.#spawn(`server-${key}`, program, ["-conf", path]);
    await this.#logged(`server-${key}`, "Listening on");
    return server;
  }

  #writeNames(names: readonly string[]): string {
    const path = join(this.#folder, "names");
    writeFileSync(path, `${names.map((name) => `${name} A`).join("\n")}\n`);
    return path;
  }

  /** Runs dnsperf; with `-v` it tells the latency of each query. */
  async #dnsperf(list: string, args: readonly string[]): Promise<Sample> {
    const output = join(this.#folder, "dnsperf.out");
    const command = ["-s", "127.0.0.1", "-d", list, "-c", "10", "-q", "100", "-t", "2", ...args];
    const child = spawn("ip", ["netns", "exec", this.#namespace, "dnsperf", ...command], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const file = createWriteStream(output);
    child.stdout.pipe(file);
    await finished(file);
    return readSample(readFileSync(output, "utf8"));
  }
}

/** Figures in the output of dnsperf. */
function readSample(text: string): Sample {
  const number = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? "NaN");
  const latencies: number[] = [];
  for (const match of text.matchAll(/^> \S+ \S+ \S+ ([0-9.]+)$/gm))
    latencies.push(Number(match[1]));
  latencies.sort((a, b) => a - b);
  const at = (part: number) =>
    1000 * (latencies[Math.floor(part * latencies.length)] ?? Number.NaN);
  const failed = number(/Response codes:.*?(?:SERVFAIL|REFUSED) (\d+)/);
  if (failed > 0) throw new Error(`The server failed ${failed} queries:\n${text.slice(-1500)}`);
  return {
    completed: number(/Queries completed:\s+(\d+)/),
    queriesPerSecond: number(/Queries per second:\s+([0-9.]+)/),
    lost: number(/Queries lost:\s+(\d+)/),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  };
}

/** Names with an AA string whose gateway part is a name, and ordinary ones. */
function zoneText(): string {
  const lines = [
    "$ORIGIN example.com.",
    "$TTL 3600",
    "@ SOA ns admin 1 3600 600 86400 60",
    "@ NS ns",
    "ns A 127.0.0.1",
    `gw A ${REMOTE_GATEWAY}`,
  ];
  for (let index = 0; index < NAMES; index++) {
    lines.push(`aa${index} TXT "AA gw.example.com + ${1024 + index}"`);
    lines.push(`plain${index} A 192.0.2.${index & 255}`);
  }
  return `${lines.join("\n")}\n`;
}

function knotConfiguration(folder: string): string {
  return `${knotServer(folder, [`127.0.0.1@${KNOT_PORT}`])}zone:
  - domain: example.com
    file: ${folder}/example.com.zone
`;
}

function residentMegabytes(child: ChildProcess): number {
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? "0") / 1024);
}

/** User and system time, fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms. */
function cpuSeconds(child: ChildProcess): number {
  const stat = readFileSync(`/proc/${child.pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function printHead(): void {
  console.log("DNS server, dnsperf -c 10 -q 100 over UDP");
  const head = [
    "queries/s",
    "original",
    "ratio",
    "target",
    "p50 ms",
    "p99 ms",
    "1k/s p99",
    "orig.",
    "CPU us",
    "MB",
  ];
  console.log(`${"".padEnd(26)}${head.map((word) => word.padStart(10)).join("")}`);
}

function printRow(one: Case, row: Row): void {
  const columns = [
    row.queriesPerSecond.toFixed(0),
    one.original.queries.toFixed(0),
    row.ratio.toFixed(2),
    row.target.toFixed(1),
    row.p50Ms.toFixed(2),
    row.p99Ms.toFixed(2),
    row.calmP99Ms.toFixed(2),
    one.original.p99Ms.toFixed(2),
    row.cpuMicroseconds.toFixed(1),
    String(row.residentMegabytes),
  ];
  const lost = row.lost > 0 ? `  ${row.lost} lost` : "";
  console.log(`${one.title.padEnd(26)}${columns.map((text) => text.padStart(10)).join("")}${lost}`);
}
