/**
 * The language of capture filters:
 *
 *   filter = [ or ]
 *   or     = and *( "or" and )
 *   and    = not *( "and" not )
 *   not    = "not" not / "(" or ")" / term
 *   term   = ("host" / "gateway") ADDRESS / "net" PREFIX / "port" N / "proto" ("tcp" / "udp" /
 *            "icmp" / N) / "reference" REFERENCE / "side" ("local" / "tunnel") /
 *            "verdict" ("forwarded" / "dropped" / "slow") / "drop" REASON
 *
 * Words are separated by blanks; parentheses may touch them. Any text gives a filter or a fault
 * with its position; nothing is thrown.
 */

import type { DropReason } from "../base/drop-reason.js";
import { parseIp, parsePrefix } from "../base/ip.js";
import { parseReference } from "../base/reference.js";
import { CAPTURE_FILTER_BYTES_MAX } from "../tables/capture-area.js";
import { type CaptureFilter, DROP_REASON_NAMES } from "./filter.js";

/** Parentheses and negations inside each other. */
const DEPTH_MAX = 32;
const TERMS_MAX = 64;
const TERM_WORDS =
  '"host", "net", "port", "proto", "gateway", "reference", "side", "verdict" or "drop"';

/** Why a text is no filter. */
export interface FilterFault {
  /** Place in the text, from 0. */
  readonly position: number;
  /** What stands there; empty at the end of the text. */
  readonly found: string;
  /** What would have been right. */
  readonly expected: string;
}

export type ParsedFilter =
  | { readonly ok: true; readonly filter: CaptureFilter }
  | { readonly ok: false; readonly fault: FilterFault };

interface Token {
  readonly text: string;
  readonly position: number;
}

/** Reads a filter. */
export function parseFilter(text: string): ParsedFilter {
  if (text.length > CAPTURE_FILTER_BYTES_MAX) {
    const expected = `at most ${CAPTURE_FILTER_BYTES_MAX} characters`;
    return { ok: false, fault: { position: CAPTURE_FILTER_BYTES_MAX, found: "", expected } };
  }
  const parser = new Parser(text);
  const filter = parser.parse();
  if (parser.fault !== undefined) return { ok: false, fault: parser.fault };
  return { ok: true, filter };
}

/** A fault as people read it: one sentence, the text, and a caret below the place. */
export function describeFault(text: string, { position, found, expected }: FilterFault): string {
  const what = found === "" ? "the end" : `"${printable(found)}"`;
  const caret = " ".repeat(position);
  const head = `Cannot read the filter at character ${position + 1}: `;
  return `${head}found ${what}, expected ${expected}\n  ${printable(text)}\n  ${caret}^`;
}

/** Control and other characters that are no text in a terminal become question marks. */
function printable(text: string): string {
  return text.replace(/[^ -~]/g, "?");
}

const ALL: CaptureFilter = { kind: "all" };

