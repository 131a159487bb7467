/** `ipref bundle`: one archive, readable by tar(1), without secrets, names and addresses. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { readConfiguration } from "../../../src/control/config/read.js";
import { repositoryRoot } from "../../../src/programs/demo/gateway-process.js";
import { manifestText, reportText } from "../../../src/programs/setup/bundle-report.js";
import { tarArchive } from "../../../src/programs/setup/tar.js";
import { pathsOf } from "../../../src/programs/up-plan.js";

const FOLDER = mkdtempSync(join(tmpdir(), "ipref-bundle-"));
after(() => rmSync(FOLDER, { recursive: true, force: true }));
const SECRET = Buffer.alloc(32, 7).toString("base64");
const CONFIG = join(FOLDER, "ipref.toml");
const LOG = join(FOLDER, "up.log");
writeFileSync(
  CONFIG,
  `# The house of Trurl, password = hunter22
[files]
data = "${FOLDER}/data"
run = "${FOLDER}/run"
[gateway]
public = "8.8.4.4"
[publish]
domain = "trurl.klapaucius.test"
tsig-key = "${FOLDER}/tsig.key"
update-server = "8.8.4.53"
`,
);
writeFileSync(join(FOLDER, "tsig.key"), `key "pirx" { secret "${SECRET}"; };\n`);
const NOISE = "filler ".repeat(20);
writeFileSync(
  LOG,
  `${`${NOISE}\n`.repeat(20_000)}peer 8.8.4.9 (gw.trurl.klapaucius.test) asks, key pirx ${SECRET}\n` +
    `${hostname()} {"text":"trurl\\n192.168.77.5 02:fc:00:aa:bb:cc"}\n`,
);

function bundle(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const program = join(repositoryRoot(), "dist/src/programs/ipref.js");
  const words = [program, "bundle", "--config", CONFIG, "--log", LOG, ...args];
  return spawnSync(process.execPath, words, { encoding: "utf8", timeout: 120_000, cwd: FOLDER });
}

/** Files of the folders of CONFIG. */
function planPaths() {
  const text = readFileSync(CONFIG, "utf8");
  const read = readConfiguration({ file: CONFIG, text, flags: new Map() });
  assert.ok(read.ok);
  return pathsOf(read.configuration);
}

/** All files of an archive by name, unpacked by tar(1). */
function unpacked(archive: string): Map<string, string> {
  const folder = mkdtempSync(join(FOLDER, "unpacked-"));
  const result = spawnSync("tar", ["-xzf", archive, "-C", folder], { encoding: "utf8" });
  assert.equal(result.status, 0, result.stderr);
  const below = join(folder, "ipref-bundle");
  return new Map(readdirSync(below).map((name) => [name, readFileSync(join(below, name), "utf8")]));
}

test("tar(1) reads the archive: names, sizes, contents of every length around a block", () => {
  const sizes = [0, 1, 511, 512, 513, 5000];
  const files = sizes.map((size) => ({
    name: `folder/file-${size}`,
    content: new Uint8Array(size).fill(0x61),
  }));
  const path = join(FOLDER, "plain.tar");
  writeFileSync(path, tarArchive(files, 1_700_000_000));
  const list = spawnSync("tar", ["-tvf", path], { encoding: "utf8", env: { TZ: "UTC" } });
  assert.equal(list.status, 0, list.stderr);
  const rows = list.stdout.trim().split("\n");
  assert.equal(rows.length, sizes.length);
  for (const [index, size] of sizes.entries()) {
    const row = new RegExp(`^-rw-r--r-- root/root +${size} 2023-11-14 .* folder/file-${size}$`);
    assert.match(rows[index]!, row);
    const one = spawnSync("tar", ["-xOf", path, `folder/file-${size}`], { encoding: "utf8" });
    assert.equal(one.stdout, "a".repeat(size));
  }
  assert.throws(() => tarArchive([{ name: "x".repeat(101), content: new Uint8Array() }], 0));
});

test("a bundle contains what it lists, and no original", () => {
  const archive = join(FOLDER, "one.tar.gz");
  const result = bundle("-o", archive);
  assert.equal(result.status, 0, result.stderr);
  const files = unpacked(archive);
  const listed = [...result.stdout.matchAll(/^ {2}(\S+) +[0-9.]+ kB {2}/gm)].map(
    ([, name]) => name,
  );
  assert.deepEqual([...files.keys()].sort(), ["MANIFEST.txt", ...listed].sort());
  for (const name of ["configuration.toml", "versions.json", "log-1.txt", "doctor.json"]) {
    assert.ok(files.has(name), `${name} in\n${result.stdout}`);
  }
  assert.match(result.stdout, /status-gateway\.json +it does not run/);
  assert.match(result.stdout, /Please look through it before you send it:\n {2}tar -xzf /);
  assert.match(
    result.stdout,
    /^Replaced: \d+ addresses, \d+ names, \d+ MAC addresses; taken out: \d+/m,
  );
  const all = [...files.values()].join("\n");
  for (const original of ["trurl", "klapaucius", "pirx", "hunter22", SECRET, "02:fc:00:aa:bb:cc"]) {
    assert.ok(!all.toLowerCase().includes(original.toLowerCase()), original);
  }
  assert.doesNotMatch(all, /(?<![0-9.])8\.8\.4\.(4|9|53)(?![0-9])|192\.168\.77\.5/);
  assert.doesNotMatch(all, new RegExp(`\\b${hostname()}\\b`, "i"));
});

