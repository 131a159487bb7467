// The manual pages: made from Markdown and the programs, and read by man(1) without a warning.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, before, describe, it, test } from "node:test";
import { SETTINGS } from "../../src/control/config/settings.js";
import { FLAGS } from "../../src/control/gateway-flags.js";
import { COMMANDS } from "../../src/programs/commands.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { MarkdownRefused, manualPage, roffText } from "../../src/programs/manual/roff.js";

const HEAD = { name: "x", section: 8, date: "2026-01-31", source: "test" };

function whyNo(program: string): string | false {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const has = folders.some((folder) => existsSync(join(folder, program)));
  return has ? false : `${program} is missing`;
}

test("text keeps what groff would take for itself", () => {
  assert.equal(roffText("a\\b 'c' ~/.x"), "a\\eb \\(aqc\\(aq \\(ti/.x");
  assert.equal(roffText(".so x"), "\\&.so x");
  assert.equal(roffText("'no request"), "\\(aqno request");
  assert.equal(
    roffText("`--x` **-y** *z-a* in-line"),
    "\\fB\\-\\-x\\fR \\fB\\-y\\fR \\fIz\\-a\\fR in-line",
  );
});

test("each kind of block becomes its macro", () => {
  const markdown =
    "# NAME\nx - y\nz\n\nmore\n\n## Part\n- one\n  more\n- two\n\n`-f`\n: Meaning\n  of f.\n\n```\n.code\n```\n";
  const lines = manualPage(HEAD, markdown).split("\n").slice(4, -1);
  assert.deepEqual(lines, [
    ...['.SH "NAME"', "x - y z", ".PP", "more", '.SS "Part"'],
    ...[".IP \\(bu 2", "one more", ".IP \\(bu 2", "two"],
    ...[".TP", "\\fB\\-f\\fR", "Meaning of f."],
    ...[".sp", ".RS 4", ".nf", "\\&.code", ".fi", ".RE"],
  ]);
});

test("long text is cut between words, and no line of it is a request", () => {
  const text = `${"word ".repeat(30)}.so ${"word ".repeat(30)}end`;
  const lines = manualPage(HEAD, text).split("\n").slice(5, -1);
  assert.equal(lines.join(" ").replaceAll("\\&", ""), text);
  for (const line of lines) assert.ok(line.length <= 80 && !line.startsWith("."), line);
});

test("Markdown that a manual page cannot show is refused with its line", () => {
  for (const line of ["| a | b |", "### deep", "1. first", "> quote", "<!-- options -->"]) {
    assert.throws(
      () => manualPage(HEAD, `# NAME\n${line}\n`),
      (error: Error) => {
        return error instanceof MarkdownRefused && error.message.startsWith("Line 2: ");
      },
    );
  }
  assert.throws(() => manualPage(HEAD, "```\nopen"), /^MarkdownRefused: Line 1: a block without/);
});

describe("the manual pages of the package", () => {
  let folder: string;
  const textOf = (file: string): string =>
    readFileSync(join(folder, file), "utf8").replaceAll("\\-", "-").replaceAll("\\fB", "");

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "ipref-man-"));
    const script = join(repositoryRoot(), "scripts", "write-man.js");
    const { stderr } = spawnSync(process.execPath, [script, folder], { encoding: "utf8" });
    assert.equal(stderr, "");
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("has one for each command, with each of its options", async () => {
    const index = textOf("ipref.8");
    for (const { name, load } of COMMANDS) {
      assert.ok(index.includes(`ipref-${name}\\fR(8)`), `${name} in ipref(8)`);
      const text = textOf(`ipref-${name}.8`);
      const command = (await load()).define();
      for (const { options } of [command, ...command.commands]) {
        for (const { long } of options) assert.ok(text.includes(`${long}\\fR`), `${name} ${long}`);
      }
    }
  });

  it("tells every flag of the gateway and every setting", () => {
    const gateway = textOf("ipref-gw.8");
    for (const { name } of FLAGS) assert.ok(gateway.includes(`-${name}\\fR`), name);
    const file = textOf("ipref.toml.5");
    for (const { key } of SETTINGS) assert.ok(file.includes(`${key}\\fR = `), key);
  });

  it("is formatted without a warning", { skip: whyNo("man") }, () => {
    for (const file of readdirSync(folder)) {
      const { stdout, stderr, status } = spawnSync(
        "man",
        ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", join(folder, file)],
        { encoding: "utf8", env: { ...process.env, LC_ALL: "C.UTF-8", MANWIDTH: "80" } },
      );
      assert.equal(status, 0, file);
      assert.equal(stderr, "", file);
      assert.ok(stdout.length > 1000, `${file} is nearly empty`);
    }
  });

  it("is found by whatis", { skip: whyNo("lexgrog") }, () => {
    for (const file of readdirSync(folder)) {
      const { stdout } = spawnSync("lexgrog", [join(folder, file)], { encoding: "utf8" });
      assert.match(stdout, new RegExp(`"${file.slice(0, -2).replace(".", "\\.")} - .+"`));
    }
  });

  it("is taken by mandoc", { skip: whyNo("mandoc") }, () => {
    const files = readdirSync(folder).map((file) => join(folder, file));
    const { stdout } = spawnSync("mandoc", ["-T", "lint", ...files], {
      encoding: "utf8",
    });
    assert.equal(stdout, "");
  });
});
