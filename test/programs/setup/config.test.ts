/** `ipref config`: checks name file, line, found and wanted; shown values are TOML with origins. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { parse } from "smol-toml";
import { configurationSchemaText } from "../../../src/control/config/json-schema.js";
import { readConfiguration } from "../../../src/control/config/read.js";
import { SETTINGS } from "../../../src/control/config/settings.js";
import { repositoryRoot } from "../../../src/programs/demo/gateway-process.js";
import { shownValues, valuesAsToml } from "../../../src/programs/setup/config-values.js";

const ROOT = repositoryRoot();
const FOLDER = mkdtempSync(join(tmpdir(), "ipref-config-"));
after(() => rmSync(FOLDER, { recursive: true, force: true }));

function config(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const program = join(ROOT, "dist/src/programs/ipref.js");
  const options = { encoding: "utf8", timeout: 60_000 } as const;
  return spawnSync(process.execPath, [program, "config", ...args], options);
}

function file(name: string, text: string): string {
  const path = join(FOLDER, name);
  writeFileSync(path, `[files]\ndata = "${FOLDER}/data"\nrun = "${FOLDER}/run"\n${text}`);
  return path;
}

const UPSTREAM = '[resolver]\nupstream = ["192.0.2.53"]\n';

test("config check takes a good file and says so", () => {
  const path = file("good.toml", UPSTREAM);
  const result = config("check", path);
  assert.equal(result.status, 0, result.stderr);
  assert.equal(result.stdout, `${path}: The configuration can be used\n`);
});

test("config check judges every file, with place, found, wanted and the nearest name", () => {
  const good = file("good.toml", UPSTREAM);
  const bad = file("bad.toml", '[gateway]\npulbic = "192.0.2.1"\nport = 0\n');
  const missing = join(FOLDER, "missing.toml");
  const result = config("check", bad, good, missing);
  assert.equal(result.status, 78);
  const lines = result.stderr.trim().split("\n");
  assert.deepEqual(lines, [
    `${bad}:5:1: Found the setting 'pulbic', which does not exist in [gateway]; did you mean 'public'?`,
    `${bad}:6:1: Cannot use port = 0: expected a port from 1 to 65535`,
    `Cannot read the configuration ${missing}: ENOENT`,
  ]);
  assert.equal(result.stdout, `${good}: The configuration can be used\n`);
});

test("config check finds what only the parts' own checks find", () => {
  const zone = '[gateway]\npublic = "198.51.100.7"\n[publish]\ndomain = "home.example.com"\n';
  const path = file("servers.toml", `${UPSTREAM}${zone}servers = ["ns.example.com:99999"]\n`);
  const result = config("check", path);
  assert.equal(result.status, 78, result.stdout);
  assert.match(result.stderr, /servers\.toml: .*ns\.example\.com:99999/);
});

test("config check --json prints one result for each file", () => {
  const path = file("bad.toml", "[gateway]\nport = 0\n");
  const result = config("check", "--json", path);
  assert.equal(result.status, 78);
  const [one] = JSON.parse(result.stdout) as [{ file: string; isUsable: boolean; complaints: [] }];
  assert.equal(one.file, path);
  assert.equal(one.isUsable, false);
  assert.equal(one.complaints.length, 1);
});

test("config show --origin says whence each value comes", () => {
  const path = file("show.toml", `${UPSTREAM}[gateway]\npublic = "198.51.100.7"\n`);
  const result = config("show", "--origin", "--bind", "198.51.100.7", path);
  assert.equal(result.status, 0, result.stderr);
  const origin = (key: string): string | undefined =>
    new RegExp(`^(?:# )?${key}(?::| =).*  # (.*)$`, "m").exec(result.stdout)?.[1];
  assert.equal(origin("upstream"), `${path}:5:1`);
  assert.equal(origin("public"), `${path}:7:1`);
  assert.equal(origin("bind"), "--bind");
  assert.equal(origin("encode-net"), "default");
  assert.equal(origin("gateway"), "as gateway.public");
  assert.equal(origin("domain"), "default");
});

test("config show --json has values and origins of every setting", () => {
  const path = file("show.toml", UPSTREAM);
  const result = config("show", "--json", path);
  const shown = JSON.parse(result.stdout) as {
    values: Record<string, Record<string, unknown>>;
    origins: Record<string, { kind: string; place?: { line: number } }>;
  };
  assert.equal(Object.keys(shown.origins).length, SETTINGS.length);
  assert.equal(shown.origins["resolver.upstream"]?.place?.line, 5);
  assert.equal(shown.values.gateway?.port, 1045);
  assert.equal(shown.values.gateway?.public, null);
});

test("what config show prints is a configuration with the same values", () => {
  const text = readFileSync(join(ROOT, "examples/two-interfaces.toml"), "utf8");
  const first = readConfiguration({ file: "x", text, flags: new Map() });
  assert.ok(first.ok);
  const machine = { upstreams: [], upstreamsFrom: "" };
  const shown = valuesAsToml(shownValues(first.configuration, first.origins, machine), true);
  const second = readConfiguration({ file: "y", text: shown, flags: new Map() });
  assert.ok(second.ok, second.ok ? "" : second.complaints.join("\n"));
  const { publish, ...others } = first.configuration;
  assert.deepEqual(second.configuration, {
    ...others,
    publish: { ...publish, gateway: "198.51.100.7" },
  });
});

test("resolvers of the machine are shown as the machine's", () => {
  const read = readConfiguration({ file: "x", text: "", flags: new Map() });
  assert.ok(read.ok);
  const machine = { upstreams: ["192.0.2.9"], upstreamsFrom: "/etc/resolv.conf" };
  const shown = valuesAsToml(shownValues(read.configuration, read.origins, machine), true);
  assert.match(shown, /^upstream = \["192\.0\.2\.9"\] +# machine: \/etc\/resolv\.conf$/m);
  assert.doesNotThrow(() => parse(shown));
});

test("config schema prints the schema", () => {
  assert.equal(config("schema").stdout, configurationSchemaText());
});

test("slips of the finger get the nearest word and status 2", () => {
  for (const [args, nearest] of [
    [["chekc"], /did you mean check/i],
    [["show", "--orgin"], /did you mean --origin/i],
    [["show", "a", "b"], /too many arguments/],
  ] as const) {
    const result = config(...args);
    assert.equal(result.status, 2, args.join(" "));
    assert.match(result.stderr, nearest);
  }
});

test("complaints about a file of others show no control characters", () => {
  const text = '[gateway]\nbind = "192.0.2.1\\u001b[2J\\u202e"\n"ev\\u001b[31mil\\n" = 3\n';
  const { status, stderr } = config("check", file("hostile.toml", text));
  assert.equal(status, 78, stderr);
  assert.match(stderr, /192\.0\.2\.1\\u001b\[2J\\u202e/);
  assert.match(stderr, /ev\\u001b\[31mil/);
  assert.doesNotMatch(stderr, /[^\n\P{C}]/u);
});

test("values of files of others are shown without control characters, and stay the same", () => {
  const path = file("strange.toml", '[publish]\ntsig-key = "/keys/\\u202e\\u009b31m"\n');
  for (const words of [
    ["show", path],
    ["show", "--json", path],
    ["check", "--json", path],
  ]) {
    const { stdout } = config(...words);
    assert.doesNotMatch(stdout, /[^\n\P{C}]/u, words.join(" "));
  }
  const shown = parse(config("show", path).stdout) as { publish: Record<string, unknown> };
  assert.equal(shown.publish["tsig-key"], "/keys/\u202e\u009b31m");
});
