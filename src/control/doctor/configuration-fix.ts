/** Command lines that change one setting of the configuration file. Pure. */

import { dirname } from "node:path";
import { shellWord } from "./finding.js";

/** The configuration file as it is. */
export interface ConfigurationText {
  readonly path: string;
  /** Undefined: there is none. */
  readonly text: string | undefined;
}

/** Sets `section.key` to a TOML value, whether or not file, section and setting exist. */
export function setSetting(
  { path, text }: ConfigurationText,
  section: string,
  key: string,
  value: string,
): string {
  const file = shellWord(path);
  const assignment = `${key} = ${value}`;
  const header = new RegExp(`^\\s*\\[\\s*${section}\\s*\\]`, "m").exec(text ?? "");
  if (text === undefined || header === null) {
    const make = text === undefined ? `mkdir -p ${shellWord(dirname(path))} && ` : "";
    return `${make}printf '\\n[${section}]\\n%s\\n' ${shellWord(assignment)} >> ${file}`;
  }
  const rest = text.slice(header.index + header[0].length);
  const body = rest.slice(0, /^\s*\[/m.exec(rest)?.index ?? rest.length);
  const isSet = new RegExp(`^\\s*${key}\\s*=`, "m").test(body);
  const range = `/^ *\\[ *${section} *\\]/,/^ *\\[/`;
  const safe = assignment.replace(/[&|\\]/g, "\\$&").replaceAll("'", "'\\''");
  if (isSet) return `sed -i '${range}s|^ *${key} *=.*|${safe}|' ${file}`;
  return `sed -i 's|^ *\\[ *${section} *\\].*|&\\n${safe}|' ${file}`;
}

/** Takes `section.key` out of the file, so that its default counts. */
export function unsetSetting(path: string, section: string, key: string): string {
  const range = `/^ *\\[ *${section} *\\]/,/^ *\\[/`;
  return `sed -i '${range}s|^ *${key} *=|# &|' ${shellWord(path)}`;
}
