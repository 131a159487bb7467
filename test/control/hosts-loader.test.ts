/** Loading of the hosts file: spec/mapper.md 5.4. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { HostsLoader, type HostsMachine } from "../../src/control/hosts-loader.js";
import { Log } from "../../src/control/log.js";
import type { FileText } from "../../src/control/ports.js";
import type { Complaint, HostsRecord } from "../../src/mapper/hosts-file.js";

function makeStage(refused: readonly Complaint[] = []) {
  const stage = {
    file: { kind: "missing" } as FileText,
    installs: [] as (readonly HostsRecord[])[],
    lines: [] as string[],
    timers: new Set<() => void>(),
    change: () => {},
  };
  const machine: HostsMachine = {
    readText: () => stage.file,
    watchFile: (_path, onChange) => {
      stage.change = onChange;
      return { close: () => {} };
    },
    every: (_ms, work) => {
      stage.timers.add(work);
      return { close: () => void stage.timers.delete(work) };
    },
  };
  const target = {
    installHosts: (_path: string, records: readonly HostsRecord[]) => {
      stage.installs.push(records);
      return refused;
    },
  };
  const log = new Log({ write: (line) => void stage.lines.push(line), nowMs: () => 0 });
  return { stage, loader: new HostsLoader("/etc/hosts", target, machine, log) };
}

const GOOD = "1.2.3.4 a #= pub + 5\n";

test("a missing file at start is a warning, and its appearance is a load", () => {
  const { stage, loader } = makeStage();
  loader.start();
  assert.match(stage.lines[0]!, /^W hosts file \/etc\/hosts does not exist; no records yet/);
  assert.equal(stage.installs.length, 0);
  stage.file = { kind: "text", text: GOOD };
  stage.change();
  assert.equal(stage.installs.length, 1);
  assert.equal(stage.installs[0]!.length, 1);
  assert.match(stage.lines[1]!, /^I loaded 1 records of \/etc\/hosts/);
});

test("a file that goes away keeps its last records", () => {
  const { stage, loader } = makeStage();
  stage.file = { kind: "text", text: GOOD };
  loader.start();
  stage.file = { kind: "missing" };
  stage.change();
  assert.equal(stage.installs.length, 1);
  assert.match(stage.lines.at(-1)!, /does not exist; its last records stay in force/);
});

test("an unreadable file is tried again until it can be read", () => {
  const { stage, loader } = makeStage();
  stage.file = { kind: "unreadable", reason: "EACCES" };
  loader.start();
  assert.equal(stage.timers.size, 1);
  stage.file = { kind: "text", text: GOOD };
  for (const work of [...stage.timers]) work();
  assert.equal(stage.timers.size, 0);
  assert.equal(stage.installs.length, 1);
  loader.close();
});

test("complaints of both stages name file and line, in order of lines", () => {
  const late = { line: 3, found: "reference 4096", wanted: "a second byte below 16" };
  const { stage, loader } = makeStage([late]);
  stage.file = { kind: "text", text: `${GOOD}1.2.3.5 b #= nonsense\n1.2.3.6 c #= pub + 4096\n` };
  loader.start();
  assert.match(stage.lines[0]!, /^E \/etc\/hosts:2:\d+: found nonsense, wanted one of pub, /);
  assert.equal(
    stage.lines[1],
    "E /etc/hosts:3: found reference 4096, wanted a second byte below 16\n",
  );
  assert.match(stage.lines[2]!, /^I loaded 1 records/);
});
