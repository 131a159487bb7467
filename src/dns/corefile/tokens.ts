/**
 * Splits a Corefile into words (spec/resolver.md 2.2) and replaces environment variables.
 *
 * White space separates; `#` at the start of a word begins a comment; a word that begins with `"`
 * runs to the next unescaped `"`. `{` and `}` are ordinary characters unless they stand alone.
 */

import type { Complaints } from "../plugin.js";
import type { Position, Word } from "./structure.js";

/** A word and where it stands among the lines. */
export interface Token extends Word {
  /** First word of its line. */
  readonly startsLine: boolean;
  /** Number of imports that led here. */
  readonly depth: number;
}

/** Value of an environment variable; undefined when it is unset. */
export type EnvironmentVariables = (name: string) => string | undefined;

/** spec/resolver.md 2.2: a value that contains its own name would be replaced for ever. */
const REPLACE_ROUNDS_MAX = 16;

const BYTE_ORDER_MARK = "\ufeff";

/** Opening brace of a block, not a quoted one. */
export function isOpen(word: Word | undefined): boolean {
  return word !== undefined && word.text === "{" && !word.isQuoted;
}

/** Closing brace of a block, not a quoted one. */
export function isClose(word: Word | undefined): boolean {
  return word !== undefined && word.text === "}" && !word.isQuoted;
}

/** Reads all words of a file. Problems go to `complaints`; the words before them come back. */
export function tokenize(
  text: string,
  file: string,
  variables: EnvironmentVariables,
  complaints: Complaints,
): Token[] {
  return new Tokenizer(text, file, variables, complaints).run();
}

class Tokenizer {
  readonly #text: string;
  readonly #file: string;
  readonly #variables: EnvironmentVariables;
  readonly #complaints: Complaints;
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;
  #lineStart = 0;
  #startsLine = true;

  constructor(text: string, file: string, variables: EnvironmentVariables, complaints: Complaints) {
    this.#text = text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
    this.#file = file;
    this.#variables = variables;
    this.#complaints = complaints;
  }

  run(): Token[] {
    for (;;) {
      this.#skipSpace();
      const char = this.#text[this.#at];
      if (char === undefined) return this.#tokens;
      if (char === "#") this.#skipComment();
      else if (char === '"') this.#quoted();
      else this.#plain();
    }
  }

  #position(): Position {
    return { file: this.#file, line: this.#line, column: this.#at - this.#lineStart + 1 };
  }

  /** Steps over one character and counts lines. */
  #step(): void {
    if (this.#text[this.#at] === "\n") {
      this.#line++;
      this.#lineStart = this.#at + 1;
    }
    this.#at++;
  }

  #skipSpace(): void {
    for (; isSpace(this.#text[this.#at]); this.#step()) {
      if (this.#text[this.#at] === "\n") this.#startsLine = true;
    }
  }

  #skipComment(): void {
    while (this.#at < this.#text.length && this.#text[this.#at] !== "\n") this.#at++;
  }

  #plain(): void {
    const position = this.#position();
    let text = "";
    for (; this.#at < this.#text.length && !isSpace(this.#text[this.#at]); this.#at++) {
      if (this.#text[this.#at] === "#") {
        const message = `Found '#' inside the word '${text}', expected a space before a comment`;
        this.#complaints.error(this.#position(), message);
        this.#skipComment();
        break;
      }
      text += this.#text[this.#at];
    }
    this.#push(text, position, false);
  }

  #quoted(): void {
    const position = this.#position();
    let text = "";
    this.#step();
    while (this.#text[this.#at] !== '"') {
      if (this.#at >= this.#text.length) {
        this.#complaints.error(position, "Found the end of the file, expected a closing quote");
        break;
      }
      if (this.#text[this.#at] === "\\" && this.#text[this.#at + 1] === '"') this.#at++;
      if (this.#text[this.#at] !== "\r") text += this.#text[this.#at];
      this.#step();
    }
    this.#at++;
    this.#push(text, position, true);
  }

  #push(raw: string, position: Position, isQuoted: boolean): void {
    const text = replaceVariables(raw, this.#variables);
    this.#tokens.push({ text, position, isQuoted, startsLine: this.#startsLine, depth: 0 });
    this.#startsLine = false;
  }
}

function isSpace(char: string | undefined): boolean {
  return char !== undefined && /\s/.test(char);
}

/** Replaces `{$NAME}` and `{%NAME%}`; `{$}` stays, an unset variable is empty. */
export function replaceVariables(text: string, variables: EnvironmentVariables): string {
  let result = text;
  for (let round = 0; round < REPLACE_ROUNDS_MAX; round++) {
    const replaced = result.replace(
      /\{\$([^{}]+)\}|\{%([^{}%]+)%\}/g,
      (_, dollar: string | undefined, percent: string | undefined) =>
        variables((dollar ?? percent)!) ?? "",
    );
    if (replaced === result) break;
    result = replaced;
  }
  return result;
}
