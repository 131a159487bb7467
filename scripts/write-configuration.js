/**
 * Writes docs/CONFIGURATION.md from the table in src/control/config/settings.ts. Build first.
 *
 *   node scripts/write-configuration.js            writes the page
 *   node scripts/write-configuration.js --check    exit 1 when the page is not current
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { configurationPage } from "../dist/src/control/config/document.js";

const PAGE = fileURLToPath(new URL("../docs/CONFIGURATION.md", import.meta.url));

if (process.argv.includes("--check")) {
  if (!existsSync(PAGE) || readFileSync(PAGE, "utf8") !== configurationPage()) {
    console.error("docs/CONFIGURATION.md is not current; run node scripts/write-configuration.js");
    process.exitCode = 1;
  }
} else writeFileSync(PAGE, configurationPage());
