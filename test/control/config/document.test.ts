/** docs/CONFIGURATION.md is current, and the examples can be used. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { configurationPage } from "../../../src/control/config/document.js";
import { readConfiguration } from "../../../src/control/config/read.js";
import { SETTINGS } from "../../../src/control/config/settings.js";

const ROOT = new URL("../../../../", import.meta.url);
const EXAMPLES = readdirSync(new URL("examples", ROOT)).filter((name) => name.endsWith(".toml"));

test("docs/CONFIGURATION.md is made from the present settings", () => {
  const page = readFileSync(new URL("docs/CONFIGURATION.md", ROOT), "utf8");
  assert.equal(page, configurationPage(), "run node scripts/write-configuration.js");
});

test("every setting is described with its way of reload", () => {
  const page = configurationPage();
  for (const { key, reload } of SETTINGS) {
    assert.match(page, new RegExp(`^\\| \`${key}\` \\|.*\\| ${reload} \\|`, "m"), key);
  }
});

for (const name of EXAMPLES) {
  test(`examples/${name} is accepted`, () => {
    const text = readFileSync(new URL(`examples/${name}`, ROOT), "utf8");
    const result = readConfiguration({ file: name, text, flags: new Map() });
    assert.ok(result.ok, result.ok ? "" : result.complaints.join("\n"));
  });
}
