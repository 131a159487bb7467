/**
 * Parses a Corefile into blocks of directives (spec/resolver.md 2.3).
 *
 *   corefile  = { import | snippet | block }
 *   snippet   = "(NAME)" "{" … "}"
 *   block     = KEY { [","] KEY } ( "{" directives "}" | directives EOF )
 *   directive = NAME { ARG } [ "{" lines "}" ]
 *
 * A mistake in the structure ends the reading of the file; complaints that need no guess about
 * what was meant are all collected.
 */

import type { Complaints } from "../plugin.js";
import { Importer, type ImportSource } from "./import.js";
import { parseKey } from "./keys.js";
import type {
  BlockKey,
  Directive,
  Position,
  Problem,
  PropertyLine,
  ServerBlock,
  Word,
} from "./structure.js";
import { type EnvironmentVariables, isClose, isOpen, type Token, tokenize } from "./tokens.js";

/** Everything a Corefile says, or what is wrong with it. */
export interface ParsedCorefile {
  readonly blocks: readonly ServerBlock[];
  readonly problems: readonly Problem[];
  /** Imported files. */
  readonly importedFiles: readonly string[];
}

/** Parses the text of `file`. Complete only when no problem is an error. */
export async function parseCorefile(
  text: string,
  file: string,
  source: ImportSource,
  variables: EnvironmentVariables,
): Promise<ParsedCorefile> {
  const complaints = new ProblemList();
  const tokens = tokenize(text, file, variables, complaints);
  const importer = new Importer(source, variables, complaints);
  const blocks: ServerBlock[] = [];
  if (!complaints.hasErrors) {
    await new CorefileParser(tokens, file, importer, complaints).parseInto(blocks);
  }
  return { blocks, problems: complaints.problems, importedFiles: importer.files };
}

/** Collects complaints. */
export class ProblemList implements Complaints {
  readonly problems: Problem[] = [];

  get hasErrors(): boolean {
    return this.problems.some((problem) => problem.severity === "error");
  }

  error(position: Position, message: string): void {
    this.problems.push({ severity: "error", position, message });
  }

  warning(position: Position, message: string): void {
    this.problems.push({ severity: "warning", position, message });
  }
}

class CorefileParser {
  /** Words not yet read, in reverse order, so that imports are cheap to put in front. */
  readonly #rest: Token[];
  readonly #importer: Importer;
  readonly #complaints: ProblemList;
  #lastPosition: Position;
  #hasBareBlock = false;

  constructor(tokens: readonly Token[], file: string, importer: Importer, list: ProblemList) {
    this.#rest = [...tokens].reverse();
    this.#importer = importer;
    this.#complaints = list;
    this.#lastPosition = { file, line: 1, column: 1 };
  }

  async parseInto(blocks: ServerBlock[]): Promise<void> {
    for (;;) {
      const token = await this.#peekLine();
      if (token === undefined || this.#complaints.hasErrors) return;
      if (/^\(.*\)$/s.test(token.text) && !token.isQuoted) {
        this.#snippet();
        continue;
      }
      const block = await this.#block(blocks.length > 0);
      if (block === undefined) return;
      blocks.push(block);
    }
  }

  #peek(): Token | undefined {
    return this.#rest.at(-1);
  }

