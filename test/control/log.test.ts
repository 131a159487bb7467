/** The log: spec/mapper.md 7.4. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LINES_PER_SECOND_MAX, Log, type LogOptions } from "../../src/control/log.js";

function makeLog(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const clock = { nowMs: 1_700_000_000_000 };
  const write = (line: string) => void lines.push(line);
  const log = new Log({ write, nowMs: () => clock.nowMs, ...options });
  return { log, lines, clock };
}

test("a line is a level letter, a blank and the text", () => {
  const { log, lines } = makeLog();
  log.info("START");
  log.warning("hm");
  log.error("no");
  log.fatal("end");
  assert.deepEqual(lines, ["I START\n", "W hm\n", "E no\n", "F end\n"]);
});

test("line ends inside a text cannot forge a line", () => {
  const { log, lines } = makeLog();
  log.error("name a\nF end");
  assert.deepEqual(lines, ["E name a F end\n"]);
});

test("time stamps are local time with microseconds", () => {
  const { log, lines, clock } = makeLog({ hasTimeStamps: true });
  clock.nowMs += 0.25;
  log.info("x");
  assert.match(lines[0]!, /^\d\d:\d\d:\d\d\.\d{6} I x\n$/);
});

test("debug lines appear for named modules only and tell file and line", () => {
  const { log, lines } = makeLog({ debugModules: ["mapper"] });
  log.debug("db", "no");
  log.tick("mapper", "no tick");
  log.debug("mapper", "yes");
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /^D log\.test\.[jt]s\(\d+\): yes\n$/);
});

test("all means all modules, and ticks need their own flag", () => {
  const { log, lines } = makeLog({ debugModules: ["all"], hasTicks: true });
  log.debug("db", "a");
  log.tick("timer", "b");
  assert.equal(lines.length, 2);
});

test("trace lines need the flag", () => {
  const silent = makeLog();
  silent.log.trace("x");
  assert.deepEqual(silent.lines, []);
  const shown = makeLog({ isTraced: true });
  shown.log.trace("x");
  assert.deepEqual(shown.lines, ["T x\n"]);
});

test("at most ten lines a second of one kind, then a count", () => {
  const { log, lines, clock } = makeLog();
  for (let round = 0; round < 25; round++) log.error(`bad message of client ${round}`);
  assert.equal(lines.length, LINES_PER_SECOND_MAX);
  log.error("another kind");
  assert.equal(lines.length, LINES_PER_SECOND_MAX + 1);
  clock.nowMs += 1000;
  log.flush();
  assert.equal(lines.at(-1), "E 15 more suppressed: bad message of client\n");
  log.error("bad message of client 99");
  assert.equal(lines.at(-1), "E bad message of client 99\n");
});

test("a new window reports the old one's count without a flush", () => {
  const { log, lines, clock } = makeLog();
  for (let round = 0; round < 12; round++) log.warning("again and again");
  clock.nowMs += 1500;
  log.warning("again and again");
  assert.deepEqual(lines.slice(-2), [
    "W 2 more suppressed: again and again\n",
    "W again and again\n",
  ]);
});

test("the last flush leaves nothing unsaid", () => {
  const { log, lines } = makeLog();
  for (let round = 0; round < 11; round++) log.warning("again and again");
  log.flush(true);
  assert.match(lines.at(-1)!, /^W 1 more suppressed/);
});
