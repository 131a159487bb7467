// Renderings: what a command prints, shown in a document between two marks. A test prints it anew
// and compares, so that the document stays true; with IPREF_WRITE_RENDERINGS=1 it writes instead.
//
//     <!-- rendering: status PART Dropped -->
//     ```console
//     $ ipref status
//     ...
//     ```
//     <!-- end -->
//
// The first word is the rendering's name; further words choose paragraphs by how they begin, and
// "..." stands for what is left out. Values that differ from run to run are masked before the
// comparison, and so are the widths of columns and the ends of lines, which depend on them.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";

export const IS_WRITING = process.env.IPREF_WRITE_RENDERINGS === "1";
const WIDTH_MAX = 100;
const BLOCK =
  /^<!-- rendering: ([\w-]+)((?: \w+)*) -->\n```console\n\$ ([^\n]*)\n([\s\S]*?)^```\n<!-- end -->$/gm;

/** One rendering in a document. */
export interface Rendering {
  readonly page: string;
  readonly name: string;
  /** Beginnings of the paragraphs to show; none for all. */
  readonly chosen: readonly string[];
  readonly command: string;
  readonly text: string;
}

/** What a name stands for. */
export interface Printed {
  readonly command: string;
  readonly output: string;
}

/** The renderings of a document, a path below the repository's root. */
export function renderingsOf(page: string): Rendering[] {
  const document = readFileSync(join(repositoryRoot(), page), "utf8");
  const marks = document.match(/^<!-- rendering: /gm)?.length ?? 0;
  const found = [...document.matchAll(BLOCK)].map(([, name, chosen, command, text]) => ({
    page,
    name: name!,
    chosen: chosen!.split(" ").filter(Boolean),
    command: command!,
    text: text!,
  }));
  assert.equal(found.length, marks, `${page}: a rendering is not a block of the form "console"`);
  return found;
}

/** Compares what a document shows with what was printed, or writes it into the document. */
export function checkRendering(shown: Rendering, { command, output }: Printed): void {
  const text = paragraphs(output, shown.chosen);
  for (const line of text.split("\n")) assert.ok(line.length <= WIDTH_MAX, line);
  if (IS_WRITING) return writeRendering(shown, command, text);
  const advice = `${shown.page}: ${shown.name} has changed; IPREF_WRITE_RENDERINGS=1 writes it`;
  assert.equal(shown.command, command, advice);
  assert.equal(masked(shown.text), masked(text), `${advice}\n${text}`);
}

function writeRendering({ page, name, chosen }: Rendering, command: string, text: string): void {
  const path = join(repositoryRoot(), page);
  const wanted = [name, ...chosen].join(" ");
  const document = readFileSync(path, "utf8").replace(BLOCK, (block, found, words) => {
    if (`${found}${words}` !== wanted) return block;
    const body = `\`\`\`console\n$ ${command}\n${plainMachine(text)}\`\`\``;
    return `<!-- rendering: ${wanted} -->\n${body}\n<!-- end -->`;
  });
  writeFileSync(path, document);
}

/** The paragraphs that begin with one of the words; "..." for those between. */
function paragraphs(output: string, chosen: readonly string[]): string {
  if (chosen.length === 0) return output;
  const all = output.trimEnd().split("\n\n");
  const unknown = chosen.filter((word) => !all.some((each) => each.startsWith(word)));
  assert.deepEqual(unknown, [], `no such paragraphs in\n${output}`);
  const kept = all.map((each) => (chosen.some((word) => each.startsWith(word)) ? each : "..."));
  const joined = kept.filter((each, index) => each !== "..." || kept[index - 1] !== "...");
  return `${joined.join("\n\n")}\n`;
}

/** Without what only the machine of the test run has. */
function plainMachine(text: string): string {
  return text.replace(/^(versions +PASS +Linux: ).*$/m, "$16.12.48");
}

/** Values that differ from run to run or from machine to machine, each with what stands for it. */
const VARYING: readonly (readonly [RegExp, string])[] = [
  [/^ +refused by the system .*\n/gm, ""],
  [/^( +offloads +).*$/gm, "$1LIST"],
  [/^(versions +PASS +Linux: ).*$/gm, "$1VERSION"],
  [/\b\d{4}-\d\d-\d\d \d\d:\d\d UTC/g, "TIME"],
  [/(?<= \+ )[\da-f]{1,4}(?:-[\da-f]{1,4})+\b/g, "REFERENCE"],
  [/\b10\.2[45]\d\.(?!0\.|9\.9\b)\d+\.\d+\b/g, "ENCODED"],
  [/((?:\d+\.){3}\d+):[3-6]\d{4}\b/g, "$1:PORT"],
  [/(?<![\d.])\d+\.\d+\.\d+(?![\d.]*\d)/g, "VERSION"],
  [/(healthy +)\d+/g, "$1PID"],
  [/process \d+/g, "process PID"],
  [/(?<![\d.])[\d.,]+(?: [kMGT])?b?\/s/g, "RATE"],
  [/(?<![\d.])[\d.,]+ [kMGT]?b\/s/g, "RATE"],
  [/(?<![\d.])[\d.,]+ [kMGT]?B\b/g, "SIZE"],
  [/\bnow\b|(?<![\d.])\d+ (?:s|min|h)(?: \d+ (?:s|min))? ago/g, "AGO"],
  [/(?<![\d.])[\d.]+ ms\b/g, "SPAN"],
  [/(?<![\d.])[\d.]+ (?:s|min|h)\b(?: \d+ (?:s|min)\b)?/g, "SPAN"],
  [/\d+ lanes?/g, "LANES"],
  [/\d+ entr(?:y|ies)/g, "ENTRIES"],
  [/(Dropped packets: )[\d,]+/g, "$1COUNT"],
  [/^( *[a-z]+(?:-[a-z]+)+ +)[\d,]+( +RATE)$/gm, "$1COUNT$2"],
  [/^( +(?:to|from) tunnel +)[\d,]+( +SIZE +)[\d,]+/gm, "$1COUNT$2COUNT"],
  [/estimated from [\d,]+ packets?/g, "estimated from COUNT packets"],
];

/** The text with all varying values masked and every gap one blank wide. */
export function masked(text: string): string {
  const values = VARYING.reduce((rest, [value, mask]) => rest.replace(value, mask), text);
  return values.replace(/\s+/g, " ").trim();
}
