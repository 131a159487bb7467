/**
 * The log of `ipref up`: its own lines and those of its parts, in one form. On a terminal the lines
 * of the parts are shown as the parts write them; for programs and the journal the parts write
 * JSON, which is read here and written again with the name of the part.
 */

import type { EventId } from "../base/event.js";
import { printable } from "../base/printable.js";
import {
  formatRecord,
  LEVEL_NAMES,
  type LevelName,
  type LogFormat,
  type LogLevel,
  parseJsonLine,
} from "../control/log-format.js";
import { LogLimiter } from "../control/log-limiter.js";
import type { LogCounts } from "../control/metrics/process.js";

/** Width of the part's name in front of its lines. */
const NAME_WIDTH = 8;
/** Name of the supervisor in front of its own lines, and for programs. */
const OWN_NAME = "ipref";
const OWN_PART = "up";
/** Longer lines are cut. */
const LINE_CHARS_MAX = 16_384;
const REPORT_MS = 1000;

/** Where lines go. */
export interface UpLogOptions {
  readonly format: LogFormat;
  readonly write: (line: string) => void;
  readonly nowMs: () => number;
}

/** One log. Main thread. */
export class UpLog {
  readonly #options: UpLogOptions;
  readonly #limiter: LogLimiter;
  readonly #lines: Partial<Record<LevelName, number>> = {};
  #report: NodeJS.Timeout | undefined;

  constructor(options: UpLogOptions) {
    this.#options = options;
    this.#limiter = new LogLimiter((event, count) => {
      this.#write("W", OWN_NAME, event, `${count} more suppressed: ${event}`);
    });
  }

  /** Flags that make a part write what this log can read. */
  get partFlags(): readonly string[] {
    return ["-log-format", this.#options.format === "text" ? "text" : "json"];
  }

  /** True for a person at a terminal. */
  get isText(): boolean {
    return this.#options.format === "text";
  }

  /** True when the journal takes the lines. */
  get isJournal(): boolean {
    return this.#options.format === "journal";
  }

  /** A line of the supervisor. */
  say(text: string, event: EventId, level: LogLevel = "I"): void {
    this.#limited(level, OWN_NAME, event, text);
  }

  /** A line that a part has written. */
  part(name: string, line: string): void {
    const cut = line.slice(0, LINE_CHARS_MAX);
    if (this.#options.format === "text") {
      // The part has limited its log; what it writes beside it is limited here.
      const isLog = /^(\[[A-Z]+\]|[A-Z]|[0-9:.]+ [A-Z]) /.test(cut);
      if (!isLog && !this.#admit("part-output")) return;
      this.#options.write(`${name.padEnd(NAME_WIDTH)} | ${printable(cut)}\n`);
      return;
    }
    const record = parseJsonLine(cut);
    if (record === undefined) this.#limited("W", name, "part-output", cut);
    else this.#write(record.level, name, record.event, record.text);
  }

  /** Lines of the supervisor itself since the start, for metrics. */
  counts(): LogCounts {
    return { lines: { ...this.#lines }, suppressed: this.#limiter.suppressed };
  }

  /** Says what is unsaid. */
  end(): void {
    clearTimeout(this.#report);
    this.#limiter.flush(this.#options.nowMs(), true);
  }

  #limited(level: LogLevel, part: string, event: EventId, text: string): void {
    if (!this.#admit(event)) return;
    if (part === OWN_NAME) {
      const name = LEVEL_NAMES[level];
      this.#lines[name] = (this.#lines[name] ?? 0) + 1;
    }
    this.#write(level, part, event, text);
  }

  #admit(event: EventId): boolean {
    if (this.#limiter.admit(event, this.#options.nowMs())) return true;
    this.#report ??= setTimeout(() => {
      this.#report = undefined;
      this.#limiter.flush(this.#options.nowMs(), false);
    }, REPORT_MS).unref();
    return false;
  }

  #write(level: LogLevel, part: string, event: EventId, text: string): void {
    const { format, nowMs, write } = this.#options;
    if (format === "text") write(`${part.padEnd(NAME_WIDTH)} | ${printable(text)}\n`);
    else {
      const from = part === OWN_NAME ? OWN_PART : part;
      write(formatRecord(format, { level, event, text, part: from, timeMs: nowMs() }));
    }
  }
}
