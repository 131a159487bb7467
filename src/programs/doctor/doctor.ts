/**
 * `ipref doctor`: looks for everything that keeps an IPREF system from working, and prints for each
 * fault the command lines that put it right. Exit status 3 when something fails.
 */

import type { Command } from "commander";
import { parseIp } from "../../base/ip.js";
import { nearestWord } from "../../base/nearest-word.js";
import { printable, printableJson } from "../../base/printable.js";
import { worst } from "../../control/doctor/finding.js";
import { jsonOf, tableOf } from "../../control/doctor/report.js";
import { newCommand, parseArguments, RUN_FOLDER } from "../command-line.js";
import { EXIT_FOUND_PROBLEMS, EXIT_OK, EXIT_USAGE } from "../exit-status.js";
import { lineWriter } from "../inspect/output.js";
import { CONFIGURATION_FILE, loadConfiguration } from "../up.js";
import { ConfigurationRefused, REFUSED_STATUS } from "../up-system.js";
import { type Check, runChecks } from "./check.js";
import { CHECKS } from "./checks.js";
import { DoctorContext } from "./context.js";

const TABLE_WIDTH = 100;

/** The command with its options. */
export function define(): Command {
  return newCommand("doctor", "find what is wrong, and how to put it right")
    .option("--json", "print the findings as JSON")
    .option("--config <file>", `configuration (default: ${CONFIGURATION_FILE} if present)`)
    .option("--run <dir>", `run folder of the system to ask (default: ${RUN_FOLDER})`)
    .option("--quick", "only what takes milliseconds and asks nobody")
    .option("--only <check...>", "only these checks, by name")
    .option("--peer <address...>", "ask these remote gateways, besides those known")
    .option("--list", "list the checks")
    .addHelpText("after", "\nExit status: 0 nothing failed, 3 something did.");
}

/** Runs the command; resolves to the exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const { options } = parsed;
  const checks = chosenChecks(wordsOf(options.only), options.quick === true);
  if (typeof checks === "string") return complain(checks);
  const peers = wordsOf(options.peer);
  const bad = peers.find((text) => parseIp(text) === undefined);
  if (bad !== undefined) return complain(`Cannot use --peer ${bad}: expected an IP address`);
  if (options.list === true) {
    const lines = checks.map(({ id, looksAt }) => `${id.padEnd(16)}${looksAt}\n`);
    await lineWriter().write(lines.join(""));
    return EXIT_OK;
  }
  let context: DoctorContext;
  try {
    context = contextOf(options, peers);
  } catch (error) {
    if (!(error instanceof ConfigurationRefused)) throw error;
    for (const complaint of error.complaints) process.stderr.write(`${complaint}\n`);
    return REFUSED_STATUS;
  }
  const findings = await runChecks(checks, context);
  const { isTTY, columns } = process.stdout;
  const width = Math.max(60, columns ?? TABLE_WIDTH);
  const hasColours = isTTY === true && process.env.NO_COLOR === undefined;
  const isJson = options.json === true;
  await lineWriter().write(
    isJson ? printableJson(jsonOf(findings)) : tableOf(findings, { hasColours, width }),
  );
  return worst(findings) === "FAIL" ? EXIT_FOUND_PROBLEMS : EXIT_OK;
}

function contextOf(
  options: Readonly<Record<string, unknown>>,
  peers: readonly string[],
): DoctorContext {
  const config = options.config as string | undefined;
  const run = options.run as string | undefined;
  const flags = new Map(run === undefined ? [] : [["run", run]]);
  return new DoctorContext({
    configuration: loadConfiguration(config, flags),
    file: config ?? CONFIGURATION_FILE,
    isFileGiven: config !== undefined,
    peers,
  });
}

/** The checks to run, or what is wrong with their names. */
function chosenChecks(names: readonly string[], isQuick: boolean): readonly Check[] | string {
  const ids = CHECKS.map(({ id }) => id);
  for (const name of names) {
    if (ids.includes(name)) continue;
    const nearest = nearestWord(name, ids);
    const hint =
      nearest === undefined ? `expected some of ${ids.join(", ")}` : `did you mean '${nearest}'?`;
    return `Cannot use --only ${name}: there is no such check; ${hint}`;
  }
  const chosen = names.length === 0 ? CHECKS : CHECKS.filter(({ id }) => names.includes(id));
  return isQuick ? chosen.filter((check) => check.isQuick) : chosen;
}

/** Values of an option that takes several, separated by blanks or commas. */
function wordsOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return (value as string[]).flatMap((word) => word.split(",")).filter((word) => word !== "");
}

function complain(text: string): number {
  process.stderr.write(`${printable(text)}\n`);
  return EXIT_USAGE;
}
