/**
 * The log of `ipref-coredns` (spec/resolver.md 2.1): standard output, no time stamps,
 * `[LEVEL] plugin/NAME: text`. Lines of one turn of the event loop leave with one write. When the
 * reader of a pipe is too slow, lines are lost and counted instead of held without bound.
 */

import { writeSync } from "node:fs";
import type { Log, LogLevel } from "../dns/ports.js";

/** Lines are dropped while this much waits. */
const BACKLOG_CHARS_MAX = 4 << 20;
const RETRY_MS = 50;

/** Writes lines to a descriptor. */
export class ProgramLog implements Log {
  isDebug = false;
  readonly #fd: number;
  #waiting: string[] = [];
  #waitingChars = 0;
  #rest: Uint8Array | undefined;
  #lost = 0;
  #isScheduled = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(level: LogLevel, plugin: string | undefined, text: string): void {
    if (level === "DEBUG" && !this.isDebug) return;
    const prefix = plugin === undefined ? "" : `plugin/${plugin}: `;
    this.line(`[${level}] ${prefix}${text}`);
  }

  /** A line without level. */
  line(text: string): void {
    if (this.#waitingChars > BACKLOG_CHARS_MAX) {
      this.#lost++;
      return;
    }
    this.#waiting.push(text, "\n");
    this.#waitingChars += text.length + 1;
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
      this.line(`[WARNING] ${lost} log lines were lost because nobody read them in time`);
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
