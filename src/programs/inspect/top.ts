/**
 * `ipref top`: traffic, remote gateways, conversations and drops, live. Looks at the gateway over
 * its control socket; the gateway samples conversations only while somebody looks.
 */

import { performance } from "node:perf_hooks";
import type { Command } from "commander";
import type { FlowsReport } from "../../control/inspection/flows.js";
import type { PeerEntry } from "../../control/inspection/peers.js";
import type { GatewayStatus } from "../../control/inspection/status.js";
import { addRunOption, newCommand, parseArguments } from "../command-line.js";
import { EXIT_OK, EXIT_USAGE } from "../exit-status.js";
import { askEntries, askPart, complainUnavailable, QuestionRefused } from "./ask.js";
import { complainNumber, numberOption } from "./number-option.js";
import { lineWriter } from "./output.js";
import { hasColours, paint, TerminalScreen } from "./terminal-screen.js";
import { topFrame } from "./top-frame.js";
import type { TopSample } from "./top-sample.js";

const INTERVAL_DEFAULT_SECONDS = 1;
const INTERVAL_MIN_SECONDS = 0.2;
/** Below the time that an answer may take. */
const INTERVAL_MAX_SECONDS = 5;
/** Remote gateways that are asked for; the busiest of them are shown. */
const PEERS_MAX = 4096;
const FLOWS_MAX = 100;
/** Size of the frame of --once where there is no terminal. */
const ONCE_SIZE = { columns: 100, rows: 30 };
const HINT = "q or Ctrl-C: end";

export function define(): Command {
  const command = newCommand("top", "traffic, remote gateways, conversations and drops, live")
    .option("--interval <seconds>", "time between two looks", String(INTERVAL_DEFAULT_SECONDS))
    .option("--once", "print one frame and end");
  return addRunOption(command);
}

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const range = { min: INTERVAL_MIN_SECONDS, max: INTERVAL_MAX_SECONDS };
  let seconds: number;
  try {
    seconds = numberOption(parsed.options, "interval", range)!;
  } catch (error) {
    return complainNumber(error);
  }
  const folder = String(parsed.options.run);
  const isOnce = parsed.options.once === true;
  if (!isOnce && process.stdout.isTTY !== true) {
    process.stderr.write("ipref top needs a terminal; ipref top --once prints one frame\n");
    return EXIT_USAGE;
  }
  try {
    return await (isOnce ? showOnce(folder, seconds) : showLive(folder, seconds));
  } catch (error) {
    return complainUnavailable(error);
  }
}

async function showOnce(folder: string, seconds: number): Promise<number> {
  const before = await lookAtCounters(folder, undefined);
  const sample = await look(folder, seconds);
  const { columns, rows } = process.stdout;
  const size = columns > 0 && rows > 1 ? { columns, rows: rows - 1 } : ONCE_SIZE;
  const lines = topFrame({ sample, before, hint: undefined }, size);
  const text = paint(lines, hasColours(process.env, process.stdout), "\n");
  await lineWriter().write(`${text}\n`);
  return EXIT_OK;
}

/** Looks again and again until the end is wanted. */
async function showLive(folder: string, seconds: number): Promise<number> {
  const ended = new AbortController();
  let sample = await look(folder, INTERVAL_MIN_SECONDS);
  let before: TopSample | undefined;
  let complaint: string | undefined;
  const screen = new TerminalScreen({
    onQuit: () => ended.abort(),
    onResize: () => draw(),
  });
  const draw = (): void => {
    screen.draw(topFrame({ sample, before, hint: HINT, complaint }, screen.size));
  };
  screen.open();
  try {
    draw();
    while (!ended.signal.aborted) {
      try {
        const next = await look(folder, seconds, ended.signal);
        before = sample;
        sample = next;
        complaint = undefined;
      } catch (error) {
        if (ended.signal.aborted) break;
        complaint = error instanceof Error ? error.message : String(error);
        await pause(seconds, ended.signal);
      }
      draw();
    }
  } finally {
    screen.close();
  }
  return EXIT_OK;
}

/** Looks at conversations for some seconds, and at everything else at their end. */
async function look(folder: string, seconds: number, signal?: AbortSignal): Promise<TopSample> {
  const flows = await lookAtFlows(folder, seconds, signal);
  return { ...(await lookAtCounters(folder, signal)), flows };
}

async function lookAtCounters(folder: string, signal: AbortSignal | undefined): Promise<TopSample> {
  const call = signal === undefined ? {} : { signal };
  const [status, peers] = await Promise.all([
    askPart(folder, "gateway", { ...call, path: "/status" }).then((answer) => answer.json()),
    askEntries<PeerEntry>(folder, "gateway", { ...call, path: "/peers" }, PEERS_MAX),
  ]);
  return { atMs: performance.now(), status: status as GatewayStatus, peers, flows: undefined };
}

async function lookAtFlows(
  folder: string,
  seconds: number,
  signal: AbortSignal | undefined,
): Promise<FlowsReport | undefined> {
  const query = { seconds: String(seconds), limit: String(FLOWS_MAX) };
  const call = { path: "/flows", query, ...(signal !== undefined && { signal }) };
  try {
    const answer = await askPart(folder, "gateway", call);
    return (await answer.json()) as FlowsReport;
  } catch (error) {
    if (!(error instanceof QuestionRefused)) throw error;
    await pause(seconds, signal);
    return undefined;
  }
}

/** Waits; ends early when the end is wanted. */
function pause(seconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, 1000 * seconds);
    signal?.addEventListener("abort", end);
  });
}
