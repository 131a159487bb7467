/** ipref doctor: command line, time limits, documentation. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Finding } from "../../src/control/doctor/finding.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { type Check, runChecks } from "../../src/programs/doctor/check.js";
import { CHECKS } from "../../src/programs/doctor/checks.js";
import { type DoctorContext, restartOfUp } from "../../src/programs/doctor/context.js";
import { define } from "../../src/programs/doctor/doctor.js";

const IPREF = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");
const folder = mkdtempSync(join(tmpdir(), "ipref-doctor-"));
after(() => rmSync(folder, { recursive: true }));

function doctor(...words: string[]) {
  const args = [IPREF, "doctor", ...words];
  return spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
}

test("names, addresses and options that do not exist are refused with status 2", () => {
  const check = doctor("--only", "forwardin");
  assert.equal(check.status, 2);
  assert.match(
    check.stderr,
    /--only forwardin: there is no such check; did you mean 'forwarding'\?/,
  );
  assert.match(doctor("--only", "zzz").stderr, /expected some of privileges, tun-device, /);
  const peer = doctor("--peer", "gw.example.com");
  assert.equal(peer.status, 2);
  assert.match(peer.stderr, /Cannot use --peer gw\.example\.com: expected an IP address/);
  const option = doctor("--jsn");
  assert.equal(option.status, 2);
  assert.match(option.stderr, /--json/);
  assert.equal(doctor("now").status, 2);
});

test("a configuration with a mistake ends with status 78 and its place", () => {
  const path = join(folder, "bad.toml");
  writeFileSync(path, '[gateway]\nencode-net = "10.240.0.0/30"\n');
  const result = doctor("--config", path);
  assert.equal(result.status, 78);
  assert.match(result.stderr, /bad\.toml:2:1: .*expected a prefix with 13 host bits or more/);
  assert.equal(doctor("--config", join(folder, "none.toml")).status, 78);
});

test("--list prints every check with what it looks at", () => {
  const { status, stdout } = doctor("--list");
  assert.equal(status, 0);
  const names = stdout
    .trim()
    .split("\n")
    .map((line) => line.split(" ")[0]);
  assert.deepEqual(
    names,
    CHECKS.map(({ id }) => id),
  );
  assert.equal(new Set(names).size, names.length);
});

test("findings are JSON for programs, and whatever complains has a fix", () => {
  const { status, stdout, stderr } = doctor("--json", "--quick", "--run", folder);
  assert.equal(stderr, "");
  const { verdict, findings } = JSON.parse(stdout) as { verdict: string; findings: Finding[] };
  assert.equal(status, verdict === "FAIL" ? 3 : 0);
  const quick = CHECKS.filter(({ isQuick }) => isQuick).map(({ id }) => id);
  assert.ok(findings.every(({ check }) => quick.includes(check)));
  assert.ok(findings.some(({ check }) => check === "versions"));
  for (const { verdict: each, fixes } of findings) {
    assert.equal(each === "FAIL" || each === "WARN", fixes.length > 0);
  }
});

test("a table without a terminal has no colours and a last line that counts", () => {
  const { stdout } = doctor("--only", "versions,clock", "--run", folder);
  assert.doesNotMatch(stdout.replaceAll("\n", ""), /\p{Cc}/u);
  assert.match(stdout, /^versions {2}PASS {2}Node\.js: /);
  assert.match(stdout, /\n\n\d+ passed, \d+ warnings, \d+ failed, \d+ left out.*\n$/);
});

function checkOf(id: string, examine: Check["examine"], timeoutMs = 5000): Check {
  return { id, looksAt: "something", isQuick: true, timeoutMs, examine };
}

test("a check that hangs or fails hinders no other", async () => {
  const fine: Finding = { check: "b", subject: "x", verdict: "PASS", evidence: "y", fixes: [] };
  const checks = [
    checkOf("a", () => new Promise(() => {}), 50),
    checkOf("b", async () => [fine]),
    checkOf("c", async () => {
      throw new Error("no such thing");
    }),
    checkOf("d", () => new Promise(() => {})),
  ];
  const startedMs = performance.now();
  const findings = await runChecks(checks, {} as DoctorContext, 100);
  assert.ok(performance.now() - startedMs < 2000);
  assert.deepEqual(
    findings.map(({ check, verdict, evidence }) => `${check} ${verdict} ${evidence}`),
    [
      "a SKIP no result within 0.05 s",
      "b PASS y",
      "c SKIP cannot be examined: no such thing",
      "d SKIP no result within 0.1 s",
    ],
  );
});

test("a system is started anew with the words that it was started with", () => {
  const words = ["--run", "/run/my ipref", "--dns", "resolvectl", "--data=/srv/x", "--check"];
  assert.equal(
    restartOfUp("ipref", words),
    "ipref down --run '/run/my ipref' --data=/srv/x; " +
      "ipref up --run '/run/my ipref' --dns resolvectl --data=/srv/x --check",
  );
  assert.equal(restartOfUp("./ipref", []), "./ipref down; ./ipref up");
});

test("docs/TROUBLESHOOTING.md describes every check and every option", () => {
  const text = readFileSync(join(repositoryRoot(), "docs", "TROUBLESHOOTING.md"), "utf8");
  const rows = [...text.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, id]) => id);
  const ids = CHECKS.map(({ id }) => id);
  assert.deepEqual(
    rows.filter((id) => ids.includes(id!)),
    ids,
    "checks in the order of the table",
  );
  for (const { long } of define().options) {
    if (long !== "--help") assert.ok(text.includes(`\`${long}`), `no ${long}`);
  }
});
