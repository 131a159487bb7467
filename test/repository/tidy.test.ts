/** Proportions and wording of the sources; an exception carries its reason. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { filesBelow, readSource, type SourceFile } from "./source-files.js";

const FUNCTION_LINES_MAX = 70;
const FILE_LINES_MAX = 500;
const LINE_COLUMNS_MAX = 100;

/** Functions longer than the rule, as "path: heading", with the reason. Never grows silently. */
const LONG_FUNCTIONS: Readonly<Record<string, string>> = {};

/** Files longer than the rule, with the reason. */
const LONG_FILES: Readonly<Record<string, string>> = {};

/** Words that have no place in a finished text. */
const UNFINISHED = /\b(TODO|FIXME|XXX|HACK|WIP)\b/;
/** Comments describe the code, not its making. */
const MAKING = /\b(issue|ticket|task) #?[0-9]+\b/i;

const CODE_FOLDERS = ["src", "test", "bench", "scripts"];
const code = filesBelow(CODE_FOLDERS, [".ts", ".js"]);
const isThisFile = ({ path }: SourceFile) => path.endsWith("repository/tidy.test.ts");
const texts = [
  ...code,
  ...filesBelow(["docs", "scripts"], [".md", ".sh"]),
  ...["README.md", "CHANGELOG.md", "NOTICE", "Makefile", "ipref", ".ci/run"].map(readSource),
].filter((source) => !isThisFile(source));

interface LongFunction {
  readonly place: string;
  readonly lines: number;
}

/**
 * Functions by indentation, which the formatter guarantees: a heading that ends with `{` belongs
 * to the next line of the same depth that begins with `}`.
 */
function functionLengths({ path, lines }: SourceFile): LongFunction[] {
  return lines.flatMap((line, index) => {
    if (!isFunctionHeading(lines, index)) return [];
    const indent = /^ */.exec(line)![0];
    const end = lines.findIndex(
      (later, at) =>
        at > index &&
        later.startsWith(`${indent}}`) &&
        !/^\s*\}\s*[,:]?\s*\w+.*[:=]\s*\{$/.test(later),
    );
    const lengthLines = (end < 0 ? lines.length : end) - index + 1;
    return [{ place: `${path}: ${line.trim()}`, lines: lengthLines }];
  });
}

const FUNCTION = /^\s*(export )?(default )?(async )?function\b/;
const ARROW = /=> \{$/;
const METHOD =
  /^\s+((static|async|override|private|protected|public|get|set) )*\*?#?[\w$]+(<.*>)?\(/;
const STATEMENT = /^\s*(if|for|while|switch|catch|return|await|throw|do|else|new|void|const)\b/;

function isFunctionHeading(lines: readonly string[], index: number): boolean {
  const line = lines[index]!;
  // A suite is a list of tests, each a function of its own.
  if (ARROW.test(line)) return !/^\s*(describe|suite)\b/.test(line) && !/^\s*\}, \(/.test(line);
  const isHeading = FUNCTION.test(line) || (METHOD.test(line) && !STATEMENT.test(line));
  if (!isHeading) return false;
  if (line.endsWith("{")) return true;
  const indent = /^ */.exec(line)![0];
  const close = lines.slice(index + 1, index + 16).find((later) => later.startsWith(`${indent})`));
  return line.endsWith("(") && close?.endsWith("{") === true;
}

test(`functions have at most ${FUNCTION_LINES_MAX} lines`, () => {
  const long = code
    .flatMap(functionLengths)
    .filter(({ place, lines }) => lines > FUNCTION_LINES_MAX && !(place in LONG_FUNCTIONS))
    .map(({ place, lines }) => `${place} has ${lines} lines`);
  assert.deepEqual(long, []);
});

test(`files have at most ${FILE_LINES_MAX} lines`, () => {
  const long = code
    .filter(({ path, lines }) => lines.length > FILE_LINES_MAX && !(path in LONG_FILES))
    .map(({ path, lines }) => `${path} has ${lines.length} lines`);
  assert.deepEqual(long, []);
});

test("exceptions to the proportions are still needed", () => {
  const places = new Set(code.flatMap(functionLengths).map(({ place }) => place));
  for (const place of Object.keys(LONG_FUNCTIONS)) assert.ok(places.has(place), place);
  for (const path of Object.keys(LONG_FILES)) {
    const file = code.find((source) => source.path === path);
    assert.ok(file !== undefined && file.lines.length > FILE_LINES_MAX, path);
  }
});

test(`lines have at most ${LINE_COLUMNS_MAX} columns`, () => {
  const wide = code.flatMap(({ path, lines }) =>
    lines.flatMap((line, index) =>
      [...line].length > LINE_COLUMNS_MAX && !isUnbreakable(line) ? [`${path}:${index + 1}`] : [],
    ),
  );
  assert.deepEqual(wide, []);
});

/** A string, a regular expression or an address that cannot be broken. */
function isUnbreakable(line: string): boolean {
  return /^\s*[\w$:.(]*\s*(["'`/]|\/\^).*$/.test(line) || /https?:\/\//.test(line);
}

test("texts are finished and describe the software", () => {
  const bad = texts.flatMap(({ path, lines }) =>
    lines.flatMap((line, index) =>
      UNFINISHED.test(line) || MAKING.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [],
    ),
  );
  assert.deepEqual(bad, []);
});

test("IPREF, the trademark, is written in capital letters", () => {
  const pages = texts.filter(({ path }) => path.endsWith(".md") || path === "NOTICE");
  for (const { path, lines } of pages) {
    for (const [index, line] of lines.entries()) {
      assert.doesNotMatch(line, /\bI(pref|PRef|PREf)\b/, `${path}:${index + 1}`);
    }
  }
});

test("every source file begins with a comment that says what it is", () => {
  for (const { path, lines } of code.filter(({ path }) => /^(src|scripts)\//.test(path))) {
    const first = lines[0]!.startsWith("#!") ? lines[1]! : lines[0]!;
    assert.match(first, /^\/[/*]/, `${path} has no header comment`);
  }
});
