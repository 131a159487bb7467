// Benchmarks by name: node dist/bench/main.js [name ...] [--json] [--quick] [--runs N]
//
// Without a name all of them run but forward-floods and forward-matrix. `forward --scrape` measures
// what monitoring costs instead. Each benchmark is a module that exports
// `run(options): Promise<object>`; the object is printed as JSON with --json, and otherwise the
// module has printed its own table.

import { existsSync } from "node:fs";
import { arch, cpus, release } from "node:os";
import { fileURLToPath } from "node:url";

/** What every benchmark gets. */
export interface BenchOptions {
  /** Print nothing: the caller prints the result as JSON. */
  readonly json: boolean;
  /** Short runs, to see that the benchmark works. */
  readonly quick: boolean;
  /** `forward`: compare with and without a scrape of the metrics each second. */
  readonly scrape: boolean;
  /** Each figure is the median of this many runs. */
  readonly runs: number;
}

/** A benchmark module. */
export interface Bench {
  run(options: BenchOptions): Promise<object>;
}

const NAMES = [
  "capture",
  "dns",
  "forward",
  "forward-floods",
  "forward-matrix",
  "kernel",
  "mapper",
] as const;
/** Take many minutes: run only when they are named. */
const LONG: readonly string[] = ["forward-floods", "forward-matrix"];
const FLAGS = "[--json] [--quick] [--runs N] [--scrape]";
const USAGE = `Usage: npm run bench -- [${NAMES.join("|")}] ${FLAGS}`;

/** Machine the figures belong to. */
function machine(): object {
  const processors = cpus();
  return {
    processor: processors[0]?.model ?? "unknown",
    cores: processors.length,
    architecture: arch(),
    kernel: release(),
    node: process.version,
    date: new Date().toISOString(),
  };
}

function readArguments(argv: readonly string[]): { names: string[]; options: BenchOptions } {
  const names: string[] = [];
  const flags = { json: false, quick: false, scrape: false, runs: 3 };
  for (let index = 0; index < argv.length; index += 1) {
    const word = argv[index] as string;
    if (word === "--json") flags.json = true;
    else if (word === "--quick") flags.quick = true;
    else if (word === "--scrape") flags.scrape = true;
    else if (word === "--runs") {
      index += 1;
      flags.runs = Number(argv[index]);
    } else if (word === "--help" || word === "-h") {
      console.log(USAGE);
      process.exit(0);
    } else if (NAMES.some((name) => name === word)) names.push(word);
    else fail(`Unknown argument "${word}"`);
  }
  if (!Number.isInteger(flags.runs) || flags.runs < 1 || flags.runs > 99) {
    fail("--runs takes a whole number from 1 to 99");
  }
  return {
    names: names.length > 0 ? names : NAMES.filter((name) => !LONG.includes(name)),
    options: flags,
  };
}

function fail(message: string): never {
  console.error(`${message}\n${USAGE}`);
  process.exit(2);
}

async function main(): Promise<void> {
  const { names, options } = readArguments(process.argv.slice(2));
  const results: Record<string, object> = {};
  for (const name of names) {
    const module = name === "forward" && options.scrape ? "forward-scrape" : name;
    const file = new URL(`./${module}.js`, import.meta.url);
    if (!existsSync(fileURLToPath(file)))
      fail(`The benchmark "${name}" is not built: npm run build`);
    const bench = (await import(file.href)) as Bench;
    results[name] = await bench.run(options);
  }
  if (options.json) console.log(JSON.stringify({ machine: machine(), ...results }, null, 2));
  const failed = Object.values(results).some((result) => "error" in result);
  process.exit(failed ? 1 : 0);
}

await main();