test("the same address and the same name have one replacement in all documents", () => {
  const archive = join(FOLDER, "same.tar.gz");
  assert.equal(bundle("-o", archive).status, 0);
  const files = unpacked(archive);
  const own = /^public = "([0-9.]+)"$/m.exec(files.get("configuration.toml")!)![1]!;
  const effective = JSON.parse(files.get("effective.json")!) as {
    gateway: { public: string };
    publish: { domain: string };
  };
  assert.equal(effective.gateway.public, own);
  const log = files.get("log-1.txt")!;
  const [, peer, name] = /peer ([0-9.]+) \((\S+)\) asks/.exec(log)!;
  assert.equal(peer!.split(".").slice(0, 3).join("."), own.split(".").slice(0, 3).join("."));
  assert.ok(name!.endsWith(`.${effective.publish.domain}`), name);
});

test("a bundle is bounded: long logs keep their end", () => {
  const archive = join(FOLDER, "bounded.tar.gz");
  assert.equal(bundle("-o", archive).status, 0);
  const log = unpacked(archive).get("log-1.txt")!;
  assert.ok(log.length <= 1_100_000 && log.length > 900_000, String(log.length));
  assert.ok(log.startsWith("filler") && log.includes("asks, key"));
});

test("--list writes nothing, and --json is a list for programs", () => {
  const before = readdirSync(FOLDER);
  const list = bundle("--list");
  assert.equal(list.status, 0, list.stderr);
  assert.match(list.stdout, /^A bundle would contain:\n {2}versions\.json /);
  const json = bundle("--list", "--json");
  const data = JSON.parse(json.stdout) as {
    file: null;
    entries: { name: string; bytes: number }[];
  };
  assert.equal(data.file, null);
  assert.ok(data.entries.every(({ bytes }) => bytes > 0));
  assert.deepEqual(
    readdirSync(FOLDER).filter((name) => /bundle/.test(name)),
    [],
  );
  assert.equal(readdirSync(FOLDER).length, before.length);
});

test("--no-anonymise keeps addresses and names, says so, and still takes secrets out", () => {
  const archive = join(FOLDER, "open.tar.gz");
  const result = bundle("--no-anonymise", "-o", archive);
  assert.equal(result.status, 0, result.stderr);
  assert.match(result.stdout, /^NOT anonymous/m);
  const files = unpacked(archive);
  const text = files.get("configuration.toml")!;
  assert.match(text, /public = "8\.8\.4\.4"/);
  assert.match(text, /trurl\.klapaucius\.test/);
  const all = [...files.values()].join("\n");
  assert.ok(!all.includes("hunter22") && !all.includes(SECRET));
});

test("an existing file is not replaced, a folder that is missing is named", () => {
  const archive = join(FOLDER, "old.tar.gz");
  writeFileSync(archive, "old");
  const result = bundle("-o", archive);
  assert.equal(result.status, 1);
  assert.match(result.stderr, /old\.tar\.gz: it exists; name another file with -o FILE/);
  assert.equal(readFileSync(archive, "utf8"), "old");
  const missing = bundle("-o", join(FOLDER, "none", "x.tar.gz"));
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /ENOENT/);
  assert.ok(!existsSync(join(FOLDER, "none")));
});

test("a configuration with a mistake is bundled, and the mistake is told", () => {
  const broken = join(FOLDER, "broken.toml");
  writeFileSync(broken, "[gateway]\nport = 0\n");
  const archive = join(FOLDER, "broken.tar.gz");
  const result = bundle("--config", broken, "-o", archive);
  assert.equal(result.status, 0);
  assert.match(result.stderr, /broken\.toml:2:1: Cannot use port = 0/);
  assert.match(unpacked(archive).get("configuration.toml")!, /port = 0/);
});

test("a pipe and a link of another user in the system's folders are left out, with the reason", {
  skip: process.geteuid?.() !== 0 && "needs root",
}, () => {
  const { corefile, localZone } = planPaths();
  const folders = [corefile, localZone].map((path) => dirname(path));
  for (const path of folders) mkdirSync(path, { recursive: true });
  const secret = join(FOLDER, "secret");
  writeFileSync(secret, "words for root alone", { mode: 0o600 });
  symlinkSync(secret, corefile);
  lchownSync(corefile, 65_534, 65_534);
  assert.equal(spawnSync("mkfifo", [localZone]).status, 0);
  try {
    const startMs = performance.now();
    const { stdout } = bundle("--list", "--json");
    assert.ok(performance.now() - startMs < 30_000, "the doctor waits for no pipe either");
    const { missing } = JSON.parse(stdout) as { missing: { name: string; reason: string }[] };
    const reasonFor = (name: string) => missing.find((each) => each.name === name)?.reason;
    assert.equal(reasonFor("Corefile"), `${corefile} is a link that belongs to user 65534`);
    assert.equal(reasonFor("local-zone.txt"), `${localZone} is no regular file`);
  } finally {
    for (const path of folders) rmSync(path, { recursive: true, force: true });
  }
});

test("the command in the report quotes the file's name", () => {
  const manifest = { entries: [], missing: [], counts: undefined, kept: "10.240.0.0/12" };
  const text = reportText(manifest, "/tmp/a b;reboot.tar.gz");
  assert.match(text, / {2}tar -xzf '\/tmp\/a b;reboot\.tar\.gz' && less /);
});

test("the manifest names no file of the machine, the report does", () => {
  const manifest = {
    entries: [{ name: "log-1.txt", what: "/home/trurl/log", bytes: 2048, isCut: true }],
    missing: [{ name: "nft.txt", reason: "not allowed on trurl" }],
    counts: { addresses: 1, names: 2, macs: 3, secrets: 4 },
    kept: "10.240.0.0/12",
  };
  assert.doesNotMatch(manifestText(manifest), /trurl/);
  assert.match(manifestText(manifest), /log-1\.txt +2\.0 kB {2}cut\nnft\.txt +left out/);
  assert.match(reportText(manifest, "x.tar.gz"), /\/home\/trurl\/log \(cut\)/);
});
