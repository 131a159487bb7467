/** Which form a log has: by the descriptor, and by $JOURNAL_STREAM (systemd.exec(5)). */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isJournal } from "../../src/platform/log-stream.js";
import { ROOT } from "../repository/source-files.js";

/** Runs a program with standard error in a file; `journal` names that file as the journal. */
function run(program: string, args: readonly string[], journal: boolean): string {
  const folder = mkdtempSync(join(tmpdir(), "ipref-log-"));
  const path = join(folder, "log");
  const fd = openSync(path, "w");
  const { dev, ino } = fstatSync(fd);
  const stream = journal ? `${dev}:${ino}` : `${dev}:${ino + 1}`;
  const file = join(ROOT, "dist/src/programs", program);
  spawnSync(process.execPath, [file, ...args], {
    stdio: ["ignore", fd, fd],
    env: { ...process.env, JOURNAL_STREAM: stream },
    timeout: 20_000,
  });
  closeSync(fd);
  const text = readFileSync(path, "utf8");
  rmSync(folder, { recursive: true });
  return text;
}

/** The agent ends at once: its key file is missing. */
const AGENT = ["-tsig-key", "/nonexistent/key", "internal:example.com:192.0.2.1"];

test("$JOURNAL_STREAM decides by device and inode", () => {
  const { dev, ino } = fstatSync(2);
  assert.equal(isJournal(2, { JOURNAL_STREAM: `${dev}:${ino}` }), true);
  assert.equal(isJournal(2, { JOURNAL_STREAM: `${dev}:${ino + 1}` }), false);
  for (const stream of [undefined, "", "1", "a:b", `${dev}:${ino}:1`]) {
    assert.equal(isJournal(2, { JOURNAL_STREAM: stream }), false, stream);
  }
  assert.equal(isJournal(99_999, { JOURNAL_STREAM: "1:2" }), false, "no such descriptor");
});

test("a program writes for the journal when it leads there, and text otherwise", () => {
  const journal = run("ipref-dns-agent.js", AGENT, true).trimEnd().split("\n");
  assert.equal(journal[0], "<6>start: starting dns-agent");
  assert.match(journal.at(-1)!, /^<2>fatal: cannot read the key file \/nonexistent\/key: ENOENT$/);
  const text = run("ipref-dns-agent.js", AGENT, false).trimEnd().split("\n");
  assert.equal(text[0], "I starting dns-agent");
  assert.match(text.at(-1)!, /^F cannot read the key file/);
});

test("the flag goes before what the descriptor says", () => {
  const lines = run("ipref-dns-agent.js", ["-log-format", "json", ...AGENT], true);
  for (const line of lines.trimEnd().split("\n")) {
    const { time, level, event, text } = JSON.parse(line) as Record<string, string>;
    assert.match(time!, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.ok(level && event && text, line);
  }
  assert.match(run("ipref-dns-agent.js", ["-log-format", "text", ...AGENT], true), /^I starting/);
});

test("an unknown form is refused with those there are", () => {
  const gateway = run("ipref-gw.js", ["-gateway", "192.0.2.1", "-log-format", "xml"], false);
  assert.match(gateway, /-log-format: found "xml", expected auto or text or json or journal/);
  assert.match(run("ipref-dns-agent.js", ["-log-format", "xml"], false), /expected auto, text/);
  assert.match(run("ipref-coredns.js", ["-log-format", "xml"], false), /expected auto, text/);
});
