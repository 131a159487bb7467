/** The golden vectors, when their folder is there; IPREF_VECTORS names another one. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");
const FOLDER = process.env.IPREF_VECTORS ?? join(ROOT, "../shared/vectors");
const PROGRAM = join(ROOT, "dist/src/programs/ipref.js");

const files = existsSync(FOLDER)
  ? readdirSync(FOLDER).filter((name) => name.endsWith(".json"))
  : [];

for (const name of files) {
  test(`vectors of ${name} pass`, () => {
    const args = [PROGRAM, "vectors", join(FOLDER, name)];
    const result = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
    assert.equal(result.status, 0, `${result.stdout}\n${result.stderr}`);
  });
}

if (files.length === 0) test("golden vectors", { skip: `no vectors in ${FOLDER}` }, () => {});
