/**
 * Writes docs/METRICS.md and docs/EVENTS.md from the tables in src/control/metrics/declarations.ts
 * and src/base/event.ts. Build first.
 *
 *   node scripts/write-metrics.js            writes both pages
 *   node scripts/write-metrics.js --check    exit 1 when one is not current
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { eventsPage, metricsPage } from "../dist/src/control/metrics/document.js";

const FILES = [
  { name: "docs/METRICS.md", text: metricsPage() },
  { name: "docs/EVENTS.md", text: eventsPage() },
];

for (const { name, text } of FILES) {
  const path = fileURLToPath(new URL(`../${name}`, import.meta.url));
  if (!process.argv.includes("--check")) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    console.error(`${name} is not current; run node scripts/write-metrics.js`);
    process.exitCode = 1;
  }
}
