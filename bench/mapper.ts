// Mapper benchmark: new and known mappings a second through the mapper socket of a real gateway
// process, one by one and pipelined; the commit rate of the disk in the same directory and the same
// run; and the restore of a large store. Needs root, or a kernel that lets users make namespaces.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Reactor } from "../src/platform/reactor.js";
import { connectSeqpacket } from "../src/platform/seqpacket.js";
import type { SeqpacketConnection } from "../src/platform/seqpacket-connection.js";
import type { BenchOptions } from "./main.js";

const WINDOW = 4000;
const PER_CONTEXT = 1000;
const COMMIT_BYTES = 1024;
const START_TIME_MAX_MS = 10_000;
const STOP_TIME_MAX_MS = 8_000;
const ACK = 0x87;

interface Figures {
  readonly newOneByOne: number;
  readonly newPipelined: number;
  readonly knownOneByOne: number;
  readonly knownPipelined: number;
  readonly diskCommits: number;
}

/** Requests for mapping number `index` under a packet id. */
function requestInto(bytes: Uint8Array, id: number, index: number): void {
  const view = new DataView(bytes.buffer);
  bytes.fill(0);
  bytes.set([0x11, 0x47], 0);
  view.setUint16(2, id);
  bytes[4] = 0x44;
  view.setUint16(6, 9);
  view.setUint32(16, (20 << 24) + Math.floor(index / PER_CONTEXT));
  view.setUint32(32, 1 + (index % PER_CONTEXT));
}

/** A client that keeps up to `window` requests in flight. */
class Client {
  readonly #connection: SeqpacketConnection;
  readonly #request = new Uint8Array(36);
  #next = 0;
  #end = 0;
  #answered = 0;
  #refused = 0;
  #window = 1;
  #done = (_refused: number) => {};

  constructor(reactor: Reactor, path: string) {
    this.#connection = connectSeqpacket(reactor, path, {
      onMessages: (_connection, messages) => {
        for (const { bytes } of messages) if (bytes[1] !== ACK) this.#refused++;
        this.#answered += messages.length;
        if (this.#answered >= this.#end) this.#done(this.#refused);
        else this.#fill();
      },
      onClose: (_connection, reason) => {
        if (this.#answered < this.#end) throw new Error(`the gateway closed: ${reason}`);
      },
    });
  }

  /** Asks for mappings `from` to `from + count - 1`; how many a second. */
  async run(from: number, count: number, window: number): Promise<number> {
    this.#next = from;
    this.#answered = from;
    this.#end = from + count;
    this.#window = window;
    this.#refused = 0;
    const startMs = performance.now();
    const refused = await new Promise<number>((resolve) => {
      this.#done = resolve;
      this.#fill();
    });
    if (refused > 0) throw new Error(`${refused} of ${count} requests were refused`);
    return (1000 * count) / (performance.now() - startMs);
  }

  close(): void {
    this.#connection.close();
  }

  #fill(): void {
    while (this.#next < this.#end && this.#next - this.#answered < this.#window) {
      requestInto(this.#request, this.#next & 0xffff, this.#next);
      this.#connection.send(this.#request);
      this.#next++;
    }
  }
}

/** Appends and syncs of one small block a second in `directory`. */
function diskCommits(directory: string, durationMs: number): number {
  const path = join(directory, "commits");
  const fd = openSync(path, "w");
  const block = new Uint8Array(COMMIT_BYTES);
  const startMs = performance.now();
  let count = 0;
  while (performance.now() - startMs < durationMs) {
    writeSync(fd, block);
    fdatasyncSync(fd);
    count++;
  }
  const rate = (1000 * count) / (performance.now() - startMs);
  closeSync(fd);
  rmSync(path);
  return rate;
}

/** A gateway in a network namespace of its own, which ends with it. */
async function startGateway(directory: string): Promise<{ process: ChildProcess; socket: string }> {
  const socket = join(directory, "mapper.sock");
  const hosts = join(directory, "hosts");
  writeFileSync(hosts, "");
  const program = fileURLToPath(new URL("../src/programs/ipref-gw.js", import.meta.url));
  const flags =
    `-gateway 198.51.100.1 -encode-net 10.0.0.0/8 -data ${directory}/data ` +
    `-mapper-socket ${socket} -hosts ${hosts}`;
  const script =
    "ip link set lo up && ip address add 198.51.100.1/32 dev lo && " +
    `exec ${process.execPath} ${program} ${flags}`;
  const unshare = process.getuid?.() === 0 ? ["-n"] : ["-rn"];
  const child = spawn("unshare", [...unshare, "sh", "-c", script], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let output = "";
  child.stderr!.on("data", (text) => {
    output = `${output}${text}`.slice(-2000);
  });
  const endMs = performance.now() + START_TIME_MAX_MS;
  while (!existsSync(socket)) {
    if (child.exitCode !== null || performance.now() > endMs) {
      child.kill("SIGKILL");
      throw new Error(`the gateway did not start: ${output}`);
    }
    await pause(20);
  }
  await pause(50);
  return { process: child, socket };
}

async function stopGateway(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIME_MAX_MS);
  await ended;
  clearTimeout(timer);
}

