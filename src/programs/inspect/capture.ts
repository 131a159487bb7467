/**
 * `ipref capture`: packets on both sides of the gateway, with mapping and verdict: as lines, or as
 * a pcapng file for Wireshark. Data goes to standard output or the file, all else to standard
 * error.
 */

import { type Command, Option } from "commander";
import { printable, printableJson, printableLines } from "../../base/printable.js";
import type { CaptureLast, CaptureLine, MessageLine } from "../../control/capture/lines.js";
import { addRunOption, newCommand, parseArguments } from "../command-line.js";
import { EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE } from "../exit-status.js";
import { answerLines, askPart, complainUnavailable } from "./ask.js";
import { FileRefused, writeCapture } from "./capture-file.js";
import { type CaptureWish, readWish } from "./capture-options.js";
import { captureText, messageText } from "./capture-text.js";
import { lineWriter } from "./output.js";

const HELP = `
The filter joins terms by and, or, not and parentheses:
  host ADDRESS   net PREFIX   port N   proto tcp|udp|icmp|N
  gateway ADDRESS   reference REFERENCE
  side local|tunnel   verdict forwarded|dropped|slow   drop REASON

Examples:
  ipref capture host 10.1.0.5 and port 443
  ipref capture verdict dropped
  ipref capture -w - gateway 198.51.100.7 | wireshark -k -i -`;

/** After the wish to end, the gateway's last words are waited for this long. */
const LAST_WORDS_MS = 2000;
/** And then whoever reads standard output this long, before the process leaves as it is. */
const LAST_READING_MS = 1000;

export function define(): Command {
  const command = newCommand("capture", "capture packets on both sides of the gateway")
    .argument("[filter...]", "which packets; all when there is none")
    .option("-w, --write <file>", "write a pcapng file for Wireshark; - is standard output")
    .option("-c, --count <packets>", "end after so many packets (1000000)")
    .option("--duration <time>", "end after this time (60s)")
    .option("--max-size <size>", "end before the file is larger (100MB)")
    .option("--snaplen <octets>", "keep so much of each packet (65535)")
    .addOption(
      new Option("--side <side>", "side of the gateway")
        .choices(["local", "tunnel", "both"])
        .default("both"),
    )
    .option("--mapper", "with the messages of the mapper socket; no filter applies to them")
    .option("--json", "one JSON value for each packet")
    .addHelpText("after", HELP);
  return addRunOption(command);
}

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const wish = readWish(parsed.options, parsed.words);
  if (typeof wish === "string") return refuse(wish);
  if (wish.file === "-" && process.stdout.isTTY) {
    return refuse("Standard output is a terminal: name a file, or pipe the capture to a program");
  }
  try {
    return await capture(String(parsed.options.run), wish);
  } catch (error) {
    if (error instanceof FileRefused) {
      process.stderr.write(`${printable(error.message)}\n`);
      return error.exitStatus;
    }
    return complainUnavailable(error);
  }
}

function refuse(message: string): number {
  process.stderr.write(`${printableLines(message)}\n`);
  return EXIT_USAGE;
}

async function capture(runFolder: string, wish: CaptureWish): Promise<number> {
  const gone = new AbortController();
  const answer = await askPart(runFolder, "gateway", {
    method: "POST",
    path: "/capture",
    body: JSON.stringify(wish.question),
    signal: gone.signal,
  });
  const ending = new Ending(runFolder, gone);
  process.stderr.write(`${describeLimits(wish)}\n`);
  try {
    if (wish.file !== undefined) {
      return await writeCapture(wish.file, answer.stream(), () => ending.ask());
    }
    return await printLines(answerLines(answer), wish.isJson, ending);
  } catch (error) {
    if (error instanceof FileRefused) throw error;
    if (ending.isAsked) return EXIT_OK;
    process.stderr.write("The capture broke off: the gateway has ended\n");
    return EXIT_UNAVAILABLE;
  } finally {
    ending.close();
    gone.abort();
  }
}

/** Ends the capture on a signal, or when nobody reads any more. */
class Ending {
  readonly #runFolder: string;
  readonly #gone: AbortController;
  readonly #onSignal = () => this.ask();
  #timer: NodeJS.Timeout | undefined;

  constructor(runFolder: string, gone: AbortController) {
    this.#runFolder = runFolder;
    this.#gone = gone;
    process.on("SIGINT", this.#onSignal);
    process.on("SIGTERM", this.#onSignal);
  }

  get isAsked(): boolean {
    return this.#timer !== undefined;
  }

  /** The gateway is asked to finish the capture properly; a second time, it is left at once. */
  ask(): void {
    if (this.isAsked) return this.#leave();
    this.#timer = setTimeout(() => this.#leave(), LAST_WORDS_MS);
    askPart(this.#runFolder, "gateway", { method: "POST", path: "/capture/end" }).catch(() => {
      this.#leave();
    });
  }

  /** A reader that neither reads nor goes away would hold the process for ever. */
  #leave(): void {
    this.#gone.abort();
    setTimeout(() => process.exit(EXIT_OK), LAST_READING_MS).unref();
  }

  close(): void {
    clearTimeout(this.#timer);
    process.off("SIGINT", this.#onSignal);
    process.off("SIGTERM", this.#onSignal);
  }
}

function describeLimits({ question }: CaptureWish): string {
  const { durationMs, bytes, count } = question;
  const limits = `at most ${durationMs / 1000} s, ${bytes / 1e6} MB, ${count} packets`;
  return `Capturing: ${limits}; Ctrl-C ends it`;
}

async function printLines(
  lines: AsyncIterable<string>,
  isJson: boolean,
  ending: Ending,
): Promise<number> {
  const writer = lineWriter();
  for await (const text of lines) {
    const line = JSON.parse(text) as CaptureLine | MessageLine | CaptureLast;
    if ("end" in line) {
      process.stderr.write(`${describeEnd(line)}\n`);
      return EXIT_OK;
    }
    const shown = line.side === "mapper" ? messageText(line) : captureText(line);
    const isRead = await writer.write(`${isJson ? printableJson(text) : shown}\n`);
    if (!isRead && !ending.isAsked) ending.ask();
  }
  process.stderr.write("The capture broke off: the gateway has ended\n");
  return EXIT_UNAVAILABLE;
}

const REASONS = {
  count: "that many were wanted",
  size: "the size was reached",
  duration: "the time was over",
  stopped: "it was ended",
} as const;

function describeEnd({ end }: CaptureLast): string {
  return `${end.packets} packets captured, ${end.lost} lost; ${REASONS[end.reason]}`;
}
