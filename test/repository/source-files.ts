/** The repository's own files, for the tests of its rules. */

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** Root of the clone; this file runs from dist/test/repository. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");

/** One text file: its path from the root, and its lines. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
}

/** All files below these folders whose name ends with one of `endings`, in order of path. */
export function filesBelow(folders: readonly string[], endings: readonly string[]): SourceFile[] {
  const paths = folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true }).map((name) => join(folder, String(name))),
  );
  const chosen = paths.filter((path) => endings.some((ending) => path.endsWith(ending)));
  return chosen.sort().map(readSource);
}

/** One file by its path from the root. */
export function readSource(path: string): SourceFile {
  const text = readFileSync(join(ROOT, path), "utf8");
  return { path, text, lines: text.split("\n") };
}

/** One import or re-export of a TypeScript file. */
export interface Import {
  /** As written, e.g. "../base/ip.js" or "node:fs". */
  readonly target: string;
  /** Path from the root of the imported file, for relative targets. */
  readonly file: string | undefined;
  readonly isTypeOnly: boolean;
}

/** What a TypeScript file imports. */
export function importsOf(source: SourceFile): Import[] {
  const statements = source.text.matchAll(
    /^(?:import|export)\s+(type\s)?[^;"']*?\bfrom\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm,
  );
  return [...statements].map(([statement, type, from, bare, dynamic]) => {
    const target = (from ?? bare ?? dynamic)!;
    const isRelative = target.startsWith(".");
    const file = isRelative
      ? normalize(join(dirname(source.path), target)).replace(/\.js$/, ".ts")
      : undefined;
    return { target, file, isTypeOnly: type !== undefined || hasOnlyTypes(statement) };
  });
}

/** `import { type A, type B } from "..."`. */
function hasOnlyTypes(statement: string): boolean {
  const names = /\{([^}]*)\}/.exec(statement)?.[1];
  if (names === undefined) return false;
  const parts = names.split(",").map((part) => part.trim());
  return parts.every((part) => part === "" || part.startsWith("type "));
}
