/** The command lines of ipref and ipref-gw as their users meet them. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const PROGRAMS = resolve(dirname(fileURLToPath(import.meta.url)), "../../src/programs");

function run(program: string, ...args: string[]) {
  const file = join(PROGRAMS, `${program}.js`);
  return spawnSync(process.execPath, [file, ...args], { encoding: "utf8", timeout: 20_000 });
}

test("ipref --help lists the commands", () => {
  const { status, stdout } = run("ipref", "--help");
  assert.equal(status, 0);
  for (const name of ["demo", "test", "vectors", "build", "gateway", "bench"]) {
    assert.match(stdout, new RegExp(`^  ${name}\\b`, "m"));
  }
});

test("ipref without arguments prints the same text", () => {
  const { status, stdout } = run("ipref");
  assert.equal(status, 0);
  assert.equal(stdout, run("ipref", "--help").stdout);
});

test("ipref --version prints the version of package.json", () => {
  assert.match(run("ipref", "--version").stdout, /^\d+\.\d+\.\d+\n$/);
});

test("an unknown command ends with status 2 and names the nearest one", () => {
  const { status, stderr } = run("ipref", "dmo");
  assert.equal(status, 2);
  assert.match(stderr, /unknown command 'dmo'\n\(Did you mean demo\?\)/);
});

test("an unknown option and a missing argument end with status 2", () => {
  assert.equal(run("ipref", "test", "--fast").status, 2);
  assert.equal(run("ipref", "vectors").status, 2);
  assert.equal(run("ipref", "demo", "--sites", "4-5-6").status, 2);
});

test("ipref vectors of a file that does not exist fails with a sentence", () => {
  const { status, stderr, stdout } = run("ipref", "vectors", "/nonexistent.json");
  assert.notEqual(status, 0);
  assert.match(stderr + stdout, /nonexistent\.json/);
  assert.doesNotMatch(stderr, /\n {4}at /);
});

test("ipref-gw -h prints the usage to standard output", () => {
  const { status, stdout } = run("ipref-gw", "-h");
  assert.equal(status, 0);
  assert.match(stdout, /^Usage: ipref-gw /);
});

test("ipref gateway passes its arguments on", () => {
  const { status, stdout } = run("ipref", "gateway", "-h");
  assert.equal(status, 0);
  assert.match(stdout, /^Usage: ipref-gw /);
  assert.equal(run("ipref", "gateway", "-gateway-port", "x", "-gateway", "::").status, 2);
});

test("ipref-gw with a bad flag ends with status 2 and one line for each mistake", () => {
  const { status, stderr } = run("ipref-gw", "-gateway", "192.0.2.1", "-gateway-port", "70000");
  assert.equal(status, 2);
  assert.match(stderr, /^Cannot use -gateway-port: found "70000", expected a whole number/m);
});

test("ipref-gw with too small an encode net ends with status 78", () => {
  const { status, stderr } = run("ipref-gw", "-gateway", "::", "-encode-net", "10.0.0.0/24");
  assert.equal(status, 78);
  assert.match(stderr, /too small; use a prefix of \/19 or shorter/);
});
