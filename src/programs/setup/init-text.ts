/** The configuration that `ipref init` writes: choices as commented TOML. Pure. */

import { printable } from "../../base/printable.js";
import { SECTION_TEXTS } from "../../control/config/json-schema.js";
import { nameOfSetting, SETTINGS, type Setting } from "../../control/config/settings.js";
import type { Choice, Choices } from "./init-types.js";

const WIDTH = 98;

/** What the text says about its place. */
export interface TextPlaces {
  /** Where the configuration will be; undefined for standard output. */
  readonly file: string | undefined;
  /** URL or path of the JSON Schema for editors; undefined without. */
  readonly schema: string | undefined;
}

/** The whole file. */
export function configurationText({ choices }: Choices, places: TextPlaces): string {
  const sections = [...new Set(SETTINGS.map(({ section }) => section))];
  const file = places.file ?? "FILE";
  return [
    ...(places.schema === undefined ? [] : [`#:schema ${places.schema}`]),
    ...comment(
      "Configuration of ipref up, chosen by ipref init for this machine. Lines that begin with # " +
        "and a setting show its default.",
    ),
    ...comment(`Test a change with: ipref config check ${file}`),
    ...sections.flatMap((section) => sectionLines(section, choices)),
    "",
  ].join("\n");
}

function sectionLines(section: string, choices: readonly Choice[]): readonly string[] {
  const settings = SETTINGS.filter((setting) => setting.section === section);
  const chosen = settings.flatMap((setting) => {
    const choice = choices.find(({ name }) => name === nameOfSetting(setting));
    return choice === undefined || choice.reasons.length === 0 ? [] : [{ setting, choice }];
  });
  const others = settings.filter((setting) => !chosen.some((each) => each.setting === setting));
  return [
    "",
    ...comment(SECTION_TEXTS[section] ?? ""),
    `[${section}]`,
    ...chosen.flatMap(({ setting, choice }) => ["", ...choiceLines(setting, choice)]),
    ...(others.length === 0 ? [] : ["", ...others.map(defaultLine)]),
  ];
}

function choiceLines(setting: Setting, { value, reasons }: Choice): readonly string[] {
  const meaning = plain(setting.meaning);
  return [
    ...comment(`${meaning.slice(0, 1).toUpperCase()}${meaning.slice(1)}.`),
    ...comment(`Why so: ${reasons.join(" ")}`),
    value === undefined ? defaultLine(setting) : `${setting.key} = ${tomlValue(value)}`,
  ];
}

/** The default as a comment; dots where the default is the absence of a value. */
function defaultLine({ key, preset, presetText, schema }: Setting): string {
  const words = presetText === undefined ? "" : ` # default: ${plain(presetText)}`;
  const value = schema.safeParse(preset).success ? tomlValue(preset) : '"..."';
  return `# ${key} = ${value}${words}`;
}

function tomlValue(value: unknown): string {
  if (!Array.isArray(value)) return JSON.stringify(value);
  return `[${value.map((each) => JSON.stringify(each)).join(", ")}]`;
}

function plain(text: string): string {
  return text.replaceAll("`", "");
}

/** A sentence as lines of comment; TOML allows no control characters there. */
function comment(text: string): readonly string[] {
  const lines: string[] = [];
  for (const word of printable(text).split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + word.length + 3 > WIDTH) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines.map((line) => `# ${line}`);
}
