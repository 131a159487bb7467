import assert from "node:assert/strict";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FileWatch, type WatchTimings } from "../../src/platform/file-watch.js";

const root = mkdtempSync(join(tmpdir(), "ipref-watch-"));
const SHORT: WatchTimings = { debounceMs: 40, ceilingMs: 400, pollMs: 60 };
const NO_POLL: WatchTimings = { ...SHORT, pollMs: 1_000_000 };
let nextDirectory = 0;

after(() => rmSync(root, { recursive: true, force: true }));

function newDirectory(): string {
  const directory = join(root, `d${nextDirectory++}`);
  mkdirSync(directory);
  return directory;
}

/** Text of the file, or "absent". */
function content(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "absent";
  }
}

/** Watches and notes what the file held at each callback. */
function observe(path: string, timings: WatchTimings): { watch: FileWatch; seen: string[] } {
  const seen: string[] = [];
  const watch = new FileWatch(path, () => seen.push(content(path)), timings);
  return { watch, seen };
}

test("a write, a rename over it, a deletion and a new file are each reported once", async () => {
  const path = join(newDirectory(), "hosts");
  writeFileSync(path, "one");
  const { watch, seen } = observe(path, NO_POLL);
  await sleep(100);
  assert.deepEqual(seen, []);
  writeFileSync(path, "two");
  await sleep(150);
  writeFileSync(`${path}.new`, "three");
  renameSync(`${path}.new`, path);
  await sleep(150);
  rmSync(path);
  await sleep(150);
  writeFileSync(path, "four");
  await sleep(150);
  renameSync(path, `${path}.old`);
  writeFileSync(path, "five");
  await sleep(150);
  watch.close();
  assert.deepEqual(seen, ["two", "three", "absent", "four", "five"]);
});

test("other files of the directory are not reported", async () => {
  const directory = newDirectory();
  writeFileSync(join(directory, "hosts"), "one");
  const { watch, seen } = observe(join(directory, "hosts"), SHORT);
  writeFileSync(join(directory, "hosts2"), "noise");
  await sleep(200);
  watch.close();
  assert.deepEqual(seen, []);
});

test("changes that do not stop are reported at the ceiling", async () => {
  const path = join(newDirectory(), "hosts");
  writeFileSync(path, "");
  const { watch, seen } = observe(path, { debounceMs: 200, ceilingMs: 300, pollMs: 1_000_000 });
  for (let count = 0; count < 25; count++) {
    appendFileSync(path, "x");
    await sleep(20);
  }
  const duringWrites = seen.length;
  await sleep(400);
  watch.close();
  assert.ok(duringWrites >= 1 && duringWrites <= 3, `${duringWrites} reports`);
  assert.equal(seen.at(-1), "x".repeat(25));
});

test("a parent directory that is made later, and made again, is watched", async () => {
  const directory = join(newDirectory(), "etc");
  const path = join(directory, "hosts");
  const { watch, seen } = observe(path, SHORT);
  await sleep(100);
  mkdirSync(directory);
  writeFileSync(path, "first");
  await sleep(250);
  rmSync(directory, { recursive: true });
  await sleep(250);
  mkdirSync(directory);
  writeFileSync(path, "second");
  await sleep(250);
  watch.close();
  assert.deepEqual(seen, ["first", "absent", "second"]);
});

test("a symbolic link's target that changes elsewhere is found by the poll", async () => {
  const directory = newDirectory();
  const target = join(newDirectory(), "target");
  writeFileSync(target, "one");
  symlinkSync(target, join(directory, "hosts"));
  const { watch, seen } = observe(join(directory, "hosts"), SHORT);
  writeFileSync(target, "another");
  await sleep(250);
  watch.close();
  assert.deepEqual(seen, ["another"]);
});

test("close() ends the watch while a report is pending", async () => {
  const path = join(newDirectory(), "hosts");
  const { watch, seen } = observe(path, SHORT);
  writeFileSync(path, "one");
  await sleep(10);
  watch.close();
  await sleep(150);
  assert.deepEqual(seen, []);
});
