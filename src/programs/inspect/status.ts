/**
 * `ipref status`: what runs, how it is, and what passes. Asks the parts over their control sockets.
 * Exit status: 0 all parts that run are healthy, 3 one is not, 4 nothing runs, 77 not allowed.
 */

import type { Command } from "commander";
import { printable, printableJson } from "../../base/printable.js";
import { addRunOption, newCommand, parseArguments } from "../command-line.js";
import { EXIT_NO_PERMISSION, EXIT_NOT_RUNNING, EXIT_OK } from "../exit-status.js";
import { PART_NAMES } from "./ask.js";
import { complainNumber, numberOption } from "./number-option.js";
import { lineWriter, untilSignal } from "./output.js";
import { collectReport, reportJson, reportStatus, type SystemReport } from "./status-report.js";
import { statusText } from "./status-text.js";

const WATCH_DEFAULT_SECONDS = 2;
const WATCH_MIN_SECONDS = 0.1;
const WATCH_MAX_SECONDS = 3600;
/** Cursor home, and erase below (ECMA-48 8.3.21, 8.3.39). */
const CLEAR = "\u001b[H\u001b[2J";

export function define(): Command {
  const command = newCommand("status", "show what runs, how it is, and what passes")
    .option("--json", "one JSON value instead of text")
    .option("--watch [seconds]", `again and again, every ${WATCH_DEFAULT_SECONDS} seconds`)
    .option("--explain", "with the meaning of each drop reason, and what to do")
    .addHelpText(
      "after",
      "\nExit status: 0 all that runs is healthy, 3 something is not, 4 nothing runs,\n" +
        "77 not allowed to ask.",
    );
  return addRunOption(command);
}

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const { json, explain, run: runFolder } = parsed.options;
  let intervalSeconds: number | undefined;
  try {
    intervalSeconds = readInterval(parsed.options);
  } catch (error) {
    return complainNumber(error);
  }
  const options = { isJson: json === true, isExplained: explain === true };
  const folder = String(runFolder);
  if (intervalSeconds !== undefined) return await keepWatch(folder, options, intervalSeconds);
  return await show(await collectReport(folder), options);
}

interface ShowOptions {
  readonly isJson: boolean;
  readonly isExplained: boolean;
}

/** Seconds between two looks; throws BadNumber. */
function readInterval(options: Readonly<Record<string, unknown>>): number | undefined {
  if (options.watch === true) return WATCH_DEFAULT_SECONDS;
  return numberOption(options, "watch", { min: WATCH_MIN_SECONDS, max: WATCH_MAX_SECONDS });
}

async function show(report: SystemReport, options: ShowOptions): Promise<number> {
  const status = reportStatus(report);
  if (!options.isJson && (status === EXIT_NOT_RUNNING || status === EXIT_NO_PERMISSION)) {
    process.stderr.write(`${refusalText(report)}\n`);
    return status;
  }
  await lineWriter().write(textOf(report, options));
  return status;
}

function textOf(report: SystemReport, { isJson, isExplained }: ShowOptions): string {
  if (isJson) return `${printableJson(JSON.stringify(reportJson(report)))}\n`;
  return `${statusText(report, { isExplained }).join("\n")}\n`;
}

/** Why nobody may be asked, or that nobody is there. */
function refusalText({ parts, runFolder }: SystemReport): string {
  for (const name of PART_NAMES) {
    const answer = parts[name];
    if (answer.state === "denied") return printable(answer.message);
  }
  return (
    `Nothing runs with the run folder ${printable(runFolder)}: start the system with ` +
    "sudo ipref up, or name another run folder with --run"
  );
}

async function keepWatch(
  folder: string,
  options: ShowOptions,
  intervalSeconds: number,
): Promise<number> {
  const ended = untilSignal();
  const writer = lineWriter();
  const isScreen = process.stdout.isTTY === true && !options.isJson;
  let isFirst = true;
  for (;;) {
    const text = textOf(await collectReport(folder), options);
    const front = isScreen ? CLEAR : isFirst || options.isJson ? "" : "\n";
    if (!(await writer.write(front + text))) return EXIT_OK;
    isFirst = false;
    if (await ended.within(1000 * intervalSeconds)) return EXIT_OK;
  }
}
