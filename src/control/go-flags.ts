/**
 * Command lines in the syntax of Go's flag package (spec/mapper.md 7.1): one or two dashes,
 * `-flag value` or `-flag=value`; a boolean takes a value only behind `=`; the first argument that
 * is no flag, or `--`, ends the flags, and what follows is ignored. The last of equal flags wins.
 */

import { nearestWord } from "../base/nearest-word.js";

/** How a flag takes its value. */
export type FlagKind = "text" | "integer" | "boolean";

/** One flag: its name without dashes, its kind, and its place in the usage text. */
export interface FlagSpec {
  readonly name: string;
  readonly kind: FlagKind;
  /** Word for the value in the usage text, e.g. "ADDRESS". Empty for booleans. */
  readonly valueName: string;
  /** What is used when the flag is absent, as text for people. */
  readonly defaultText: string;
  readonly meaning: string;
}

/** What is wrong with one flag. `value` is undefined when the trouble is the flag itself. */
export interface FlagError {
  readonly flag: string;
  readonly value: string | undefined;
  /** What is wanted, or what is wrong, as the end of a sentence. */
  readonly rule: string;
}

export type RawFlags =
  | { readonly kind: "flags"; readonly values: ReadonlyMap<string, string> }
  | { readonly kind: "help" }
  | { readonly kind: "error"; readonly error: FlagError };

/** Spellings of strconv.ParseBool. */
const TRUE_WORDS: ReadonlySet<string> = new Set(["1", "t", "T", "TRUE", "true", "True"]);
const FALSE_WORDS: ReadonlySet<string> = new Set(["0", "f", "F", "FALSE", "false", "False"]);

/** Splits a command line into flag values; stops at the first mistake, as Go does. */
export function splitGoFlags(args: readonly string[], specs: readonly FlagSpec[]): RawFlags {
  const kinds = new Map(specs.map((spec) => [spec.name, spec.kind]));
  const values = new Map<string, string>();
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!;
    if (arg === "--" || !/^-./.test(arg)) break;
    const match = /^--?([^-=][^=]*)(=(.*))?$/s.exec(arg);
    if (match === null) return failed(arg, undefined, "this is not a flag");
    const [, name, , attached] = match as unknown as [string, string, string?, string?];
    const kind = kinds.get(name);
    if (kind === undefined) {
      return name === "h" || name === "help" ? { kind: "help" } : unknownFlag(name, specs);
    }
    if (attached !== undefined) values.set(name, attached);
    else if (kind === "boolean") values.set(name, "true");
    else if (index + 1 < args.length) values.set(name, args[++index]!);
    else return failed(`-${name}`, undefined, "a value must follow");
  }
  return { kind: "flags", values };
}

function failed(flag: string, value: string | undefined, rule: string): RawFlags {
  return { kind: "error", error: { flag, value, rule } };
}

function unknownFlag(name: string, specs: readonly FlagSpec[]): RawFlags {
  const names = specs.map((spec) => spec.name);
  const nearest = nearestWord(name, names);
  const hint = nearest === undefined ? "" : `; did you mean -${nearest}?`;
  return failed(`-${name}`, undefined, `there is no such flag${hint}`);
}

/** Reads a boolean as strconv.ParseBool does; undefined when it is none. */
export function parseGoBoolean(text: string): boolean | undefined {
  if (TRUE_WORDS.has(text)) return true;
  return FALSE_WORDS.has(text) ? false : undefined;
}

/** Reads an integer as strconv.ParseInt with base 0 does; undefined when it is none. */
export function parseGoInteger(text: string): number | undefined {
  const match = /^([+-]?)(0x[0-9a-f]+|0b[01]+|0o?[0-7]+|0|[1-9][0-9]*)$/i.exec(text);
  if (match === null) return undefined;
  const digits = match[2]!;
  const isOldOctal = /^0[0-7]/.test(digits);
  const size = Number(isOldOctal ? `0o${digits.slice(1)}` : digits);
  if (!Number.isSafeInteger(size)) return undefined;
  return match[1] === "-" ? -size : size;
}
