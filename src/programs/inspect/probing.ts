/** What commands that probe the way to a host have in common: their ends, complaints and output. */

import { printable, printableJson } from "../../base/printable.js";
import { Reactor } from "../../platform/reactor.js";
import { SystemCallError } from "../../platform/system-error.js";
import { EXIT_USAGE } from "../exit-status.js";
import { complainUnavailable } from "./ask.js";
import { BadNumber } from "./number-option.js";
import { type LineWriter, lineWriter } from "./output.js";
import { TargetUnknown } from "./target.js";
import { Way } from "./way.js";

/** Runs a command's work with a way to hosts; resolves to the exit status. */
export async function withWay(
  options: Readonly<Record<string, unknown>>,
  work: (reactor: Reactor, way: Way) => Promise<number>,
): Promise<number> {
  const reactor = new Reactor();
  const way = new Way(reactor, String(options.run));
  try {
    return await work(reactor, way);
  } catch (error) {
    return complain(error);
  } finally {
    way.close();
    reactor.close();
  }
}

/** Tells why there is nothing to probe; the exit status. */
function complain(error: unknown): number {
  const isPlain =
    error instanceof BadNumber ||
    error instanceof TargetUnknown ||
    error instanceof SystemCallError;
  if (!isPlain) return complainUnavailable(error);
  process.stderr.write(`${printable(error.message)}\n`);
  return error instanceof SystemCallError ? error.exitCode : EXIT_USAGE;
}

/** Lines for people, or one JSON value a line for programs. */
export class EventWriter {
  readonly #isJson: boolean;
  readonly #writer: LineWriter = lineWriter();
  #isRead = true;

  constructor(isJson: boolean) {
    this.#isJson = isJson;
  }

  /** False once the reader has gone. */
  get isRead(): boolean {
    return this.#isRead;
  }

  /** Writes the lines or the value; a value that is undefined is nothing for programs. */
  async tell(lines: readonly string[], value: unknown): Promise<void> {
    if (this.#isJson && value === undefined) return;
    const json = () => printableJson(JSON.stringify(value));
    const text = this.#isJson ? json() : lines.map(printable).join("\n");
    this.#isRead = (await this.#writer.write(`${text}\n`)) && this.#isRead;
  }
}
