/** docs/CONFIGURATION.md, made from the table of settings. Pure. */

import { SETTINGS, type Setting } from "./settings.js";

const SECTION_TEXTS: Readonly<Record<string, string>> = {
  files: "Where things are kept.",
  gateway: "The gateway: tunnel, encoded addresses, mappings.",
  resolver: "The DNS server that turns published names into encoded addresses.",
  publish: "The services that other networks reach.",
};

const HEAD = `# Configuration of \`ipref up\`

Made by \`scripts/write-configuration.js\` from \`src/control/config/settings.ts\`.

\`ipref up\` reads \`/etc/ipref/ipref.toml\` when it exists, or the file of \`--config\`. Without a
file every setting has its default: client mode. A flag goes before the file. Unknown sections and
settings, values that are not allowed and values that contradict each other end the program with
exit status 78 and one line for each mistake, with file, line and column.

\`ipref up --check\` reads the configuration, tests it as a start would, and ends.

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
