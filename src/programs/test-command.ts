/**
 * `ipref test`: installs what the tests use from Debian, when it may, and runs all tests. What
 * needs root is left out for everybody else, named, and told by the exit status.
 */

import { spawn } from "node:child_process";
import { join } from "node:path";
import { DEBIAN_PACKAGES, installMissing, isRoot, missingSentence } from "./demo/requirements.js";
import { EXIT_FAILED } from "./exit-status.js";

export interface TestOptions {
  /** Root of the clone. */
  readonly root: string;
  /** Leave out namespaces and long tests. */
  readonly isQuick: boolean;
  /** Only files whose path contains one of these words; empty = all. */
  readonly words: readonly string[];
}

/** Runs the tests; resolves to the exit status. */
export async function runTests({ root, isQuick, words }: TestOptions): Promise<number> {
  const say = (line: string) => void process.stderr.write(`ipref: ${line}\n`);
  if (!isQuick && isRoot()) {
    const programs = Object.keys(DEBIAN_PACKAGES);
    await installMissing(programs, say);
    const missing = missingSentence(programs);
    if (missing !== undefined) say(`${missing}. Tests that use them are skipped.`);
  } else if (!isQuick) {
    say("Without root the network namespace tests are skipped; sudo ./ipref test runs them too.");
  }
  const script = join(root, "scripts/run-tests.js");
  const args = [script, ...(isQuick ? ["--quick"] : []), ...words];
  return await runToEnd(process.execPath, args, root);
}

/** Runs a program with our terminal; hands SIGINT and SIGTERM on; resolves to its status. */
export function runToEnd(file: string, args: readonly string[], cwd: string): Promise<number> {
  const child = spawn(file, args, { cwd, stdio: "inherit" });
  const forward = (signal: NodeJS.Signals) => void child.kill(signal);
  process.on("SIGINT", forward);
  process.on("SIGTERM", forward);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      process.off("SIGINT", forward);
      process.off("SIGTERM", forward);
      resolve(code ?? EXIT_FAILED);
    });
  });
}