  #take(): Token | undefined {
    const token = this.#rest.pop();
    if (token !== undefined) this.#lastPosition = token.position;
    return token;
  }

  /** The word at the start of a line, after replacing imports. */
  async #peekLine(): Promise<Token | undefined> {
    for (;;) {
      const token = this.#peek();
      if (token?.text !== "import" || token.isQuoted || !token.startsLine) return token;
      this.#take();
      const words = this.#takeLine();
      const argument = words[0];
      if (argument === undefined || words.length > 1) {
        const found = words[1] ? `'${words[1].text}'` : "the end of the line";
        this.#fail(words[1] ?? token, `Found ${found}, expected one name after 'import'`);
        return undefined;
      }
      const tokens = await this.#importer.expand(argument);
      for (const [index, replacement] of [...tokens.entries()].reverse()) {
        this.#rest.push(index === 0 ? { ...replacement, startsLine: true } : replacement);
      }
    }
  }

  /** The other words of the line. */
  #takeLine(): Token[] {
    const words: Token[] = [];
    while (this.#peek()?.startsLine === false) words.push(this.#take()!);
    return words;
  }

  #fail(where: Word | Position, message: string): undefined {
    this.#complaints.error("position" in where ? where.position : where, message);
    return undefined;
  }

  #snippet(): void {
    const head = this.#take()!;
    const open = this.#take();
    if (open === undefined || !isOpen(open)) {
      this.#fail(open ?? head, `Found ${quoted(open)}, expected '{' after the snippet's name`);
      return;
    }
    const body: Token[] = [];
    for (let braces = 1; ; ) {
      const token = this.#take();
      if (token === undefined) {
        this.#missingClose(open);
        return;
      }
      if (isOpen(token)) braces++;
      else if (isClose(token) && --braces === 0) break;
      body.push(token);
    }
    const name = head.text.slice(1, -1);
    if (name === "") this.#fail(head, "Found '()', expected a snippet with a name");
    else if (!this.#importer.define(name, body)) {
      this.#fail(head, `Found the snippet '${name}' again, expected every snippet once`);
    }
  }

  async #block(isFollowing: boolean): Promise<ServerBlock | undefined> {
    const position = this.#peek()!.position;
    const keys = this.#keys();
    if (keys === undefined) return undefined;
    const next = this.#peek();
    if (isOpen(next)) {
      const open = this.#take()!;
      const directives = await this.#directives(open);
      return directives && { keys, directives, position };
    }
    if (isFollowing || this.#hasBareBlock) {
      return this.#fail(next ?? this.#lastPosition, `Found ${quoted(next)}, expected '{'`);
    }
    this.#hasBareBlock = true;
    const directives = await this.#directives(undefined);
    return directives && { keys, directives, position };
  }

  /** Keys up to the line's end or `{`; a comma at the end continues on the next line. */
  #keys(): BlockKey[] | undefined {
    const keys: BlockKey[] = [];
    let isContinued = true;
    for (;;) {
      const token = this.#peek();
      if (token === undefined || isOpen(token) || (token.startsLine && !isContinued)) break;
      this.#take();
      if (isClose(token)) return this.#fail(token, "Found '}', expected a zone");
      const text = token.text.replace(/,$/, "");
      isContinued = text !== token.text;
      if (text === "") continue;
      const parsed = parseKey(text);
      if (!parsed.ok) this.#fail(token, `Found '${text}', ${parsed.error}`);
      else keys.push({ word: { ...token, text }, zones: parsed.zones, port: parsed.port });
    }
    const next = this.#peek();
    if (isContinued) {
      return this.#fail(next ?? this.#lastPosition, `Found ${quoted(next)}, expected a zone`);
    }
    return keys;
  }

  /** Directives up to `}`, or to the end of the file when there is no `open`. */
  async #directives(open: Token | undefined): Promise<Directive[] | undefined> {
    const directives: Directive[] = [];
    for (;;) {
      const token = await this.#peekLine();
      if (this.#complaints.hasErrors) return undefined;
      if (token === undefined) return open ? this.#missingClose(open) : directives;
      if (!token.startsLine) {
        return this.#fail(token, `Found ${quoted(token)}, expected a new line before it`);
      }
      if (isClose(token)) {
        if (open === undefined) return this.#fail(token, "Found '}' without a '{' before it");
        this.#take();
        return this.#endsLine() ? directives : undefined;
      }
      const directive = await this.#directive();
      if (directive === undefined) return undefined;
      directives.push(directive);
    }
  }

  async #directive(): Promise<Directive | undefined> {
    const name = this.#take()!;
    if (isOpen(name)) {
      return this.#fail(name, "Found '{' on a line of its own, expected it after a directive");
    }
    const args: Word[] = [];
    for (;;) {
      const token = this.#peek();
      if (token === undefined || token.startsLine)
        return { name, args, lines: [], hasBraces: false };
      this.#take();
      if (isClose(token)) return this.#fail(token, "Found '}', expected a new line before it");
      if (isOpen(token)) {
        const lines = await this.#lines(token);
        return lines && { name, args, lines, hasBraces: true };
      }
      args.push(token);
    }
  }

  /** Lines of a directive up to its `}`. */
  async #lines(open: Token): Promise<PropertyLine[] | undefined> {
    const lines: PropertyLine[] = [];
    for (;;) {
      const token = await this.#peekLine();
      if (this.#complaints.hasErrors) return undefined;
      if (token === undefined) return this.#missingClose(open);
      if (!token.startsLine) {
        return this.#fail(token, `Found ${quoted(token)}, expected a new line before it`);
      }
      if (isClose(token)) {
        this.#take();
        return this.#endsLine() ? lines : undefined;
      }
      const line = await this.#line();
      if (line === undefined) return undefined;
      lines.push(line);
    }
  }

  async #line(): Promise<PropertyLine | undefined> {
    const words: Word[] = [];
    for (;;) {
      const token = this.#take()!;
      if (isOpen(token) && words.length > 0) {
        const lines = await this.#lines(token);
        return lines && { words, lines };
      }
      if (isOpen(token) || isClose(token)) {
        return this.#fail(token, `Found ${quoted(token)}, expected a property`);
      }
      words.push(token);
      if (this.#peek()?.startsLine !== false) return { words, lines: [] };
    }
  }

  #endsLine(): boolean {
    const next = this.#peek();
    if (next === undefined || next.startsLine) return true;
    this.#fail(next, `Found ${quoted(next)} after '}', expected a new line`);
    return false;
  }

  #missingClose(open: Token): undefined {
    const { line } = open.position;
    return this.#fail(
      this.#lastPosition,
      `Found the end of the file, expected '}' for the '{' of line ${line}`,
    );
  }
}

function quoted(token: Word | undefined): string {
  return token === undefined ? "the end of the file" : `'${token.text}'`;
}
