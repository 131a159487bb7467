/**
 * Lists what a gateway streams as lines of JSON: as it is, or as a table. A table's columns get
 * their widths from its first rows, so that a million rows need no memory.
 */

import type { Command } from "commander";
import { printableJson } from "../../base/printable.js";
import type { ControlCall } from "../../platform/control-client.js";
import { type ParsedArguments, parseArguments } from "../command-line.js";
import { EXIT_OK } from "../exit-status.js";
import { answerLines, askPart, complainUnavailable } from "./ask.js";
import { lineWriter } from "./output.js";
import { type Column, columnWidths, rowLine } from "./text-table.js";

const ROWS_FOR_WIDTHS = 500;
/** Text that is written at once. */
const WRITE_CHARACTERS = 32_768;

/** What to list. */
export interface Listing<Entry> {
  readonly path: string;
  /** Options that become part of the query. */
  readonly queryOptions: readonly string[];
  readonly columns: readonly Column[];
  readonly row: (entry: Entry) => readonly string[];
  /** Said when the list is empty. */
  readonly nothing: string;
}

/** Runs a command that lists, with options `run` and `json`; resolves to the exit status. */
export async function listEntries<Entry>(
  command: Command,
  args: readonly string[],
  listing: Listing<Entry>,
): Promise<number> {
  const parsed = parseArguments(command, args);
  if (typeof parsed === "number") return parsed;
  const { options } = parsed;
  const isJson = options.json === true;
  const sink = new TextSink();
  const table = new TableSink(listing.columns, sink);
  const ended = new AbortController();
  try {
    const call = { ...callOf(listing, parsed), signal: ended.signal };
    const answer = await askPart(String(options.run), "gateway", call);
    for await (const line of answerLines(answer)) {
      const isTaken = isJson
        ? await sink.take(`${printableJson(line)}\n`)
        : await table.take(listing.row(JSON.parse(line) as Entry));
      if (!isTaken) break;
    }
    await table.finish();
    await sink.finish();
  } catch (error) {
    return complainUnavailable(error);
  } finally {
    ended.abort();
  }
  if (!isJson && table.isEmpty) process.stderr.write(`${listing.nothing}\n`);
  return EXIT_OK;
}

function callOf(
  { path, queryOptions }: Pick<Listing<never>, "path" | "queryOptions">,
  { options, words }: ParsedArguments,
): ControlCall {
  const query = new URLSearchParams();
  for (const name of queryOptions) {
    const value = options[name];
    if (typeof value === "string") query.append(name, value);
  }
  for (const word of words) query.append("word", word);
  return { path: query.size === 0 ? path : `${path}?${query}` };
}

/** Text in large pieces; `take` is false when nobody reads any more. */
class TextSink {
  readonly #writer = lineWriter();
  #text = "";

  async take(text: string): Promise<boolean> {
    this.#text += text;
    return this.#text.length < WRITE_CHARACTERS ? true : await this.finish();
  }

  async finish(): Promise<boolean> {
    const text = this.#text;
    this.#text = "";
    return text === "" ? true : await this.#writer.write(text);
  }
}

/** Rows as a table. */
class TableSink {
  readonly #columns: readonly Column[];
  readonly #sink: TextSink;
  #first: (readonly string[])[] = [];
  #widths: readonly number[] | undefined;
  isEmpty = true;

  constructor(columns: readonly Column[], sink: TextSink) {
    this.#columns = columns;
    this.#sink = sink;
  }

  async take(row: readonly string[]): Promise<boolean> {
    this.isEmpty = false;
    if (this.#widths !== undefined) return await this.#write(row, this.#widths);
    this.#first.push(row);
    return this.#first.length < ROWS_FOR_WIDTHS ? true : await this.#begin();
  }

  async finish(): Promise<void> {
    if (this.#widths === undefined && !this.isEmpty) await this.#begin();
  }

  async #begin(): Promise<boolean> {
    const widths = columnWidths(this.#columns, this.#first);
    this.#widths = widths;
    const heading = this.#columns.map((column) => column.heading);
    for (const row of [heading, ...this.#first]) {
      if (!(await this.#write(row, widths))) return false;
    }
    this.#first = [];
    return true;
  }

  #write(row: readonly string[], widths: readonly number[]): Promise<boolean> {
    return this.#sink.take(`${rowLine(this.#columns, row, widths)}\n`);
  }
}
