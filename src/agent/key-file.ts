/**
 * Key files, in the syntax of BIND's named.conf, which `tsig-keygen` and `keymgr -t` print:
 *
 *   key "NAME" { algorithm hmac-sha256; secret "BASE64"; };
 *   server 192.0.2.1 { keys { "NAME"; }; };
 *
 * With one key and no `server` clause the key serves all servers; a `server` clause names the key
 * of one server by its address or name.
 */

import { base64Octets } from "../dns/zone/field-text.js";
import { parseName } from "../wire/dns/name.js";
import type { HmacAlgorithm } from "./ports.js";
import type { TsigKey } from "./tsig.js";

/** RFC 8945 6: shorter secrets than the hash are weak; this is where it becomes a mistake. */
const SECRET_BYTES_MIN = 16;

const ALGORITHMS: Readonly<Record<string, HmacAlgorithm>> = {
  "hmac-sha256": "sha256",
  "hmac-sha384": "sha384",
  "hmac-sha512": "sha512",
};

/** Keys by server; `common` is for servers without a clause. */
export interface KeyRing {
  readonly common: TsigKey | undefined;
  /** By address or lower-case name, without port. */
  readonly byServer: ReadonlyMap<string, TsigKey>;
}

export const NO_KEYS: KeyRing = { common: undefined, byServer: new Map() };

export type ParsedKeys =
  | { readonly ok: true; readonly keys: KeyRing }
  | { readonly ok: false; readonly line: number; readonly error: string };

interface Token {
  readonly text: string;
  readonly line: number;
}

/** A complaint on its way out of the reader. */
interface Fault {
  readonly line: number;
  readonly error: string;
}

/** Reads a key file. */
export function parseKeyFile(text: string): ParsedKeys {
  const reader = new KeyReader(tokensOf(text));
  const fault = reader.readAll();
  if (fault !== undefined) return { ok: false, ...fault };
  return reader.ring();
}

/** Comments of C, C++ and shell; words, quoted or not; `{`, `}` and `;`. */
function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  const pattern = /\/\*[\s\S]*?\*\/|(?:#|\/\/)[^\n]*|"([^"\n]*)"|[{};]|[^\s{};"]+|\n/g;
  for (const match of text.matchAll(pattern)) {
    const [whole, quoted] = match;
    const isComment = /^(\/\*|#|\/\/)/.test(whole);
    if (!isComment && whole !== "\n") tokens.push({ text: quoted ?? whole, line });
    line += whole.split("\n").length - 1;
  }
  return tokens;
}

class KeyReader {
  readonly #tokens: readonly Token[];
  #at = 0;
  readonly #keys = new Map<string, TsigKey>();
  readonly #servers: { readonly host: string; readonly key: Token }[] = [];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  readAll(): Fault | undefined {
    while (this.#at < this.#tokens.length) {
      const fault = this.#readStatement();
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  /** The result, once everything has been read. */
  ring(): ParsedKeys {
    const byServer = new Map<string, TsigKey>();
    for (const { host, key } of this.#servers) {
      const found = this.#keys.get(key.text.toLowerCase().replace(/\.$/, ""));
      if (found === undefined) {
        return { ok: false, line: key.line, error: `found no key '${key.text}' in this file` };
      }
      byServer.set(host, found);
    }
    const all = [...this.#keys.values()];
    if (all.length === 0) return { ok: false, line: 1, error: "found no key" };
    if (all.length > 1 && byServer.size === 0) {
      const error = `found ${all.length} keys, expected one, or 'server' clauses that choose`;
      return { ok: false, line: 1, error };
    }
    return { ok: true, keys: { common: byServer.size === 0 ? all[0] : undefined, byServer } };
  }

  #next(): Token {
    const last = this.#tokens.at(-1);
    return this.#tokens[this.#at++] ?? { text: "the end of the file", line: last?.line ?? 1 };
  }

  #expect(...words: readonly string[]): Fault | undefined {
    for (const word of words) {
      const token = this.#next();
      if (token.text !== word) {
        return { line: token.line, error: `found '${token.text}', expected '${word}'` };
      }
    }
    return undefined;
  }

  #readStatement(): Fault | undefined {
    const head = this.#next();
    if (head.text === "key") return this.#readKey();
    if (head.text === "server") return this.#readServer();
    return { line: head.line, error: `found '${head.text}', expected 'key' or 'server'` };
  }

  #readServer(): Fault | undefined {
    const host = this.#next().text.toLowerCase();
    const start = this.#expect("{", "keys", "{");
    if (start !== undefined) return start;
    this.#servers.push({ host, key: this.#next() });
    return this.#expect(";", "}", ";", "}", ";");
  }

  #readKey(): Fault | undefined {
    const name = this.#next();
    const open = this.#expect("{");
    if (open !== undefined) return open;
    const values = new Map<string, Token>();
    for (let word = this.#next(); word.text !== "}"; word = this.#next()) {
      if (word.text !== "algorithm" && word.text !== "secret") {
        const expected = "'algorithm', 'secret' or '}'";
        return { line: word.line, error: `found '${word.text}', expected ${expected}` };
      }
      values.set(word.text, this.#next());
      const end = this.#expect(";");
      if (end !== undefined) return end;
    }
    return this.#addKey(name, values) ?? this.#expect(";");
  }

  #addKey(name: Token, values: ReadonlyMap<string, Token>): Fault | undefined {
    const plain = name.text.toLowerCase().replace(/\.$/, "");
    const parsed = parseName(`${plain}.`);
    if (!parsed.ok) return { line: name.line, error: `'${name.text}' is no name of a key` };
    const [algorithm, secret] = [values.get("algorithm"), values.get("secret")];
    if (algorithm === undefined || secret === undefined) {
      return { line: name.line, error: `key '${name.text}' needs an algorithm and a secret` };
    }
    const known = ALGORITHMS[algorithm.text.toLowerCase()];
    if (known === undefined) {
      const expected = Object.keys(ALGORITHMS).join(", ");
      return { line: algorithm.line, error: `found '${algorithm.text}', expected ${expected}` };
    }
    const octets = base64Octets([secret.text]);
    if (octets === undefined || octets.length < SECRET_BYTES_MIN) {
      const error = `the secret is not base64 of at least ${SECRET_BYTES_MIN} octets`;
      return { line: secret.line, error };
    }
    this.#keys.set(plain, { name: parsed.name, algorithm: known, secret: octets });
    return undefined;
  }
}
