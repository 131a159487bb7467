/** Files of others: bounds, pipes, links. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readTrusted, replaceFile } from "../../src/programs/trusted-file.js";

const FOLDER = mkdtempSync(join(tmpdir(), "ipref-trusted-"));
after(() => rmSync(FOLDER, { recursive: true, force: true }));
const NOBODY = 65_534;

test("either end of a long file is read, and no more", () => {
  const path = join(FOLDER, "long");
  writeFileSync(path, `beginning ${"x".repeat(300_000)} end`);
  assert.match(readTrusted(path, 100_000, "head"), /^beginning x{99990}$/);
  assert.match(readTrusted(path, 100_000, "tail"), /^x{99996} end$/);
  assert.equal(readTrusted(path, 1_000_000, "tail"), readFileSync(path, "utf8"));
});

test("files of /proc, whose size is 0, are read; files without end up to the bound", () => {
  assert.equal(
    readTrusted("/proc/self/comm", 100, "tail"),
    readFileSync("/proc/self/comm", "utf8"),
  );
  assert.throws(() => readTrusted("/dev/zero", 100, "head"), /no regular file/);
});

test("a pipe without a writer holds nobody up", () => {
  const path = join(FOLDER, "pipe");
  assert.equal(spawnSync("mkfifo", [path]).status, 0);
  assert.throws(() => readTrusted(path, 100, "head"), /no regular file/);
  assert.throws(() => readTrusted(FOLDER, 100, "head"), /no regular file/);
});

test("a missing file is ENOENT, behind a link as well", () => {
  const missing = { code: "ENOENT" };
  assert.throws(() => readTrusted(join(FOLDER, "missing"), 100, "head"), missing);
  symlinkSync("nowhere", join(FOLDER, "dangling"));
  assert.throws(() => readTrusted(join(FOLDER, "dangling"), 100, "head"), missing);
});

test("a link of root's or the caller's is followed, one of another user is not", {
  skip: process.geteuid?.() !== 0 && "needs root",
}, () => {
  const theirs = join(FOLDER, "theirs");
  mkdirSync(theirs);
  chownSync(theirs, NOBODY, NOBODY);
  const secret = join(FOLDER, "secret");
  writeFileSync(secret, "only for root", { mode: 0o600 });
  const link = join(theirs, "Corefile");
  symlinkSync(secret, link);
  assert.equal(readTrusted(link, 100, "head"), "only for root");
  lchownSync(link, NOBODY, NOBODY);
  assert.throws(() => readTrusted(link, 100, "head"), /a link that belongs to user 65534/);
});

test("replacing a file writes through no link that lies in the way", () => {
  const path = join(FOLDER, "zone");
  const victim = join(FOLDER, "victim");
  writeFileSync(victim, "untouched");
  symlinkSync(victim, `${path}.new`);
  replaceFile(path, "first");
  assert.deepEqual([readTrusted(path), readTrusted(victim)], ["first", "untouched"]);
  symlinkSync(victim, `${path}.new`);
  replaceFile(path, "second", 0o600);
  assert.deepEqual([readTrusted(path), readTrusted(victim)], ["second", "untouched"]);
  assert.equal(statSync(path).mode & 0o777, 0o600);
});
