/** The options of `ipref capture` as a question to the gateway. */

import { describeFault, parseFilter } from "../../capture/filter-parser.js";
import {
  CAPTURE_BOUNDS,
  CAPTURE_DEFAULTS,
  type CaptureQuestion,
} from "../../control/inspection/capture-question.js";

/** What the command line asks for. */
export interface CaptureWish {
  readonly question: Required<CaptureQuestion>;
  /** File to write, `-` for standard output; undefined: lines of text. */
  readonly file: string | undefined;
  readonly isJson: boolean;
}

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};
const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1000,
  MB: 1_000_000,
  GB: 1_000_000_000,
};

type Values = Readonly<Record<string, unknown>>;

/** Reads options and filter words; a text for people when they cannot be used. */
export function readWish(options: Values, words: readonly string[]): CaptureWish | string {
  const filter = readFilter(words.join(" "), textOf(options, "side") ?? "both");
  if ("fault" in filter) return filter.fault;
  const file = textOf(options, "write");
  const isJson = options.json === true;
  if (file !== undefined && isJson) return "--json and --write exclude each other";
  const limits = readLimits(options);
  if (typeof limits === "string") return limits;
  const format = file === undefined ? "lines" : "pcapng";
  const mapper = options.mapper === true;
  return { question: { filter: filter.text, format, mapper, ...limits }, file, isJson };
}

function textOf(options: Values, name: string): string | undefined {
  const value = options[name];
  return typeof value === "string" ? value : undefined;
}

/** The filter is checked here too: the gateway need not run for a mistake to be found. */
function readFilter(text: string, side: string): { text: string } | { fault: string } {
  const parsed = parseFilter(text);
  if (!parsed.ok) return { fault: describeFault(text, parsed.fault) };
  if (side === "both") return { text };
  return { text: parsed.filter.kind === "all" ? `side ${side}` : `(${text}) and side ${side}` };
}

type Limits = Omit<Required<CaptureQuestion>, "filter" | "format" | "mapper">;

function readLimits(options: Values): Limits | string {
  const { snaplen, count, durationMs, bytes } = CAPTURE_DEFAULTS;
  const read = {
    snaplen: readNumber(textOf(options, "snaplen"), snaplen, { "": 1 }),
    count: readNumber(textOf(options, "count"), count, { "": 1 }),
    durationMs: readNumber(textOf(options, "duration"), durationMs, DURATION_UNITS),
    bytes: readNumber(textOf(options, "maxSize"), bytes, SIZE_UNITS),
  };
  for (const [name, value] of Object.entries(read)) {
    const { option, wanted } = LIMIT_TEXTS[name as keyof Limits];
    const [least, most] = CAPTURE_BOUNDS[name as keyof Limits];
    const found = textOf(options, option) ?? "";
    if (value !== undefined && value >= least && value <= most) continue;
    return `Cannot use --${dashed(option)} ${found}: expected ${wanted}`;
  }
  return read as Limits;
}

const LIMIT_TEXTS: Readonly<Record<keyof Limits, { option: string; wanted: string }>> = {
  snaplen: { option: "snaplen", wanted: "a number of octets from 64 to 65535" },
  count: { option: "count", wanted: "a number of packets from 1 to 1000000000" },
  durationMs: { option: "duration", wanted: "a time up to a day, such as 30s, 5m or 1h" },
  bytes: { option: "maxSize", wanted: "a size from 4096B to 1000GB, such as 10MB" },
};

function dashed(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** A number with one of the units; undefined when it is none. */
function readNumber(
  text: string | undefined,
  fallback: number,
  units: Readonly<Record<string, number>>,
): number | undefined {
  if (text === undefined) return fallback;
  const match = /^([0-9]{1,15}(?:\.[0-9]{1,3})?)([a-zA-Z]*)$/.exec(text);
  const unit = match === null || !Object.hasOwn(units, match[2]!) ? undefined : units[match[2]!];
  if (match === null || unit === undefined) return undefined;
  const value = Number(match[1]) * unit;
  return Number.isInteger(value) ? value : undefined;
}
