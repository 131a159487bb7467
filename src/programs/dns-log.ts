/**
 * The log of `ipref-coredns` (spec/resolver.md 2.1): standard output, no time stamps,
 * `[LEVEL] plugin/NAME: text`. Lines of one turn of the event loop leave with one write. When the
 * reader of a pipe is too slow, lines are lost and counted instead of held without bound. Events
 * that repeat are limited, but for the query log that was asked for.
 */

import { writeSync } from "node:fs";
import type { EventId } from "../base/event.js";
import { printable } from "../base/printable.js";
import {
  formatRecord,
  LEVEL_NAMES,
  type LogFormat,
  type LogLevel as RecordLevel,
} from "../control/log-format.js";
import { LogLimiter } from "../control/log-limiter.js";
import type { LogCounts } from "../control/metrics/process.js";
import type { Log, LogLevel } from "../dns/ports.js";

/** Lines are dropped while this much waits. */
const BACKLOG_CHARS_MAX = 4 << 20;
const RETRY_MS = 50;
/** Held back lines are reported after this time at the latest. */
const REPORT_MS = 1000;

const LEVELS = { DEBUG: "D", INFO: "I", WARNING: "W", ERROR: "E" } as const satisfies Readonly<
  Record<LogLevel, RecordLevel>
>;

/** Events of lines that name only their plugin. */
const PLUGIN_EVENTS: Readonly<Record<string, EventId>> = {
  auto: "dns-zone",
  errors: "dns-error",
  file: "dns-zone",
  hosts: "dns-hosts",
  ipref: "dns-ipref",
  loop: "dns-loop",
  transfer: "dns-transfer",
};

/** Writes lines to a descriptor. */
export class ProgramLog implements Log {
  isDebug = false;
  readonly #fd: number;
  readonly #format: LogFormat;
  readonly #limiter: LogLimiter;
  readonly #counts = { debug: 0, info: 0, warning: 0, error: 0 };
  #report: NodeJS.Timeout | undefined;
  #waiting: string[] = [];
  #waitingChars = 0;
  #rest: Uint8Array | undefined;
  #lost = 0;
  #isScheduled = false;

  constructor(fd: number, format: LogFormat = "text") {
    this.#fd = fd;
    this.#format = format;
    this.#limiter = new LogLimiter((event, count) => {
      this.#write("WARNING", undefined, `${count} more suppressed: ${event}`, event);
    });
  }

  write(level: LogLevel, plugin: string | undefined, text: string, named?: EventId): void {
    if (level === "DEBUG" && !this.isDebug) return;
    const ofPlugin = plugin === undefined ? "other" : (PLUGIN_EVENTS[plugin] ?? "dns-plugin");
    const event = named ?? ofPlugin;
    if (this.#limiter.admit(event, Date.now())) this.#write(level, plugin, text, event);
    else this.#report ??= setTimeout(() => this.#reportSuppressed(), REPORT_MS).unref();
  }

  /** Lines since the start, for metrics. */
  counts(): LogCounts {
    return { lines: { ...this.#counts }, suppressed: this.#limiter.suppressed };
  }

  #reportSuppressed(isLast = false): void {
    clearTimeout(this.#report);
    this.#report = undefined;
    this.#limiter.flush(Date.now(), isLast);
  }

  #write(level: LogLevel, plugin: string | undefined, text: string, event: EventId): void {
    const short = LEVELS[level];
    this.#counts[LEVEL_NAMES[short]]++;
    const prefix = plugin === undefined ? "" : `plugin/${plugin}: `;
    if (this.#format === "text") this.#line(`[${level}] ${prefix}${printableLines(text)}\n`);
    else {
      const record = { level: short, event, text: `${prefix}${text}`, timeMs: Date.now() };
      this.#line(formatRecord(this.#format, record));
    }
  }

  #line(text: string): void {
    if (this.#waitingChars > BACKLOG_CHARS_MAX) {
      this.#lost++;
      return;
    }
    this.#waiting.push(text);
    this.#waitingChars += text.length;
    this.#schedule(0);
  }

  #schedule(delayMs: number): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    const work = (): void => {
      this.#isScheduled = false;
      this.flush();
    };
    if (delayMs === 0) setImmediate(work);
    else setTimeout(work, delayMs).unref();
  }

  /** Says what is unsaid, and writes it. */
  end(): void {
    this.#reportSuppressed(true);
    this.flush();
  }

  /** Writes what waits, as far as the descriptor takes it. */
  flush(): void {
    if (this.#rest === undefined && this.#waiting.length === 0) return;
    const bytes = this.#rest ?? Buffer.from(this.#waiting.join(""), "utf8");
    if (this.#rest === undefined) {
      this.#waiting = [];
      this.#waitingChars = 0;
    }
    const written = this.#tryWrite(bytes);
    this.#rest = written < bytes.length ? bytes.subarray(written) : undefined;
    if (this.#rest !== undefined) {
      this.#schedule(RETRY_MS);
      return;
    }
    if (this.#lost > 0) {
      const lost = this.#lost;
      this.#lost = 0;
      const text = `${lost} log lines were lost because nobody read them in time`;
      this.#write("WARNING", undefined, text, "other");
    }
    if (this.#waiting.length > 0) this.#schedule(0);
  }

  #tryWrite(bytes: Uint8Array): number {
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(this.#fd, bytes, written);
    } catch (error) {
      // A full pipe is tried again; into a closed one (EPIPE) nothing can be written any more.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return bytes.length;
    }
    return written;
  }
}

/** A stack trace keeps its lines. */
function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}
