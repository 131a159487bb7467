/**
 * The differential property tests at length: in rounds, each with a seed of its own, until ten
 * million packets have been compared (fast path with slow path, one kernel with the other).
 *
 *   node scripts/test-long.js [PACKETS]
 *
 * To repeat a round that failed: IPREF_TEST_SEED=... IPREF_TEST_PACKETS=... node --test FILE, as
 * printed. Exit status: 0 all agreed, 1 something did not.
 */

import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";

const ROOT = resolve(fileURLToPath(import.meta.url), "../..");
const FILES = ["differential", "fast-fragments", "translator", "offload-egress", "offload-ingress"];
/** Packets of one property in one round. */
const ROUND_PACKETS = 20_000;
const LANES = 2;

const wanted = Number(process.argv[2] ?? 10_000_000);
if (!Number.isInteger(wanted) || wanted < 1) {
  console.error(`Usage: node scripts/test-long.js [PACKETS]; found "${process.argv[2]}"`);
  process.exit(2);
}

let compared = 0;
let isFailed = false;
const startMs = performance.now();

/** Runs one file once; every property that passed prints its seed and has compared a round. */
function runFile(name) {
  const seed = randomInt(2 ** 32);
  const file = join("dist/test/forward", `${name}.test.js`);
  const settings = { IPREF_TEST_SEED: String(seed), IPREF_TEST_PACKETS: String(ROUND_PACKETS) };
  const env = { ...process.env, ...settings };
  delete env.NODE_TEST_CONTEXT;
  const flags = ["--enable-source-maps", "--test", "--test-reporter=tap", file];
  return new Promise((done) => {
    const child = spawn(process.execPath, flags, { cwd: ROOT, env });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    child.stderr.pipe(process.stderr);
    child.on("close", (code) => {
      conclude({ code, seed, file, output });
      done();
    });
  });
}

function conclude({ code, seed, file, output }) {
  const properties = output.match(/^ *# seed \d+$/gm)?.length ?? 0;
  const isOk = code === 0 && properties > 0;
  if (isOk) compared += properties * ROUND_PACKETS;
  else isFailed = true;
  const seconds = Math.round((performance.now() - startMs) / 1000);
  const progress = `${compared.toLocaleString("en-US")} packets, ${seconds} s`;
  console.log(
    `${isOk ? "ok  " : "FAIL"} seed ${seed}, ${file}: ${properties} properties (${progress})`,
  );
  if (isOk) return;
  console.log(output);
  console.log(
    `Repeat: IPREF_TEST_SEED=${seed} IPREF_TEST_PACKETS=${ROUND_PACKETS} node --test ${file}`,
  );
}

let next = 0;
async function lane() {
  while (compared < wanted && !isFailed) await runFile(FILES[next++ % FILES.length]);
}

await Promise.all(Array.from({ length: LANES }, lane));
console.log(
  `${compared.toLocaleString("en-US")} packets compared: ${isFailed ? "failed" : "all agree"}`,
);
process.exitCode = isFailed ? 1 : 0;
