/**
 * Runs the compiled tests of dist/test, each file in a process of its own, and prints one line per
 * file and, as the last line, the totals.
 *
 *   node scripts/run-tests.js            everything
 *   node scripts/run-tests.js --quick    without namespaces and long tests; under two minutes
 *   node scripts/run-tests.js mapper     files whose path contains a word
 *
 * Two files run at a time, except those of test/netns and test/exclusive names (*.alone.test.ts),
 * which measure or load the machine: one at a time, behind the others.
 *
 * Exit status: 0 all passed, 1 something failed, 75 nothing failed but a part was left out because
 * it needs root.
 */

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";

const ROOT = resolve(fileURLToPath(import.meta.url), "../..");
const TESTS = join(ROOT, "dist/test");
const REPORTER = join(ROOT, "scripts/test-reporter.js");
const LANES = 2;
const FILE_TIMEOUT_MS = 900_000;
const QUICK_FILE_TIMEOUT_MS = 110_000;
/** sysexits(3) EX_TEMPFAIL: try again, as root. */
const EXIT_INCOMPLETE = 75;

const isQuick = process.argv.includes("--quick");
const words = process.argv.slice(2).filter((word) => !word.startsWith("-"));
const isRoot = process.geteuid() === 0;
const reports = mkdtempSync(join(tmpdir(), "ipref-tests-"));
const children = new Set();

/** Compiled test files whose source still exists. */
function testFiles() {
  const names = readdirSync(TESTS, { recursive: true }).map(String);
  return names
    .filter((name) => name.endsWith(".test.js"))
    .filter((name) => existsSync(join(ROOT, "test", name.replace(/js$/, "ts"))))
    .filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
    .filter((name) => !isQuick || !(needsNamespaces(name) || name.endsWith(".long.test.js")))
    .sort();
}

function needsNamespaces(name) {
  return name.startsWith("netns/");
}

function runsAlone(name) {
  return needsNamespaces(name) || /\.(alone|long)\.test\.js$/.test(name);
}

/** Runs one file; resolves to its results and the text it printed. */
function runFile(name, number) {
  const report = join(reports, `${number}.jsonl`);
  const flags = [
    "--enable-source-maps",
    `--test-reporter=${REPORTER}`,
    `--test-reporter-destination=${report}`,
  ];
  const env = { ...process.env, ...(isQuick ? { IPREF_TEST_QUICK: "1" } : {}) };
  delete env.NODE_TEST_CONTEXT;
  const startMs = performance.now();
  return new Promise((done) => {
    const child = spawn(process.execPath, [...flags, join(TESTS, name)], { cwd: ROOT, env });
    children.add(child);
    let output = "";
    const keep = (chunk) => {
      output = (output + chunk).slice(-100_000);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    const limitMs = isQuick ? QUICK_FILE_TIMEOUT_MS : FILE_TIMEOUT_MS;
    const timer = setTimeout(() => {
      output += `\nstopped after ${limitMs / 1000} s`;
      child.kill("SIGTERM");
      setTimeout(() => child.kill("SIGKILL"), 10_000).unref();
    }, limitMs);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      children.delete(child);
      const seconds = (performance.now() - startMs) / 1000;
      done({ name, code, signal, output, seconds, tests: readReport(report) });
    });
  });
}

function readReport(path) {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.filter((line) => line.endsWith("}")).map((line) => JSON.parse(line));
}

const totals = { passed: 0, failed: 0, skipped: 0 };
const skipReasons = new Map();
const failures = [];

function account({ name, code, signal, output, seconds, tests }) {
  const skipped = tests.filter((test) => test.skip !== undefined);
  const failed = tests.filter((test) => !test.isPassed && test.skip === undefined);
  const passed = tests.length - skipped.length - failed.length;
  const isCrashed = code !== 0 && failed.length === 0;
  totals.passed += passed;
  totals.skipped += skipped.length;
  totals.failed += failed.length + (isCrashed ? 1 : 0);
  for (const { skip } of skipped) skipReasons.set(skip, (skipReasons.get(skip) ?? 0) + 1);
  for (const test of failed) failures.push(`${name}: ${test.name}\n${test.error ?? ""}`);
  if (isCrashed) failures.push(`${name}: ended with ${signal ?? `status ${code}`}`);
  const isOk = failed.length === 0 && !isCrashed;
  const parts = [`${passed} passed`];
  if (!isOk) parts.push(`${failed.length + (isCrashed ? 1 : 0)} failed`);
  if (skipped.length > 0) parts.push(`${skipped.length} skipped`);
  const file = relative(".", join("test", name.replace(/js$/, "ts")));
  console.log(`${isOk ? "ok  " : "FAIL"} ${file}: ${parts.join(", ")} (${seconds.toFixed(1)} s)`);
  for (const line of failureText(isOk, failed, output)) console.log(`     ${line}`);
}

function failureText(isOk, failed, output) {
  if (isOk) return process.argv.includes("--verbose") ? output.trim().split("\n") : [];
  const errors = failed.flatMap((test) => [`✖ ${test.name}`, ...(test.error ?? "").split("\n")]);
  return [...errors, ...output.trim().split("\n").slice(-40)];
}

async function runAll(files, lanes) {
  const queue = [...files];
  const lane = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      account(await runFile(next.name, next.number));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

function conclude() {
  if (skipReasons.size > 0) {
    console.log("\nSkipped:");
    for (const [reason, count] of skipReasons) console.log(`  ${count} x ${reason}`);
  }
  if (failures.length > 0) {
    console.log(`\nFailed:\n${failures.map((text) => `  ${text.split("\n")[0]}`).join("\n")}`);
  }
  const isIncomplete = !isQuick && !isRoot && totals.skipped > 0;
  if (isIncomplete) {
    console.log("\nThe parts named above need root: run sudo ./ipref test for all of them.");
  }
  const { passed, failed, skipped } = totals;
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  if (failed > 0 || passed + skipped === 0) return 1;
  return isIncomplete ? EXIT_INCOMPLETE : 0;
}

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    for (const child of children) child.kill(signal);
    process.exitCode = 1;
  });
}
process.on("exit", () => rmSync(reports, { recursive: true, force: true }));

const files = testFiles().map((name, number) => ({ name, number }));
await runAll(
  files.filter(({ name }) => !runsAlone(name)),
  LANES,
);
await runAll(
  files.filter(({ name }) => runsAlone(name)),
  1,
);
process.exitCode = conclude();
