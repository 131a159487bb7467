/**
 * The log (spec/mapper.md 7.4): one line per message on standard error, a level letter and the
 * text. No kind of message fills the disk: beyond ten lines a second of one kind the rest is
 * counted and reported as a number (spec/tunnel.md S17).
 */

import { LruMap } from "../base/limits.js";

/** T trace, D debug, I info, W warning, E error, F fatal. */
export type LogLevel = "T" | "D" | "I" | "W" | "E" | "F";

/** spec/tunnel.md S17. */
export const LINES_PER_SECOND_MAX = 10;
/** Kinds of message remembered at once; a kind that is pushed out starts afresh. */
const KINDS_MAX = 256;
const WINDOW_MS = 1000;

export interface LogOptions {
  /** Takes one line with its line end. */
  readonly write: (line: string) => void;
  /** Wall clock in milliseconds, with fractions when it has them. */
  readonly nowMs: () => number;
  readonly debugModules?: readonly string[];
  readonly isTraced?: boolean;
  readonly hasTicks?: boolean;
  readonly hasTimeStamps?: boolean;
}

interface Window {
  startMs: number;
  lines: number;
  suppressed: number;
  level: LogLevel;
}

export class Log {
  readonly #options: LogOptions;
  readonly #modules: ReadonlySet<string>;
  readonly #windows = new LruMap<string, Window>(KINDS_MAX);

  constructor(options: LogOptions) {
    this.#options = options;
    this.#modules = new Set(options.debugModules ?? []);
  }

  info(text: string): void {
    this.#limited("I", text);
  }

  warning(text: string): void {
    this.#limited("W", text);
  }

  error(text: string): void {
    this.#limited("E", text);
  }

  /** The reason why the program ends; never held back. The caller ends it. */
  fatal(text: string): void {
    this.#line("F", text);
  }

  /** True when debug lines of this module are shown. */
  isDebugged(module: string): boolean {
    return this.#modules.has("all") || this.#modules.has(module);
  }

  /** A debug line `D file(line): text`, when `module` is named in -debug. */
  debug(module: string, text: string): void {
    if (this.isDebugged(module)) this.#line("D", `${callerPlace()}: ${text}`);
  }

  /** A debug line about a tick, which -ticks asks for in addition. */
  tick(module: string, text: string): void {
    if (this.#options.hasTicks === true) this.debug(module, text);
  }

  get isTraced(): boolean {
    return this.#options.isTraced === true;
  }

  trace(text: string): void {
    if (this.isTraced) this.#line("T", text);
  }

  /** Reports what was suppressed in windows that have ended; call about once a second. */
  flush(isLast = false): void {
    const nowMs = this.#options.nowMs();
    for (const [kind, window] of [...this.#windows.entries()]) {
      if (!isLast && nowMs - window.startMs < WINDOW_MS) continue;
      this.#reportSuppressed(kind, window);
      this.#windows.delete(kind);
    }
  }

  #limited(level: LogLevel, text: string): void {
    const kind = kindOf(level, text);
    const nowMs = this.#options.nowMs();
    let window = this.#windows.get(kind);
    if (window === undefined || nowMs - window.startMs >= WINDOW_MS || nowMs < window.startMs) {
      if (window !== undefined) this.#reportSuppressed(kind, window);
      window = { startMs: nowMs, lines: 0, suppressed: 0, level };
      const evicted = this.#windows.set(kind, window);
      if (evicted !== undefined) this.#reportSuppressed(evicted[0], evicted[1]);
    }
    if (window.lines >= LINES_PER_SECOND_MAX) window.suppressed++;
    else {
      window.lines++;
      this.#line(level, text);
    }
  }

  #reportSuppressed(kind: string, window: Window): void {
    if (window.suppressed === 0) return;
    this.#line(window.level, `${window.suppressed} more suppressed: ${kind.slice(2)}`);
    window.suppressed = 0;
  }

  #line(level: LogLevel, text: string): void {
    const stamp = this.#options.hasTimeStamps ? `${timeStamp(this.#options.nowMs())} ` : "";
    const oneLine = text.replace(/[\r\n]+/g, " ");
    this.#options.write(`${stamp}${level} ${oneLine}\n`);
  }
}

/** Messages that differ only behind their first digit or quotation mark are of one kind. */
function kindOf(level: LogLevel, text: string): string {
  const end = text.search(/[0-9"]/);
  return `${level} ${(end < 8 ? text.slice(0, 24) : text.slice(0, end)).trimEnd()}`;
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