async function measureOnce(directory: string, isQuick: boolean): Promise<Figures> {
  const few = isQuick ? 300 : 6000;
  const many = isQuick ? 20_000 : 200_000;
  const gateway = await startGateway(directory);
  const reactor = new Reactor();
  try {
    const client = new Client(reactor, gateway.socket);
    // A gateway that has just started runs interpreted code: what is measured is its later life.
    await client.run(500_000, isQuick ? 100 : 6000, 1);
    const before = diskCommits(directory, isQuick ? 100 : 1000);
    const newOneByOne = await client.run(100, few, 1);
    const after = diskCommits(directory, isQuick ? 100 : 1000);
    const newPipelined = await client.run(10_000, many, WINDOW);
    const knownOneByOne = await client.run(100, few, 1);
    const knownPipelined = await client.run(10_000, many, WINDOW);
    client.close();
    const diskRate = (before + after) / 2;
    return { newOneByOne, newPipelined, knownOneByOne, knownPipelined, diskCommits: diskRate };
  } finally {
    reactor.close();
    await stopGateway(gateway.process);
  }
}

interface RestoreFigures {
  readonly openMs: number;
  readonly restoreMs: number;
  readonly restored: number;
  readonly residentBytes: number;
}

/** Fills a store in one process and restores it in others. */
function measureRestore(directory: string, count: number, runs: number): RestoreFigures {
  const program = fileURLToPath(new URL("./mapper-restore.js", import.meta.url));
  const run = (action: string) =>
    execFileSync(process.execPath, [program, action, directory, `${count}`], { encoding: "utf8" });
  run("fill");
  const all = Array.from({ length: runs }, () => JSON.parse(run("restore")) as RestoreFigures);
  const wrong = all.find(({ restored }) => restored !== count);
  if (wrong !== undefined) throw new Error(`${wrong.restored} of ${count} mappings came back`);
  all.sort((a, b) => a.restoreMs - b.restoreMs);
  return all[Math.floor(all.length / 2)]!;
}

function median(values: number[]): number {
  values.sort((a, b) => a - b);
  return values[Math.floor(values.length / 2)]!;
}

/** Runs everything `options.runs` times and prints medians. */
export async function run(options: BenchOptions): Promise<object> {
  const all: Figures[] = [];
  for (let round = 0; round < (options.quick ? 1 : options.runs); round++) {
    const directory = mkdtempSync(join(tmpdir(), "ipref-mapper-bench-"));
    try {
      all.push(await measureOnce(directory, options.quick));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
  const figures: Figures = {
    newOneByOne: median(all.map((one) => one.newOneByOne)),
    newPipelined: median(all.map((one) => one.newPipelined)),
    knownOneByOne: median(all.map((one) => one.knownOneByOne)),
    knownPipelined: median(all.map((one) => one.knownPipelined)),
    diskCommits: median(all.map((one) => one.diskCommits)),
  };
  const ratio = median(all.map((one) => one.newOneByOne / one.diskCommits));
  const count = options.quick ? 20_000 : 1_000_000;
  const directory = mkdtempSync(join(tmpdir(), "ipref-mapper-bench-"));
  let restore: RestoreFigures;
  try {
    restore = measureRestore(directory, count, options.quick ? 1 : options.runs);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const result = { ...figures, newToDiskRatio: ratio, restoreCount: count, ...restore };
  if (!options.json) print(result);
  return result;
}

function print(
  result: Figures & RestoreFigures & { newToDiskRatio: number; restoreCount: number },
) {
  const rate = (value: number) => Math.round(value).toLocaleString("en").padStart(10);
  const percent = (100 * result.newToDiskRatio).toFixed(0);
  const megabytes = (result.residentBytes / 1e6).toFixed(0);
  console.log("Mapper, through the socket of a gateway process (a second)");
  console.log(`  disk: write and fdatasync     ${rate(result.diskCommits)}`);
  console.log(`  new mappings, one by one      ${rate(result.newOneByOne)}  ${percent} % of disk`);
  console.log(`  new mappings, pipelined       ${rate(result.newPipelined)}`);
  console.log(`  known mappings, one by one    ${rate(result.knownOneByOne)}`);
  console.log(`  known mappings, pipelined     ${rate(result.knownPipelined)}`);
  console.log(
    `  restore of ${result.restoreCount.toLocaleString("en")} mappings: ` +
      `${(result.restoreMs / 1000).toFixed(2)} s with opening, ${megabytes} MB resident`,
  );
}
