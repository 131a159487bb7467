/**
 * One program that `ipref up` keeps running: started, watched, restarted with back-off, ended. Each
 * leads a process group of its own, so that Ctrl-C at the terminal reaches the supervisor alone.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { parseJsonLine } from "../control/log-format.js";
import { readLines } from "./line-reader.js";

/** Longer lines of a part are cut; the log cuts them at the same length. */
const LINE_CHARACTERS_MAX = 16_384;
/** setpriv(1) of util-linux: the program gets SIGTERM when the supervisor is ended by force. */
const SETPRIV = "/usr/bin/setpriv";
const ENDS_WITH_PARENT = [SETPRIV, "--pdeathsig", "TERM"];
/** Pause before the first restart; it doubles with each failure. */
const BACK_OFF_FIRST_MS = 250;
const BACK_OFF_MAX_MS = 30_000;
/** A program that ran this long starts with the first pause again. */
const STABLE_MS = 60_000;
/** Time between SIGTERM and SIGKILL; the gateway closes its store within 8 s. */
const STOP_TIME_MAX_MS = 9_000;
const READY_TIMEOUT_MS = 20_000;
const RELOAD_TIMEOUT_MS = 10_000;
const PROBE_STEP_MS = 10;

/** How a program is started and known to be ready. */
export interface PartOptions {
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  /** Flags in front of them, about the log. */
  readonly logFlags?: readonly string[];
  /** Asked until it is true, with all lines so far of the present process. */
  readonly isReady: (hasLine: (text: string) => boolean) => boolean;
  /** Takes one line of the program's output. */
  readonly onLine: (name: string, line: string) => void;
  /** Takes what happens to the program. */
  readonly onEvent: (text: string) => void;
  /** The set of running processes has changed. */
  readonly onProcesses: () => void;
}

/** How a program ended before it was ready. */
export class PartFailed extends Error {
  override readonly name = "PartFailed";
  readonly exitStatus: number;

  constructor(part: string, exitStatus: number, reason: string) {
    super(`the ${part} ${reason}`);
    this.exitStatus = exitStatus;
  }
}

/** A supervised program. */
export class Part {
  readonly name: string;
  readonly #options: PartOptions;
  #args: readonly string[];
  #child: ChildProcess | undefined;
  #isStopping = false;
  #isKept = false;
  #startedMs = 0;
  #failures = 0;
  #restarts = 0;
  #restart: NodeJS.Timeout | undefined;
  #marks = new Set<string>();

  constructor(options: PartOptions) {
    this.name = options.name;
    this.#options = options;
    this.#args = options.args;
  }

  /** Process id while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** How often it was started again after it had ended by itself. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Starts it and waits until it is ready; throws PartFailed when it ends before. */
  async start(): Promise<void> {
    this.#isStopping = false;
    this.#isKept = false;
    const child = this.#spawn();
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (!this.#isReady()) {
      if (child.exitCode !== null || child.signalCode !== null) {
        const how = child.exitCode === null ? `by ${child.signalCode}` : `with ${child.exitCode}`;
        throw new PartFailed(this.name, child.exitCode ?? 1, `ended ${how}`);
      }
      if (Date.now() > deadline) throw new PartFailed(this.name, 1, "does not become ready");
      await new Promise((resolve) => setTimeout(resolve, PROBE_STEP_MS));
    }
    this.#isKept = true;
  }

  /** Uses other arguments from the next start on. */
  setArguments(args: readonly string[]): void {
    this.#args = args;
  }

  /** Sends a signal when it runs. */
  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Sends SIGHUP and waits for the words that begin the line which says that it is done. */
  async reload(words: string): Promise<boolean> {
    this.#marks.delete(words);
    this.signal("SIGHUP");
    const deadline = Date.now() + RELOAD_TIMEOUT_MS;
    while (!this.#marks.has(words)) {
      if (Date.now() > deadline || this.#child === undefined) return false;
      await new Promise((resolve) => setTimeout(resolve, PROBE_STEP_MS));
    }
    return true;
  }

  /** Ends it, by SIGKILL when SIGTERM does not within the time allowed. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#restart);
    const child = this.#child;
    if (child === undefined) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIME_MAX_MS);
    await ended;
    clearTimeout(timer);
  }

  /** Ends it at once. */
  kill(): void {
    this.#isStopping = true;
    this.#child?.kill("SIGKILL");
  }

  #isReady(): boolean {
    return this.#options.isReady((text) => this.#marks.has(text));
  }

  #spawn(): ChildProcess {
    const { file, name, onLine, onProcesses, logFlags = [] } = this.#options;
    this.#marks = new Set();
    this.#startedMs = Date.now();
    const args = [process.execPath, "--enable-source-maps", file, ...logFlags, ...this.#args];
    const [program = "", ...words] = existsSync(SETPRIV) ? [...ENDS_WITH_PARENT, ...args] : args;
    const child = spawn(program, words, {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      readLines(stream!, LINE_CHARACTERS_MAX, (line) => {
        this.#mark(line);
        onLine(name, line);
      });
    }
    child.once("exit", (code, signal) => this.#onExit(code, signal));
    onProcesses();
    return child;
  }

  /** Remembers the first words of a line without its level, for `isReady`. */
  #mark(line: string): void {
    const plain = parseJsonLine(line)?.text ?? line.replace(/^(\[[A-Z]+\]|[A-Z]) /, "");
    this.#marks.add(plain.split(" ").slice(0, 2).join(" "));
    if (this.#marks.size > 100) this.#marks = new Set();
  }

  #onExit(code: number | null, signal: NodeJS.Signals | null): void {
    this.#child = undefined;
    this.#options.onProcesses();
    if (this.#isStopping || !this.#isKept) return;
    if (Date.now() - this.#startedMs > STABLE_MS) this.#failures = 0;
    const pauseMs = Math.min(BACK_OFF_MAX_MS, BACK_OFF_FIRST_MS * 2 ** this.#failures++);
    const how = signal === null ? `with exit status ${code}` : `by ${signal}`;
    this.#options.onEvent(
      `The ${this.name} ended ${how}; it starts again in ${pauseMs / 1000} seconds`,
    );
    this.#restart = setTimeout(() => {
      this.#restarts++;
      this.#spawn();
    }, pauseMs);
  }
}
