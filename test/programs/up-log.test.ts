/** The log of `ipref up`: lines of the parts in one form. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogFormat } from "../../src/control/log-format.js";
import { UpLog } from "../../src/programs/up-log.js";

const RECORD =
  '{"time":"2026-01-01T00:00:00.000Z","level":"warning","event":"mapper-conflict","text":"two"}';

function makeLog(format: LogFormat) {
  const lines: string[] = [];
  const clock = { nowMs: 0 };
  const write = (line: string) => void lines.push(line);
  const log = new UpLog({ format, write, nowMs: () => clock.nowMs });
  return { log, lines, clock };
}

test("text shows the lines of the parts as they are, behind their names", () => {
  const { log, lines } = makeLog("text");
  log.part("gateway", "I tun device ipref0");
  log.part("resolver", "[INFO] Listening on 0.0.0.0:53");
  log.say("Reload complete", "reload");
  assert.deepEqual(lines, [
    "gateway  | I tun device ipref0\n",
    "resolver | [INFO] Listening on 0.0.0.0:53\n",
    "ipref    | Reload complete\n",
  ]);
  assert.deepEqual(log.partFlags, ["-log-format", "text"]);
});

test("JSON carries part, level, event and text of the part's own line", () => {
  const { log, lines } = makeLog("json");
  log.part("gateway", RECORD);
  log.say("The agent ended", "part-ended", "E");
  const [first, second] = lines.map((line) => JSON.parse(line) as Record<string, string>);
  const { time, ...rest } = first!;
  assert.equal(time, "1970-01-01T00:00:00.000Z");
  const wanted = { part: "gateway", level: "warning", event: "mapper-conflict", text: "two" };
  assert.deepEqual(rest, wanted);
  assert.deepEqual([second!.part, second!.level, second!.event], ["up", "error", "part-ended"]);
  assert.deepEqual(log.partFlags, ["-log-format", "json"]);
});

test("the journal's form names part and event", () => {
  const { log, lines } = makeLog("journal");
  log.part("gateway", RECORD);
  assert.deepEqual(lines, ["<4>gateway: mapper-conflict: two\n"]);
});

test("what a part writes beside its log is kept, cut, escaped and limited", () => {
  for (const format of ["json", "journal", "text"] as const) {
    const { log, lines } = makeLog(format);
    log.part("agent", `Error: \u001b[31m${"x".repeat(100_000)}`);
    assert.equal(lines.length, 1);
    assert.ok(lines[0]!.length < 20_000, format);
    assert.match(lines[0]!, /^[\x20-\x7e]+\n$/, format);
    for (let index = 0; index < 1000; index++) log.part("agent", `at line ${index}`);
    log.end();
    assert.ok(lines.length <= 202, `${format}: ${lines.length}`);
    assert.match(lines.at(-1)!, /801 more suppressed: part-output/);
  }
});

test("a forged record of a part stays a line", () => {
  const { log, lines } = makeLog("journal");
  log.part("agent", '{"time":"x","level":"fatal\\n<0>","event":"a\\nb","text":"c\\n<0>d"}');
  log.part("agent", '{"time":"x","level":"info","event":"a\\nb","text":"c\\n<0>d"}');
  assert.equal(lines.length, 2);
  for (const line of lines) assert.match(line, /^<[0-7]>agent: [\x20-\x7e]+\n$/);
});
