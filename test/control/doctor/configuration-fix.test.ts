/** Command lines that change settings, run on real files. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { parse } from "smol-toml";
import { setSetting, unsetSetting } from "../../../src/control/doctor/configuration-fix.js";

const folder = mkdtempSync(join(tmpdir(), "ipref-it's a fix-"));
after(() => rmSync(folder, { recursive: true }));

const path = join(folder, "ipref.toml");

function shell(command: string): void {
  const { status, stderr } = spawnSync("sh", ["-c", command], { encoding: "utf8" });
  assert.equal(status, 0, `${command}\n${stderr}`);
}

/** The file as plain objects. */
function content(): unknown {
  return JSON.parse(JSON.stringify(parse(readFileSync(path, "utf8"))));
}

/** The file's content after the fix. */
function afterSetting(text: string | undefined, section: string, key: string, value: string) {
  rmSync(path, { force: true });
  if (text !== undefined) writeFileSync(path, text);
  shell(setSetting({ path, text }, section, key, value));
  return content();
}

test("setSetting() writes a file, a section, a line, or another value", () => {
  const net = '"172.24.0.0/13"';
  const wanted = { gateway: { "encode-net": "172.24.0.0/13" } };
  assert.deepEqual(afterSetting(undefined, "gateway", "encode-net", net), wanted);
  assert.deepEqual(afterSetting("", "gateway", "encode-net", net), wanted);
  assert.deepEqual(afterSetting("[gateway]", "gateway", "encode-net", net), wanted);
  assert.deepEqual(
    afterSetting('[gateway]\nencode-net = "10.0.0.0/8" # old\n', "gateway", "encode-net", net),
    wanted,
  );
});

test("setSetting() leaves equal names in other sections alone", () => {
  const text = '[publish]\nservers = ["a"]\n[resolver]\nport = 53\n  [gateway]\n  port = 1045\n';
  assert.deepEqual(afterSetting(text, "gateway", "port", "2045"), {
    publish: { servers: ["a"] },
    resolver: { port: 53 },
    gateway: { port: 2045 },
  });
  assert.deepEqual(afterSetting(text, "resolver", "listen", '["10.1.0.2", "fd00::2"]'), {
    publish: { servers: ["a"] },
    resolver: { port: 53, listen: ["10.1.0.2", "fd00::2"] },
    gateway: { port: 1045 },
  });
});

test("setSetting() keeps what a shell and sed would take for their own", () => {
  const odd = `"a|b&c\\\\d'e $(touch ${folder}/x)"`;
  const text = '[files]\ndata = "/x"\n';
  const expected = `a|b&c\\d'e $(touch ${folder}/x)`;
  assert.deepEqual(afterSetting(text, "files", "data", odd), { files: { data: expected } });
  assert.deepEqual(afterSetting("", "files", "data", odd), { files: { data: expected } });
  assert.equal(existsSync(join(folder, "x")), false);
});

test("unsetSetting() takes the line of one section out", () => {
  writeFileSync(path, '[a]\nservers = ["x"]\n[publish]\ndomain = "d.e"\nservers = ["y"]\n');
  shell(unsetSetting(path, "publish", "servers"));
  assert.deepEqual(content(), {
    a: { servers: ["x"] },
    publish: { domain: "d.e" },
  });
});
