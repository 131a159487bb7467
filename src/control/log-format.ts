/**
 * The forms of a log line. Text is what the programs have always written (spec/mapper.md 7.4); the
 * journal's form begins with a priority (sd-daemon(3)); JSON is for programs. Whatever a line says,
 * it stays one line, and what came from others moves no cursor.
 */

import { type EventId, eventOf } from "../base/event.js";
import { printable } from "../base/printable.js";

/** T trace, D debug, I info, W warning, E error, F fatal. */
export type LogLevel = "T" | "D" | "I" | "W" | "E" | "F";

/** Names of the levels, in JSON and in metrics. */
export const LEVEL_NAMES = {
  T: "trace",
  D: "debug",
  I: "info",
  W: "warning",
  E: "error",
  F: "fatal",
} as const satisfies Readonly<Record<LogLevel, string>>;

/** A level in full. */
export type LevelName = (typeof LEVEL_NAMES)[LogLevel];

/** syslog(3). */
const PRIORITIES: Readonly<Record<LogLevel, number>> = { T: 7, D: 7, I: 6, W: 4, E: 3, F: 2 };

/** Values of -log-format. */
export const LOG_FORMATS = ["auto", "text", "json", "journal"] as const;
export type LogFormatChoice = (typeof LOG_FORMATS)[number];

/** The form of the lines; `auto` has been decided. */
export type LogFormat = Exclude<LogFormatChoice, "auto">;

/** One line before it is written. */
export interface LogRecord {
  readonly level: LogLevel;
  readonly event: EventId;
  readonly text: string;
  /** Program that says it. */
  readonly part?: string;
  /** Wall clock in milliseconds. */
  readonly timeMs: number;
}

/** The line, with its line end. `stamp` goes in front of a line of text. */
export function formatRecord(format: LogFormat, record: LogRecord, stamp = ""): string {
  const { level, event, part } = record;
  const text = printable(record.text.replace(/[\r\n]+/g, " "));
  if (format === "text") return `${stamp}${level} ${text}\n`;
  if (format === "json") return jsonLine(record);
  const from = part === undefined ? "" : `${part}: `;
  return `<${PRIORITIES[level]}>${from}${event}: ${text}\n`;
}

/** JSON keeps the line ends of a text, escaped. */
function jsonLine({ level, event, part, text, timeMs }: LogRecord): string {
  const time = new Date(timeMs).toISOString();
  const from = part === undefined ? {} : { part };
  const line = { time, ...from, level: LEVEL_NAMES[level], event, text };
  // JSON.stringify leaves C1 controls and marks of direction as they are.
  return `${JSON.stringify(line).replace(NOT_ESCAPED, escapeUnit)}\n`;
}

const NOT_ESCAPED = /[\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

function escapeUnit(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** Reads a line of JSON as the programs write it; undefined when it is another line. */
export function parseJsonLine(line: string): Omit<LogRecord, "timeMs"> | undefined {
  if (!line.startsWith('{"time":')) return undefined;
  let value: Readonly<Record<string, unknown>>;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  const { level: name, event, text } = value;
  const level = (Object.keys(LEVEL_NAMES) as LogLevel[]).find((key) => LEVEL_NAMES[key] === name);
  if (level === undefined || typeof text !== "string" || typeof event !== "string") {
    return undefined;
  }
  return { level, event: eventOf(event), text };
}
