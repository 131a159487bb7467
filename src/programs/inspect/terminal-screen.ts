/**
 * The whole terminal as a screen (ECMA-48; the private modes are those of xterm, which Linux
 * terminals share): alternate screen, no cursor, keys one by one. Whatever happens, the terminal
 * gets back what it had.
 */

import type { FrameLine, FrameSize, LineStyle } from "./top-frame.js";

const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const ERASE_LINE = "\u001b[K";
const ERASE_BELOW = "\u001b[J";
const RESET = "\u001b[0m";
const STYLES: Readonly<Record<LineStyle, string>> = {
  plain: "",
  title: "\u001b[1m",
  heading: "\u001b[7m",
  alert: "\u001b[33m",
  faint: "\u001b[2m",
};
const CTRL_C = "\u0003";
/** Size of a terminal that does not tell its own. */
const SIZE_DEFAULT: FrameSize = { columns: 80, rows: 24 };

/** True when colours may be used (no-color.org). */
export function hasColours(environment: NodeJS.ProcessEnv, stream: NodeJS.WriteStream): boolean {
  const { NO_COLOR, TERM } = environment;
  if (NO_COLOR !== undefined && NO_COLOR !== "") return false;
  return stream.isTTY === true && TERM !== "dumb";
}

/** Size of the terminal, at least one line and column. */
function terminalSize(stream: NodeJS.WriteStream): FrameSize {
  const { columns, rows } = stream;
  return {
    columns: columns > 0 ? columns : SIZE_DEFAULT.columns,
    rows: rows > 0 ? rows : SIZE_DEFAULT.rows,
  };
}

/** Lines as text, with line ends between them. */
export function paint(lines: readonly FrameLine[], isColoured: boolean, lineEnd: string): string {
  return lines
    .map(({ text, style }) => {
      const start = isColoured ? STYLES[style] : "";
      return start === "" ? text : `${start}${text}${RESET}`;
    })
    .join(lineEnd);
}

/** What a screen tells. */
export interface ScreenEvents {
  /** q, Ctrl-C, or a signal: the end is wanted. */
  onQuit(): void;
  onResize(): void;
}

/** An open screen. */
export class TerminalScreen {
  readonly #input: NodeJS.ReadStream;
  readonly #output: NodeJS.WriteStream;
  readonly #events: ScreenEvents;
  readonly #isColoured: boolean;
  #isOpen = false;
  readonly #onKey = (keys: Buffer | string): void => {
    if (/[qQ]/.test(String(keys)) || String(keys).includes(CTRL_C)) this.#events.onQuit();
  };
  readonly #onSignal = (): void => this.#events.onQuit();
  readonly #onResize = (): void => this.#events.onResize();
  readonly #onExit = (): void => this.close();

  constructor(events: ScreenEvents, input = process.stdin, output = process.stdout) {
    this.#events = events;
    this.#input = input;
    this.#output = output;
    this.#isColoured = hasColours(process.env, output);
  }

  get size(): FrameSize {
    return terminalSize(this.#output);
  }

  open(): void {
    this.#isOpen = true;
    process.on("exit", this.#onExit);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, this.#onSignal);
    }
    this.#output.on("resize", this.#onResize);
    this.#output.write(ENTER);
    if (this.#input.isTTY !== true) return;
    this.#input.setRawMode(true);
    this.#input.on("data", this.#onKey);
    this.#input.resume();
  }

  draw(lines: readonly FrameLine[]): void {
    if (!this.#isOpen) return;
    const text = paint(lines, this.#isColoured, `${ERASE_LINE}\r\n`);
    this.#output.write(`${HOME}${text}${ERASE_LINE}${ERASE_BELOW}`);
  }

  /** Puts everything back. May be called again. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    process.off("exit", this.#onExit);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.off(signal, this.#onSignal);
    }
    this.#output.off("resize", this.#onResize);
    this.#output.write(LEAVE);
    if (this.#input.isTTY !== true) return;
    this.#input.off("data", this.#onKey);
    this.#input.setRawMode(false);
    this.#input.pause();
  }
}
