/**
 * Splits a master file into entries and words (RFC 1035 5.1, spec/resolver.md 3.1): parentheses
 * join lines, `;` begins a comment outside quotes, `\` protects the next character. Words keep
 * their escapes; names and strings resolve them.
 */

import type { Position } from "../corefile/structure.js";
import type { Complaints } from "../plugin.js";

export interface ZoneWord {
  /** Octets above 127 appear as `\DDD`, so escapes are all that a reader has to know. */
  readonly text: string;
  readonly isQuoted: boolean;
  readonly position: Position;
}

/** One entry: a record or a directive. */
export interface ZoneEntry {
  readonly words: readonly ZoneWord[];
  /** The line starts with white space: the owner is the previous one. */
  readonly isIndented: boolean;
  readonly position: Position;
}

/** Octets as text; see `ZoneWord.text`. A UTF-8 byte order mark is skipped. */
export function zoneText(bytes: Uint8Array): string {
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  const pieces: string[] = [];
  let piece = "";
  let isEscaped = false;
  for (let at = hasMark ? 3 : 0; at < bytes.length; at++) {
    const octet = bytes[at]!;
    if (octet < 0x80) {
      piece += String.fromCharCode(octet);
      isEscaped = octet === 0x5c && !isEscaped;
    } else {
      // An escaped octet above 127 is that octet; one backslash is enough to say so.
      piece += isEscaped ? String(octet) : `\\${octet}`;
      isEscaped = false;
    }
    if (piece.length > 8192) {
      pieces.push(piece);
      piece = "";
    }
  }
  return pieces.join("") + piece;
}

/** Reads entry after entry. */
export class ZoneScanner {
  readonly #text: string;
  readonly #file: string;
  readonly #complaints: Complaints;
  #at = 0;
  #line = 1;
  #lineStart = 0;

  constructor(text: string, file: string, complaints: Complaints) {
    this.#text = text;
    this.#file = file;
    this.#complaints = complaints;
  }

  /** The next entry that is not empty; undefined at the end. An entry with a mistake is skipped. */
  next(): ZoneEntry | undefined {
    while (this.#at < this.#text.length) {
      const isIndented = /[ \t]/.test(this.#text[this.#at]!);
      const words = this.#entryWords();
      const first = words?.[0];
      if (first !== undefined) return { words: words!, isIndented, position: first.position };
    }
    return undefined;
  }

  #position(): Position {
    return { file: this.#file, line: this.#line, column: this.#at - this.#lineStart + 1 };
  }

  #newLine(): void {
    this.#at++;
    this.#line++;
    this.#lineStart = this.#at;
  }

  /** Words up to the end of the entry; undefined after a complaint. */
  #entryWords(): ZoneWord[] | undefined {
    const words: ZoneWord[] = [];
    const open: Position[] = [];
    let isGood = true;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined) {
        const missing = open.at(-1);
        if (missing === undefined) return isGood ? words : undefined;
        this.#complaints.error(missing, "Found the end of the file, expected ')'");
        return undefined;
      }
      if (char === "\n") {
        this.#newLine();
        if (open.length === 0) return isGood ? words : undefined;
      } else if (/[ \t\r\f\v]/.test(char)) this.#at++;
      else if (char === ";") this.#skipComment();
      else if (char === "(") {
        open.push(this.#position());
        this.#at++;
      } else if (char === ")") {
        isGood = this.#closeParenthesis(open) && isGood;
      } else {
        const word = char === '"' ? this.#quotedWord() : this.#plainWord();
        if (word === undefined) isGood = false;
        else words.push(word);
      }
    }
  }

  #closeParenthesis(open: Position[]): boolean {
    const isMatched = open.pop() !== undefined;
    if (!isMatched) this.#complaints.error(this.#position(), "Found ')' without '(' before it");
    this.#at++;
    return isMatched;
  }

  #skipComment(): void {
    while (this.#at < this.#text.length && this.#text[this.#at] !== "\n") this.#at++;
  }

  #quotedWord(): ZoneWord | undefined {
    const position = this.#position();
    const text = this.#quotedText(position);
    return text === undefined ? undefined : { text, isQuoted: true, position };
  }

  /** Text between quotes; the position moves behind the closing one. */
  #quotedText(position: Position): string | undefined {
    const start = ++this.#at;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || char === "\n") {
        this.#complaints.error(position, "Found the end of the line, expected a closing quote");
        return undefined;
      }
      if (char === '"') return this.#text.slice(start, this.#at++);
      this.#at += char === "\\" && this.#text[this.#at + 1] !== "\n" ? 2 : 1;
    }
  }

  /** A word; quotes inside it protect white space, as in `alpn="h2,h3"` (RFC 9460 2.1). */
  #plainWord(): ZoneWord | undefined {
    const position = this.#position();
    let text = "";
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || /[\s;()]/.test(char)) break;
      if (char === '"') {
        const inner = this.#quotedText(this.#position());
        if (inner === undefined) return undefined;
        text += inner;
      } else if (char === "\\" && this.#text[this.#at + 1] !== "\n") {
        text += this.#text.slice(this.#at, this.#at + 2);
        this.#at += 2;
      } else {
        text += char;
        this.#at++;
      }
    }
    return { text, isQuoted: false, position };
  }
}