class Parser {
  fault: FilterFault | undefined;
  readonly #text: string;
  readonly #tokens: readonly Token[];
  #next = 0;
  #terms = 0;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = [...text.matchAll(/[()]|[^\s()]+/g)].map((match) => ({
      text: match[0],
      position: match.index,
    }));
  }

  parse(): CaptureFilter {
    if (this.#tokens.length === 0) return ALL;
    const filter = this.#or(0);
    if (this.#peek() !== undefined) this.#fail('"and", "or" or the end');
    return filter;
  }

  #peek(): string | undefined {
    return this.fault === undefined ? this.#tokens[this.#next]?.text : undefined;
  }

  /** The first fault counts. */
  #fail(expected: string): CaptureFilter {
    const token = this.#tokens[this.#next];
    const position = token?.position ?? this.#text.trimEnd().length;
    this.fault ??= { position, found: token?.text ?? "", expected };
    return ALL;
  }

  #or(depth: number): CaptureFilter {
    let left = this.#and(depth);
    while (this.#peek() === "or") {
      this.#next++;
      left = { kind: "or", left, right: this.#and(depth) };
    }
    return left;
  }

  #and(depth: number): CaptureFilter {
    let left = this.#not(depth);
    while (this.#peek() === "and") {
      this.#next++;
      left = { kind: "and", left, right: this.#not(depth) };
    }
    return left;
  }

  #not(depth: number): CaptureFilter {
    if (depth > DEPTH_MAX) return this.#fail(`at most ${DEPTH_MAX} levels`);
    if (this.#peek() === "not") {
      this.#next++;
      return { kind: "not", term: this.#not(depth + 1) };
    }
    if (this.#peek() !== "(") return this.#term();
    this.#next++;
    const inner = this.#or(depth + 1);
    if (this.#peek() !== ")") return this.#fail('"and", "or" or ")"');
    this.#next++;
    return inner;
  }

  #term(): CaptureFilter {
    if (++this.#terms > TERMS_MAX) return this.#fail(`at most ${TERMS_MAX} terms`);
    const read = TERMS.get(this.#peek() ?? "");
    if (read === undefined) return this.#fail(`${TERM_WORDS}, "not" or "("`);
    this.#next++;
    const filter = read.value(this.#peek() ?? "");
    if (filter === undefined) return this.#fail(read.expected);
    this.#next++;
    return filter;
  }
}

/** How the value of a term is read, and what it has to be. */
interface Term {
  readonly value: (text: string) => CaptureFilter | undefined;
  readonly expected: string;
}

const TERMS: ReadonlyMap<string, Term> = new Map<string, Term>([
  ["host", addressTerm("host", "an IPv4 or IPv6 address")],
  ["gateway", addressTerm("gateway", "the IPv4 or IPv6 address of a gateway")],
  [
    "net",
    {
      value: (text) => {
        const prefix = parsePrefix(text);
        return prefix && { kind: "net", prefix };
      },
      expected: "a network such as 10.240.0.0/12",
    },
  ],
  [
    "port",
    {
      value: (text) => {
        const port = number(text, 65_535);
        return port === undefined ? undefined : { kind: "port", port };
      },
      expected: "a port, 0 to 65535",
    },
  ],
  ["proto", { value: protocolTerm, expected: '"tcp", "udp", "icmp" or a number up to 255' }],
  [
    "reference",
    {
      value: (text) => {
        const parsed = parseReference(text);
        return parsed.ok ? { kind: "reference", reference: parsed.value } : undefined;
      },
      expected: "a reference such as 1025 or 5f-12ab",
    },
  ],
  [
    "side",
    {
      value: (side) => (side === "local" || side === "tunnel" ? { kind: "side", side } : undefined),
      expected: '"local" or "tunnel"',
    },
  ],
  ["verdict", { value: verdictTerm, expected: '"forwarded", "dropped" or "slow"' }],
  [
    "drop",
    {
      value: (reason) =>
        DROP_REASON_NAMES.includes(reason)
          ? { kind: "drop", reason: reason as DropReason }
          : undefined,
      expected: "a drop reason (docs/DROP-REASONS.md lists them)",
    },
  ],
]);

function addressTerm(kind: "host" | "gateway", expected: string): Term {
  return {
    value: (text) => {
      const address = parseIp(text);
      return address && { kind, address };
    },
    expected,
  };
}

function protocolTerm(text: string): CaptureFilter | undefined {
  if (text === "tcp" || text === "udp" || text === "icmp") return { kind: "proto", protocol: text };
  const protocol = number(text, 255);
  return protocol === undefined ? undefined : { kind: "proto", protocol };
}

function verdictTerm(verdict: string): CaptureFilter | undefined {
  const isKnown = verdict === "forwarded" || verdict === "dropped" || verdict === "slow";
  return isKnown ? { kind: "verdict", verdict } : undefined;
}

function number(text: string, max: number): number | undefined {
  if (!/^(0|[1-9][0-9]{0,4})$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}
