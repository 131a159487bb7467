// The units as files: what systemd says of their sandbox, and that they fit the programs.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseGatewayFlags } from "../../src/control/gateway-flags.js";
import { parseAgentFlags } from "../../src/programs/agent-flags.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { parseDnsFlags } from "../../src/programs/dns-flags.js";
import { parseUpFlags } from "../../src/programs/up.js";

const FOLDER = join(repositoryRoot(), "packaging", "systemd");
const DEFAULTS = join(repositoryRoot(), "packaging", "debian");
const UNITS = readdirSync(FOLDER).filter((name) => name.endsWith(".service"));
/** Of systemd-analyze(1), in tenths: 2.0. */
const EXPOSURE_MAX = 20;
const hasSystemd = existsSync("/usr/bin/systemd-analyze");
const skip = hasSystemd ? false : "systemd-analyze is missing";

function valuesOf(unit: string, key: string): string[] {
  const lines = readFileSync(join(FOLDER, unit), "utf8").split("\n");
  return lines
    .filter((line) => line.startsWith(`${key}=`))
    .map((line) => line.slice(key.length + 1));
}

test("there is a unit for the whole and one for each part", () => {
  const names = ["ipref-dns-agent", "ipref-gateway", "ipref-resolver", "ipref"];
  assert.deepEqual(UNITS.sort(), names.map((name) => `${name}.service`).sort());
});

for (const unit of UNITS) {
  test(`${unit} is exposed to at most 2.0`, { skip }, () => {
    const { stdout, stderr, status } = spawnSync(
      "systemd-analyze",
      [
        ...["security", "--offline=true", "--no-pager", `--threshold=${EXPOSURE_MAX}`],
        join(FOLDER, unit),
      ],
      { encoding: "utf8" },
    );
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /Overall exposure level/);
  });

  test(`${unit} runs without root, tells systemd of itself and is watched`, () => {
    assert.deepEqual(valuesOf(unit, "User"), ["ipref"]);
    assert.deepEqual(valuesOf(unit, "Type"), ["notify"]);
    assert.deepEqual(valuesOf(unit, "NotifyAccess"), ["main"]);
    assert.equal(valuesOf(unit, "WatchdogSec").length, 1);
    assert.match(valuesOf(unit, "ExecReload")[0] ?? "", /-HUP \$MAINPID$/);
    const ambient = valuesOf(unit, "AmbientCapabilities")[0] ?? "";
    assert.equal(valuesOf(unit, "CapabilityBoundingSet")[0], ambient);
    for (const words of [...valuesOf(unit, "ExecStart"), ...valuesOf(unit, "ExecStartPre")]) {
      assert.doesNotMatch(words, /^[+!]/, "nothing runs with more than that");
    }
  });
}

/** Arguments of a unit's program, with the OPTIONS of its file in /etc/default. */
function argumentsOf(unit: string): string[] {
  const words = (valuesOf(unit, "ExecStart")[0] ?? "").split(" ").slice(1);
  const file = join(DEFAULTS, unit.replace(".service", ".default"));
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  const [, options = ""] = /^OPTIONS="?([^"\n]*)"?$/m.exec(text) ?? [];
  return words.flatMap((word) => (word === "$OPTIONS" ? options.split(" ").filter(Boolean) : word));
}

test("the programs take the arguments of their units", () => {
  assert.equal(parseGatewayFlags(argumentsOf("ipref-gateway.service")).kind, "settings");
  assert.equal(parseDnsFlags(argumentsOf("ipref-resolver.service")).kind, "run");
  assert.equal(parseAgentFlags(argumentsOf("ipref-dns-agent.service")).kind, "settings");
  const [word, ...args] = argumentsOf("ipref.service");
  assert.equal(word, "up");
  assert.equal(typeof parseUpFlags(args), "object");
});

test("the user and the folders are what systemd understands", { skip }, () => {
  const text = readFileSync(join(FOLDER, "ipref.sysusers"), "utf8");
  const dry = spawnSync("systemd-sysusers", ["--dry-run", "-"], { input: text, encoding: "utf8" });
  assert.equal(dry.status, 0, dry.stderr);
  const lines = readFileSync(join(FOLDER, "ipref.tmpfiles"), "utf8").split("\n");
  const folders = lines.filter((line) => line !== "" && !line.startsWith("#"));
  for (const line of folders)
    assert.match(line, /^d \/(run|var\/lib)\/ipref\S* 0[0-7]{3} ipref ipref -$/);
});
