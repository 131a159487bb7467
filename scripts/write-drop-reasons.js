/**
 * Writes docs/DROP-REASONS.md from src/base/drop-reason.ts and drop-advice.ts. Build first.
 *
 *   node scripts/write-drop-reasons.js            writes the page
 *   node scripts/write-drop-reasons.js --check    exit 1 when the page is not current
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { dropAdvice } from "../dist/src/base/drop-advice.js";
import { DROP_REASONS } from "../dist/src/base/drop-reason.js";

const PAGE = fileURLToPath(new URL("../docs/DROP-REASONS.md", import.meta.url));

/** Sections by the first word of a reason; the first match counts. */
const SECTIONS = [
  ["Packets from the local network", /^local-/],
  ["Datagrams from the tunnel", /^tunnel-/],
  ["Translation, both directions", /^(ttl|protocol|tcp|udp|icmp-(?!limited|not-answered))/],
  ["Mapper", /^(reference|encoded-address|mapping)-/],
  ["Sending", /./],
];

function page() {
  const rest = new Set(DROP_REASONS);
  const parts = SECTIONS.map(([title, pattern]) => {
    const chosen = [...rest].filter(({ name }) => pattern.test(name));
    for (const reason of chosen) rest.delete(reason);
    const rows = chosen.map(({ name, meaning }) => {
      const { causes, fix } = dropAdvice(name);
      return `| \`${name}\` | ${meaning} | ${causes} | ${fix} |`;
    });
    const head = "| Reason | Meaning | Usual causes | What to do |\n|---|---|---|---|";
    return `## ${title}\n\n${head}\n${rows.join("\n")}\n`;
  });
  return `# Drop reasons

Every packet that the gateway does not forward is counted under one of these names. No packet makes
a log line of its own. Numbers inside the program may change between releases; names do not.
\`ipref explain --drop REASON\` prints one line of this page, and \`ipref explain\` with source and
destination says whether a packet would be dropped, and why ([EXPLAIN](EXPLAIN.md)). The page is
made from \`src/base/drop-reason.ts\` and \`drop-advice.ts\` by \`scripts/write-drop-reasons.js\`.

${parts.join("\n")}`;
}

if (process.argv.includes("--check")) {
  if (readFileSync(PAGE, "utf8") !== page()) {
    console.error("docs/DROP-REASONS.md is not current; run node scripts/write-drop-reasons.js");
    process.exitCode = 1;
  }
} else writeFileSync(PAGE, page());
