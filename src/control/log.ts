/**
 * The log (spec/mapper.md 7.4): one line per message on standard error. Each message belongs to an
 * event (base/event.ts) by whose name it is limited and found.
 */

import type { EventId } from "../base/event.js";
import { printable } from "../base/printable.js";
import { formatRecord, LEVEL_NAMES, type LogFormat, type LogLevel } from "./log-format.js";
import { LogLimiter } from "./log-limiter.js";
import type { LogCounts } from "./metrics/process.js";

export type { LogLevel } from "./log-format.js";

export interface LogOptions {
  /** Takes one line with its line end. */
  readonly write: (line: string) => void;
  /** Wall clock in milliseconds, with fractions when it has them. */
  readonly nowMs: () => number;
  /** Absent: text. */
  readonly format?: LogFormat;
  readonly debugModules?: readonly string[];
  readonly isTraced?: boolean;
  readonly hasTicks?: boolean;
  readonly hasTimeStamps?: boolean;
}

export class Log {
  readonly #options: LogOptions;
  readonly #modules: ReadonlySet<string>;
  readonly #limiter: LogLimiter;
  readonly #lines = Object.fromEntries(
    Object.values(LEVEL_NAMES).map((name) => [name, 0]),
  ) as Record<(typeof LEVEL_NAMES)[LogLevel], number>;

  constructor(options: LogOptions) {
    this.#options = options;
    this.#modules = new Set(options.debugModules ?? []);
    this.#limiter = new LogLimiter((event, count) => {
      this.#line("W", event, `${count} more suppressed: ${event}`);
    });
  }

  info(text: string, event: EventId): void {
    this.#limited("I", event, text);
  }

  warning(text: string, event: EventId): void {
    this.#limited("W", event, text);
  }

  error(text: string, event: EventId): void {
    this.#limited("E", event, text);
  }

  /** The reason why the program ends; never held back. The caller ends it. */
  fatal(text: string, event: EventId = "fatal"): void {
    this.#line("F", event, text);
  }

  /** A debug line that has no level letter in text (spec/dns-agent.md 1). */
  plainDebug(text: string): void {
    const { format = "text", nowMs, write } = this.#options;
    this.#lines.debug++;
    if (format === "text") write(`${printable(text)}\n`);
    else write(formatRecord(format, { level: "D", event: "other", text, timeMs: nowMs() }));
  }

  /** True when debug lines of this module are shown. */
  isDebugged(module: string): boolean {
    return this.#modules.has("all") || this.#modules.has(module);
  }

  /** A debug line `D file(line): text`, when `module` is named in -debug. */
  debug(module: string, text: string): void {
    if (this.isDebugged(module)) this.#line("D", "other", `${callerPlace()}: ${text}`);
  }

  /** A debug line about a tick, which -ticks asks for in addition. */
  tick(module: string, text: string): void {
    if (this.#options.hasTicks === true) this.debug(module, text);
  }

  get isTraced(): boolean {
    return this.#options.isTraced === true;
  }

  trace(text: string): void {
    if (this.isTraced) this.#line("T", "other", text);
  }

  /** Reports what was suppressed in windows that have ended; call about once a second. */
  flush(isLast = false): void {
    this.#limiter.flush(this.#options.nowMs(), isLast);
  }

  /** Lines since the start, for metrics. */
  counts(): LogCounts {
    const { trace, ...lines } = this.#lines;
    const debug = lines.debug + trace;
    return { lines: { ...lines, debug }, suppressed: this.#limiter.suppressed };
  }

  #limited(level: LogLevel, event: EventId, text: string): void {
    if (this.#limiter.admit(event, this.#options.nowMs())) this.#line(level, event, text);
  }

  #line(level: LogLevel, event: EventId, text: string): void {
    const { format = "text", nowMs, hasTimeStamps, write } = this.#options;
    const timeMs = nowMs();
    const stamp = hasTimeStamps === true ? `${timeStamp(timeMs)} ` : "";
    this.#lines[LEVEL_NAMES[level]]++;
    write(formatRecord(format, { level, event, text, timeMs }, stamp));
  }
}

/** Local time HH:MM:SS.microseconds, without a date. */
function timeStamp(nowMs: number): string {
  const date = new Date(nowMs);
  const two = (value: number) => value.toString().padStart(2, "0");
  const micros = Math.floor((((nowMs % 1000) + 1000) % 1000) * 1000);
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${clock}.${micros.toString().padStart(6, "0")}`;
}

/** File and line of the code that wrote a debug line. */
function callerPlace(): string {
  const frames = (new Error().stack ?? "").split("\n").slice(1);
  const own = frames.find((frame) => !/[/\\]log\.[jt]s:/.test(frame)) ?? "";
  const match = /([^/\\]+\.[cm]?[jt]s):([0-9]+):[0-9]+\)?$/.exec(own);
  return match === null ? "?" : `${match[1]}(${match[2]})`;
}
