/** The log: spec/mapper.md 7.4. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { EVENT_LIST, LINES_PER_SECOND_MAX } from "../../src/base/event.js";
import { Log, type LogOptions } from "../../src/control/log.js";
import { formatRecord, parseJsonLine } from "../../src/control/log-format.js";

function makeLog(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const clock = { nowMs: 1_700_000_000_000 };
  const write = (line: string) => void lines.push(line);
  const log = new Log({ write, nowMs: () => clock.nowMs, ...options });
  return { log, lines, clock };
}

test("a line is a level letter, a blank and the text", () => {
  const { log, lines } = makeLog();
  log.info("START", "other");
  log.warning("hm", "other");
  log.error("no", "other");
  log.fatal("end");
  assert.deepEqual(lines, ["I START\n", "W hm\n", "E no\n", "F end\n"]);
});

test("line ends inside a text cannot forge a line", () => {
  const { log, lines } = makeLog();
  log.error("name a\nF end", "other");
  assert.deepEqual(lines, ["E name a F end\n"]);
});

test("time stamps are local time with microseconds", () => {
  const { log, lines, clock } = makeLog({ hasTimeStamps: true });
  clock.nowMs += 0.25;
  log.info("x", "other");
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

test("at most ten lines a second of one event, then a count", () => {
  const { log, lines, clock } = makeLog();
  for (let round = 0; round < 25; round++) {
    log.error(`bad message of client ${round}`, "mapper-client-fault");
  }
  assert.equal(lines.length, LINES_PER_SECOND_MAX);
  log.error("another event", "mapper-exhausted");
  assert.equal(lines.length, LINES_PER_SECOND_MAX + 1);
  clock.nowMs += 1000;
  log.flush();
  assert.equal(lines.at(-1), "W 15 more suppressed: mapper-client-fault\n");
  log.error("bad message of client 99", "mapper-client-fault");
  assert.equal(lines.at(-1), "E bad message of client 99\n");
});

test("a new window reports the old one's count without a flush", () => {
  const { log, lines, clock } = makeLog();
  for (let round = 0; round < 12; round++) log.warning("again and again", "hosts-unreadable");
  clock.nowMs += 1500;
  log.warning("again and again", "hosts-unreadable");
  assert.deepEqual(lines.slice(-2), [
    "W 2 more suppressed: hosts-unreadable\n",
    "W again and again\n",
  ]);
});

test("the last flush leaves nothing unsaid", () => {
  const { log, lines } = makeLog();
  for (let round = 0; round < 11; round++) log.warning("again and again", "hosts-unreadable");
  log.flush(true);
  assert.match(lines.at(-1)!, /^W 1 more suppressed/);
});

test("answers to a person are not limited, and everything is counted by level", () => {
  const { log, lines } = makeLog();
  for (let round = 0; round < 50; round++) log.info(`dropped something: ${round}`, "status");
  for (let round = 0; round < 12; round++) log.error("no", "mapper-quota");
  log.flush(true);
  assert.equal(lines.length, 50 + LINES_PER_SECOND_MAX + 1);
  const { lines: counts, suppressed } = log.counts();
  assert.deepEqual([counts.info, counts.error, counts.warning], [50, LINES_PER_SECOND_MAX, 1]);
  assert.equal(suppressed, 2);
});

test("lines for the journal begin with their priority and name the event", () => {
  const { log, lines } = makeLog({ format: "journal" });
  log.info("loaded", "hosts-loaded");
  log.warning("slow", "mapper-client-slow");
  log.error("no", "mapper-quota");
  log.fatal("end");
  assert.deepEqual(lines, [
    "<6>hosts-loaded: loaded\n",
    "<4>mapper-client-slow: slow\n",
    "<3>mapper-quota: no\n",
    "<2>fatal: end\n",
  ]);
});

test("lines of JSON carry time, level, event and text, and are read back", () => {
  const { log, lines } = makeLog({ format: "json" });
  log.warning('a "quoted"\nname', "mapper-conflict");
  assert.deepEqual(JSON.parse(lines[0]!), {
    time: "2023-11-14T22:13:20.000Z",
    level: "warning",
    event: "mapper-conflict",
    text: 'a "quoted"\nname',
  });
  const wanted = { level: "W", event: "mapper-conflict", text: 'a "quoted"\nname' };
  assert.deepEqual(parseJsonLine(lines[0]!), wanted);
  for (const other of ["I text", "{}", '{"time":', '{"time":1,"level":"warning"}']) {
    assert.equal(parseJsonLine(other), undefined, other);
  }
});

test("text of others cannot move the cursor or forge a line, in any form", () => {
  const text = "evil\u001b[2J\u009b31m\u202e\r\nF end\u0000";
  for (const format of ["text", "json", "journal"] as const) {
    const record = { level: "W", event: "mapper-conflict", text, timeMs: 0 } as const;
    const line = formatRecord(format, record);
    assert.match(line, /^[\x20-\x7e]+\n$/, format);
    assert.match(line, /evil\\u001b\[2J/, format);
  }
});

test("event names are unique, in kebab case, and explained", () => {
  const names = EVENT_LIST.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  for (const { name, meaning } of EVENT_LIST) {
    assert.match(name, /^[a-z]+(-[a-z]+)*$/);
    assert.match(meaning, /^[A-Z].*[^.]$/, name);
  }
});
