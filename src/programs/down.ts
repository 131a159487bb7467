/** `ipref down`: ends a running `ipref up` and undoes what it did, also after its sudden death. */

import type { Command } from "commander";
import { newCommand, parseArguments } from "./command-line.js";
import { EXIT_FAILED, EXIT_OK } from "./exit-status.js";
import { addConfigurationFlags, loadConfiguration, settingFlags } from "./up.js";
import { isRunning, type KnownProcess, readState, undo } from "./up-machine.js";
import { pathsOf } from "./up-plan.js";
import { ConfigurationRefused, REFUSED_STATUS } from "./up-system.js";

/** `ipref up` ends its parts one after the other, each within 9 s. */
const STOP_TIME_MAX_MS = 28_000;
const STEP_MS = 20;

/** The command with its options. */
export function define(): Command {
  const command = newCommand("down", "end a running ipref up and undo what it did to the machine");
  return addConfigurationFlags(command);
}

/** Runs the command; resolves to the exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const { options } = parsed;
  try {
    const flags = settingFlags(options);
    const configuration = loadConfiguration(options.config as string | undefined, flags);
    return await takeDown(pathsOf(configuration).state);
  } catch (error) {
    if (!(error instanceof ConfigurationRefused)) throw error;
    process.stderr.write(`${error.message}\n`);
    return REFUSED_STATUS;
  }
}

async function takeDown(path: string): Promise<number> {
  const state = readState(path);
  if (state === undefined) {
    process.stdout.write("ipref up is not running and has left nothing behind\n");
    return EXIT_OK;
  }
  if (isRunning(state.supervisor)) {
    signal(state.supervisor, "SIGTERM");
    if (!(await ended(state.supervisor))) {
      process.stderr.write(`ipref up (process ${state.supervisor.pid}) does not end\n`);
      return EXIT_FAILED;
    }
  }
  const left = readState(path);
  if (left === undefined) {
    process.stdout.write("ipref up has ended\n");
    return EXIT_OK;
  }
  for (const part of left.parts.filter(isRunning)) signal(part, "SIGTERM");
  for (const part of left.parts) if (!(await ended(part))) signal(part, "SIGKILL");
  undo(path, left);
  process.stdout.write("Cleared away what ipref up had left\n");
  return EXIT_OK;
}

function signal(target: KnownProcess, name: NodeJS.Signals): void {
  try {
    process.kill(target.pid, name);
  } catch {
    // It has just ended.
  }
}

async function ended(target: KnownProcess): Promise<boolean> {
  const deadline = Date.now() + STOP_TIME_MAX_MS;
  while (isRunning(target)) {
    if (Date.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
  return true;
}
