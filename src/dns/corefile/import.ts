/**
 * Imports of a Corefile (spec/resolver.md 2.3): `import NAME` puts the words of a snippet, of a
 * file or of all files of a pattern in place of the line.
 */

import type { Complaints } from "../plugin.js";
import { type EnvironmentVariables, type Token, tokenize } from "./tokens.js";

/** Reads files for imports. Paths as the Corefile and its imports spell them. */
export interface ImportSource {
  /** Content as text; `error` says why not. */
  read(path: string): Promise<{ readonly text: string } | { readonly error: string }>;
  /** Names in a directory, in any order; undefined when it cannot be read. */
  entries(directory: string): Promise<readonly string[] | undefined>;
}

/** spec/resolver.md 2.3: cycles end here. */
const DEPTH_MAX = 32;
const EXPANSIONS_MAX = 10_000;

/** Finds what an import names. One object for one Corefile. */
export class Importer {
  readonly #source: ImportSource;
  readonly #variables: EnvironmentVariables;
  readonly #complaints: Complaints;
  readonly #snippets = new Map<string, readonly Token[]>();
  #expansions = 0;
  /** Every file that was read, the main one excepted (`reload` watches them). */
  readonly files: string[] = [];

  constructor(source: ImportSource, variables: EnvironmentVariables, complaints: Complaints) {
    this.#source = source;
    this.#variables = variables;
    this.#complaints = complaints;
  }

  /** False when the name is taken. */
  define(name: string, tokens: readonly Token[]): boolean {
    if (this.#snippets.has(name)) return false;
    this.#snippets.set(name, tokens);
    return true;
  }

  /** The words that replace `import argument`; empty after a complaint. */
  async expand(argument: Token): Promise<readonly Token[]> {
    const depth = argument.depth + 1;
    if (depth > DEPTH_MAX || ++this.#expansions > EXPANSIONS_MAX) {
      const message = `Stopped at import '${argument.text}': imports are nested too deeply`;
      this.#complaints.error(argument.position, message);
      return [];
    }
    const snippet = this.#snippets.get(argument.text);
    const tokens = snippet ?? (await this.#readFiles(argument));
    return tokens.map((token) => ({ ...token, depth }));
  }

  async #readFiles(argument: Token): Promise<readonly Token[]> {
    const pattern = resolveBeside(argument.position.file, argument.text);
    if (!/[*?[]/.test(pattern)) return this.#readFile(argument, pattern);
    if (/\*.*\*|\?.*\?|\[/s.test(pattern)) {
      const message = `Found the pattern '${argument.text}', expected at most one * and one ?`;
      this.#complaints.error(argument.position, message);
      return [];
    }
    const paths = await this.#match(pattern);
    if (paths.length === 0) {
      const message = `No file matches the import pattern '${argument.text}'`;
      this.#complaints.warning(argument.position, message);
    }
    const tokens: Token[] = [];
    for (const path of paths) tokens.push(...(await this.#readFile(argument, path)));
    return tokens;
  }

  async #readFile(argument: Token, path: string): Promise<readonly Token[]> {
    const result = await this.#source.read(path);
    if ("error" in result) {
      const message = `Cannot import '${argument.text}': ${result.error}`;
      this.#complaints.error(argument.position, message);
      return [];
    }
    this.files.push(path);
    return tokenize(result.text, path, this.#variables, this.#complaints);
  }

  /** Expands a pattern component by component, sorted. */
  async #match(pattern: string): Promise<readonly string[]> {
    let found = [pattern.startsWith("/") ? "/" : ""];
    for (const component of pattern.split("/").filter((part) => part !== "")) {
      if (!/[*?]/.test(component)) {
        found = found.map((path) => joinPath(path, component));
        continue;
      }
      const next: string[] = [];
      for (const directory of found) {
        const names = (await this.#source.entries(directory === "" ? "." : directory)) ?? [];
        const matching = names.filter((name) => patternToRegExp(component).test(name));
        next.push(...matching.sort().map((name) => joinPath(directory, name)));
      }
      found = next;
    }
    return found;
  }
}

function joinPath(directory: string, name: string): string {
  return directory === "" || directory === "/" ? directory + name : `${directory}/${name}`;
}

/** A path relative to the directory of `file`. */
export function resolveBeside(file: string, path: string): string {
  const slash = file.lastIndexOf("/");
  return path.startsWith("/") || slash < 0 ? path : file.slice(0, slash + 1) + path;
}

/** A shell pattern with `*` and `?` as a regular expression over one path component. */
function patternToRegExp(pattern: string): RegExp {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replace(/\*/g, ".*").replace(/\?/g, ".")}$`);
}
