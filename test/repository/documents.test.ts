/** Documents agree with the repository: links, commands, generated pages. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { filesBelow, ROOT, readSource } from "./source-files.js";

const pages = [
  ...filesBelow(["docs"], [".md"]),
  readSource("README.md"),
  readSource("CHANGELOG.md"),
];
const readme = readSource("README.md");

/** Commands of the README's code blocks, without sudo. */
function readmeCommands(): string[] {
  const blocks = [...readme.text.matchAll(/^```(?:sh|console)?\n(.*?)^```/gms)];
  const lines = blocks.flatMap(([, block]) => block!.split("\n"));
  return lines.map((line) => line.replace(/^\s*(\$ )?(sudo )?/, "").replace(/\s+#.*$/, ""));
}

test("links between documents lead to files", () => {
  for (const { path, text } of pages) {
    for (const [, target] of text.matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      assert.ok(existsSync(join(ROOT, dirname(path), target!)), `${path}: no ${target}`);
    }
  }
});

test("source files named in documents exist", () => {
  for (const { path, text } of pages) {
    for (const [, file] of text.matchAll(/`((?:src|test|bench|scripts|docs)\/[\w./-]+\.\w+)`/g)) {
      assert.ok(existsSync(join(ROOT, file!)), `${path}: no ${file}`);
    }
  }
});

test("docs/DROP-REASONS.md names every drop reason", () => {
  const script = join(ROOT, "scripts/write-drop-reasons.js");
  const result = spawnSync(process.execPath, [script, "--check"], { encoding: "utf8" });
  assert.equal(result.status, 0, result.stderr);
});

test("./ipref commands of the README exist", () => {
  const program = join(ROOT, "dist/src/programs/ipref.js");
  const used = readmeCommands().flatMap((line) => /^\.\/ipref (\w+)/.exec(line)?.[1] ?? []);
  assert.ok(used.includes("demo") && used.includes("test"), "README shows demo and test");
  const help = spawnSync(process.execPath, [program, "--help"], { encoding: "utf8" });
  assert.equal(help.status, 0, help.stderr);
  for (const name of used) assert.match(help.stdout, new RegExp(`^  ${name}\\b`, "m"), name);
});

test("npm scripts and make targets of the README exist", () => {
  const { scripts } = JSON.parse(readSource("package.json").text) as {
    scripts: Record<string, string>;
  };
  const makefile = readSource("Makefile").text;
  for (const line of readmeCommands()) {
    const script = /^npm run ([\w:-]+)/.exec(line)?.[1];
    if (script !== undefined) assert.ok(script in scripts, line);
    const target = /^make ([a-z]\w*)\b(?!=)/.exec(line)?.[1];
    if (target !== undefined) assert.match(makefile, new RegExp(`^${target}:`, "m"), line);
  }
});

test("gateway flags of the README exist", () => {
  const program = join(ROOT, "dist/src/programs/ipref-gw.js");
  const usage = spawnSync(process.execPath, [program, "-h"], { encoding: "utf8" });
  assert.equal(usage.status, 0, usage.stderr);
  const flags = [
    ...readme.text.matchAll(
      /(?<=[\s`])-(gateway[\w-]*|encode-net|hosts|data|mapper-socket|dec-ttl|debug|trace)\b/g,
    ),
  ];
  assert.ok(flags.length > 3);
  for (const [, flag] of flags) assert.match(usage.stdout, new RegExp(`^  -${flag} `, "m"), flag);
});

test("the licence is the GNU General Public License, version 2, in full", () => {
  const { text } = readSource("LICENSE");
  assert.match(text, /GNU GENERAL PUBLIC LICENSE\s+Version 2, June 1991/);
  assert.match(text, /END OF TERMS AND CONDITIONS/);
  const notice = readSource("NOTICE").text;
  for (const wanted of ["US 10,749,840", "US 11,277,378", "GPL-2.0-or-later", "trademark"]) {
    assert.ok(notice.includes(wanted), `NOTICE lacks ${wanted}`);
  }
});
