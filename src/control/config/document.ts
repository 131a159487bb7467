/** docs/CONFIGURATION.md, made from the table of settings. Pure. */

import { SECTION_TEXTS } from "./json-schema.js";
import { SETTINGS, type Setting } from "./settings.js";

const HEAD = `# Configuration of \`ipref up\`

Made by \`scripts/write-configuration.js\` from \`src/control/config/settings.ts\`.

\`ipref up\` reads \`/etc/ipref/ipref.toml\` when it exists, or the file of \`--config\`. Without a
file every setting has its default: client mode. A flag goes before the file. Unknown sections and
settings, values that are not allowed and values that contradict each other end the program with
exit status 78 and one line for each mistake, with file, line and column.

\`ipref init\` looks at the machine and writes a commented configuration. \`ipref config check\`
reads a configuration and tests it as a start would, like \`ipref up --check\`. \`ipref config show
--origin\` prints the values in force and where each comes from.

**In an editor.** [ipref.schema.json](ipref.schema.json), which \`ipref config schema\` prints, is
the JSON Schema of the file. Editors that use Taplo find it by a first line such as
\`#:schema ../docs/ipref.schema.json\`; the examples have it, and \`ipref init\` writes it.

**Reload.** SIGHUP reads the file again, builds the new configuration and tests it; when that fails
the complaints are logged and the old one stays. "yes" means that the change is in force then.
"restart" means that the change waits for the next start and a warning says so; everything else is
applied. No reload restarts the gateway, so existing mappings keep flowing.
`;

/** The whole page. */
export function configurationPage(): string {
  const sections = [...new Set(SETTINGS.map(({ section }) => section))];
  return `${[HEAD, ...sections.map(sectionText)].join("\n")}`;
}

function sectionText(section: string): string {
  const rows = SETTINGS.filter((setting) => setting.section === section).map(row);
  return [
    `## [${section}]`,
    "",
    SECTION_TEXTS[section] ?? "",
    "",
    "| setting | flag | default | reload | meaning |",
    "|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

function row(setting: Setting): string {
  const { key, flag, valueName, reload, meaning } = setting;
  const flagText = flag === undefined ? "" : `\`--${flag} ${valueName}\``;
  return `| \`${key}\` | ${flagText} | ${presetText(setting)} | ${reload} | ${meaning} |`;
}

function presetText({ preset, presetText: words }: Setting): string {
  return words ?? `\`${JSON.stringify(preset)}\``;
}
