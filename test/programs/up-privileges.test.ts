/** `ipref up` is judged by its capabilities, not by its user. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";

const IPREF = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");
const isRoot = process.geteuid?.() === 0;
const skip = isRoot ? false : "needs root: drops privileges";
const UPSTREAM = ["--upstream", "192.0.2.53"];

function up(privileges: readonly string[], args: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), "ipref-up-"));
  const folders = ["--run", join(folder, "run"), "--data", join(folder, "data")];
  const words = [...privileges, process.execPath, IPREF, "up", ...folders, ...UPSTREAM, ...args];
  const [command = "", ...rest] = words;
  try {
    return spawnSync(command, rest, { encoding: "utf8", timeout: 20_000 });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("root without capabilities is refused with what is missing", { skip }, () => {
  const { status, stderr } = up(["setpriv", "--bounding-set=-all", "--inh-caps=-all"], []);
  assert.equal(status, 77, stderr);
  assert.match(stderr, /needs root, or a service with CAP_NET_ADMIN and CAP_NET_BIND_SERVICE/);
});

test("a port that everybody may use needs no capability of its own", { skip }, () => {
  const port = ["--dns-port", "5353"];
  const { status, stderr } = up(["setpriv", "--bounding-set=-all", "--inh-caps=-all"], port);
  assert.equal(status, 77, stderr);
  assert.match(stderr, /or a service with CAP_NET_ADMIN: sudo/);
});

test("a test of the configuration needs no privilege", { skip }, () => {
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const { status, stdout, stderr } = up(nobody, ["--check"]);
  assert.equal(status, 0, stderr);
  assert.equal(stdout, "The configuration can be used\n");
});

test("a mistake in the configuration is told before a missing privilege", { skip }, () => {
  const { status } = up(["setpriv", "--bounding-set=-all", "--inh-caps=-all"], ["--bind", "x"]);
  assert.equal(status, 78);
});
