/**
 * What a Corefile says, before any directive is understood (spec/resolver.md 2.3, 2.4).
 *
 *   corefile = { block }     block = keys and directives     directive = name, arguments, lines
 *
 * Every word keeps its place, so that a later complaint can name file, line and column.
 */

import type { Name } from "../../wire/dns/name.js";

/** A place in a file; line and column count from 1. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** One token after replacement of environment variables. */
export interface Word {
  readonly text: string;
  readonly position: Position;
  /** Written in quotes; then `{`, `}` and an empty text are ordinary. */
  readonly isQuoted: boolean;
}

/** One line inside the braces of a directive; `lines` when the line opens braces of its own. */
export interface PropertyLine {
  readonly words: readonly Word[];
  readonly lines: readonly PropertyLine[];
}

/** One directive of a block. */
export interface Directive {
  readonly name: Word;
  readonly args: readonly Word[];
  /** Lines between its braces; empty without braces. */
  readonly lines: readonly PropertyLine[];
  readonly hasBraces: boolean;
}

/** One key of a block: a CIDR prefix may stand for several zones. */
export interface BlockKey {
  readonly word: Word;
  readonly zones: readonly Name[];
  /** As written; undefined when the key has none. */
  readonly port: number | undefined;
}

/** A server block. */
export interface ServerBlock {
  readonly keys: readonly BlockKey[];
  readonly directives: readonly Directive[];
  readonly position: Position;
}

/** A complaint about a configuration or zone file. */
export interface Problem {
  readonly severity: "error" | "warning";
  readonly position: Position;
  /** Starts with a capital letter, has no full stop (style: found, expected, action). */
  readonly message: string;
}

/** `FILE:LINE:COLUMN: message`. */
export function formatProblem(problem: Problem): string {
  const { file, line, column } = problem.position;
  return `${file}:${line}:${column}: ${problem.message}`;
}
