/**
 * Writes the manual pages, made from packaging/man and from the programs. Build first.
 *
 *   node scripts/write-man.js FOLDER
 */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SECTION_TEXTS } from "../dist/src/control/config/json-schema.js";
import { SETTINGS } from "../dist/src/control/config/settings.js";
import { FLAGS as GATEWAY_FLAGS } from "../dist/src/control/gateway-flags.js";
import { programVersion } from "../dist/src/platform/version.js";
import { FLAGS as AGENT_FLAGS } from "../dist/src/programs/agent-flags.js";
import { programShape } from "../dist/src/programs/completion/shape.js";
import { SPECS as DNS_FLAGS } from "../dist/src/programs/dns-flags.js";
import { makeProgram } from "../dist/src/programs/ipref-program.js";
import { manualPages } from "../dist/src/programs/manual/pages.js";
import { sourceDateSeconds } from "./source-date.js";

const PROSE = fileURLToPath(new URL("../packaging/man/", import.meta.url));
/** Commands of a clone, which no installed system has. */
const CLONE_COMMANDS = ["test", "bench", "build"];

const folder = process.argv[2];
if (folder === undefined) {
  console.error("Which folder? node scripts/write-man.js FOLDER");
  process.exit(2);
}

const shape = await programShape(makeProgram(() => undefined));
const commands = shape.commands.filter(({ path }) => !CLONE_COMMANDS.includes(path[0]));
const names = readdirSync(PROSE).filter((name) => name.endsWith(".md"));
const pages = manualPages({
  version: programVersion(),
  date: new Date(sourceDateSeconds() * 1000).toISOString().slice(0, 10),
  program: { ...shape, commands },
  flags: new Map([
    ["ipref-gw", GATEWAY_FLAGS],
    ["ipref-coredns", DNS_FLAGS],
    ["ipref-dns-agent", AGENT_FLAGS],
  ]),
  settings: SETTINGS,
  sectionTexts: SECTION_TEXTS,
  prose: new Map(names.map((name) => [name.slice(0, -3), readFileSync(join(PROSE, name), "utf8")])),
});
mkdirSync(folder, { recursive: true });
for (const { file, text } of pages) writeFileSync(join(folder, file), text);
