/**
 * Writes docs/CONFIGURATION.md and docs/ipref.schema.json from the table in
 * src/control/config/settings.ts. Build first.
 *
 *   node scripts/write-configuration.js            writes both files
 *   node scripts/write-configuration.js --check    exit 1 when one is not current
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { configurationPage } from "../dist/src/control/config/document.js";
import { configurationSchemaText } from "../dist/src/control/config/json-schema.js";

const FILES = [
  { name: "docs/CONFIGURATION.md", text: configurationPage() },
  { name: "docs/ipref.schema.json", text: configurationSchemaText() },
];

for (const { name, text } of FILES) {
  const path = fileURLToPath(new URL(`../${name}`, import.meta.url));
  if (!process.argv.includes("--check")) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    console.error(`${name} is not current; run node scripts/write-configuration.js`);
    process.exitCode = 1;
  }
}
