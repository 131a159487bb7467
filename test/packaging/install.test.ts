// `make install` and `make uninstall` below a folder of their own.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, describe, it } from "node:test";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";

const ROOT = repositoryRoot();
const hasMake = (process.env.PATH ?? "")
  .split(delimiter)
  .some((path) => existsSync(join(path, "make")));
const skip = hasMake ? false : "make is missing";

describe("make install", { skip, concurrency: 1 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "ipref-install-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** Without `all`: the tests run on what is built. */
  function make(target: string, root: string): void {
    const args = ["-s", "-C", ROOT, "-o", "all", target, `DESTDIR=${root}`, "PREFIX=/opt/x"];
    const { status, stdout, stderr } = spawnSync("make", args, { encoding: "utf8" });
    assert.equal(status, 0, stdout + stderr);
  }

  /** Paths of files and links, with what is in them. */
  function contents(root: string): Map<string, string> {
    const entries = readdirSync(root, { recursive: true }).map(String).sort();
    const files = entries.filter((path) => !lstatSync(join(root, path)).isDirectory());
    const hash = (path: string): string =>
      createHash("sha256")
        .update(readFileSync(join(root, path)))
        .digest("hex");
    return new Map(files.map((path) => [path, hash(path)]));
  }

  it("puts programs that run below the prefix, and units that name them", () => {
    const root = join(folder, "one");
    make("install", root);
    for (const program of ["ipref-gw", "ipref-coredns", "ipref-dns-agent"]) {
      const run = spawnSync(join(root, "opt/x/bin", program), ["-h"], { encoding: "utf8" });
      assert.equal(run.status, 0, run.stderr);
      assert.match(run.stdout, /-log-format/);
    }
    const ipref = (...args: string[]) =>
      spawnSync(join(root, "opt/x/bin/ipref"), args, { encoding: "utf8" });
    assert.match(ipref("--version").stdout, /^[0-9.]+\n$/);
    assert.equal(ipref("config", "check", "--upstream", "192.0.2.53").status, 0);
    assert.doesNotMatch(ipref("--help").stdout, /^ {2}(test|bench|build)\b/m);
    const unit = readFileSync(join(root, "opt/x/lib/systemd/system/ipref.service"), "utf8");
    assert.match(unit, /^ExecStart=\/opt\/x\/bin\/ipref up$/m);
    const pages = readdirSync(join(root, "opt/x/share/man/man8"));
    assert.ok(pages.includes("ipref-up.8.gz"), pages.join());
    for (const path of contents(root).keys()) assert.ok(path.startsWith("opt/x/"), path);
  });

  it("installs the same a second time", () => {
    make("install", join(folder, "two"));
    assert.deepEqual(contents(join(folder, "two")), contents(join(folder, "one")));
  });

  it("leaves no file of an earlier installation, and none after its removal", () => {
    const root = join(folder, "one");
    make("install", root);
    assert.deepEqual(contents(root), contents(join(folder, "two")));
    make("uninstall", root);
    assert.deepEqual([...contents(root).keys()], []);
  });
});
