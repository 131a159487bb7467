/** Documents run: every Corefile in a directive's README is read without complaint. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { PLUGINS } from "../../../src/dns/registry.js";
import { complaintsOf, configure } from "../world.js";

const FOLDER = new URL("../../../../src/dns/plugins/", import.meta.url);

for (const { name } of PLUGINS) {
  test(`the README of ${name} has an example that works`, async () => {
    const path = new URL(`${name}/README.md`, FOLDER);
    assert(existsSync(path), `${name} has a README`);
    const text = readFileSync(path, "utf8");
    for (const heading of ["Syntax", "Example"]) {
      assert.match(text, new RegExp(`^## ${heading}$`, "m"));
    }
    const examples = [...text.matchAll(/```corefile\n(.*?)```/gs)].map(([, example]) => example!);
    assert(examples.length > 0, `${name} has an example`);
    for (const example of examples) {
      const configuration = await configure(example);
      assert.deepEqual(complaintsOf(configuration), [], example);
      const settings = configuration.blocks.map((block) => block.settings.has(name));
      assert(settings.includes(true), `the example uses ${name}`);
    }
  });
}
