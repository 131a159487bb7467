/**
 * The manual pages of the package: prose from packaging/man, and everything that the programs know
 * of themselves (commands, options, settings) from the programs, so that no page goes stale. Pure.
 *
 * A line `<!-- options -->`, `<!-- commands -->` or `<!-- settings -->` in the prose is where that
 * part goes.
 */

import type { Setting } from "../../control/config/settings.js";
import type { FlagSpec } from "../../control/go-flags.js";
import type { ArgumentShape, CommandShape, OptionShape } from "../completion/shape.js";
import { manualPage } from "./roff.js";

const SECTION_COMMANDS = 8;
const SECTION_FILES = 5;

/** What is known of the programs. */
export interface ManualFacts {
  readonly version: string;
  /** Of the sources: year, month, day. */
  readonly date: string;
  readonly program: CommandShape;
  /** Flags by program: ipref-gw, ipref-coredns, ipref-dns-agent. */
  readonly flags: ReadonlyMap<string, readonly FlagSpec[]>;
  readonly settings: readonly Setting[];
  /** Text in front of the settings of a section. */
  readonly sectionTexts: Readonly<Record<string, string>>;
  /** Markdown by file name without its end, such as "ipref.8". */
  readonly prose: ReadonlyMap<string, string>;
}

/** One page: its file name, such as "ipref.8", and its text. */
export interface ManualPage {
  readonly file: string;
  readonly text: string;
}

/** All pages: those with prose, and one for each command of `ipref`. */
export function manualPages(facts: ManualFacts): ManualPage[] {
  const commandFiles = facts.program.commands.map((command) => fileOf(command));
  const written = [...facts.prose.keys()].filter((file) => !commandFiles.includes(file));
  return [
    ...written.map((file) => page(facts, file, filled(facts, file))),
    ...facts.program.commands.map((command) =>
      page(facts, fileOf(command), commandMarkdown(command, facts.prose.get(fileOf(command)))),
    ),
  ];
}

function fileOf({ path }: CommandShape): string {
  return `ipref-${path.join("-")}.${SECTION_COMMANDS}`;
}

function page(facts: ManualFacts, file: string, markdown: string): ManualPage {
  const section = file.endsWith(`.${SECTION_FILES}`) ? SECTION_FILES : SECTION_COMMANDS;
  const { date, version } = facts;
  const head = { name: file.slice(0, -2), section, date, source: `ipref ${version}` };
  return { file, text: manualPage(head, markdown) };
}

function filled(facts: ManualFacts, file: string): string {
  const flags = facts.flags.get(file.slice(0, -2)) ?? [];
  const { program } = facts;
  return (facts.prose.get(file) ?? "")
    .replace("<!-- options -->", () =>
      flags.length > 0 ? flagTerms(flags) : optionTerms(program.options),
    )
    .replace("<!-- commands -->", () => commandTerms(program.commands))
    .replace("<!-- settings -->", () => settingParts(facts));
}

/** The page of a command; `more` are sections behind its options. */
function commandMarkdown(command: CommandShape, more = ""): string {
  const name = command.path.join(" ");
  const all = command.commands.length > 0 ? command.commands : [command];
  return [
    "# NAME",
    `ipref-${command.path.join("-")} - ${command.description}`,
    "",
    "# SYNOPSIS",
    ...all.flatMap((each) => [synopsis(each), ""]),
    "# DESCRIPTION",
    `\`ipref ${name}\`: ${command.description}.`,
    "",
    ...argumentTerms(command.arguments),
    ...(command.commands.length > 0 ? belowParts(command) : ["# OPTIONS"]),
    optionTerms(command.options),
    more,
    "# SEE ALSO",
    "**ipref**(8), **ipref.toml**(5)",
    "",
  ].join("\n");
}

function belowParts(command: CommandShape): string[] {
  const parts = command.commands.flatMap((below) => [
    `## ipref ${below.path.join(" ")}`,
    `${sentence(below.description)}`,
    "",
    ...argumentTerms(below.arguments),
    optionTerms(below.options),
  ]);
  return ["# COMMANDS", ...parts, "# OPTIONS"];
}

function synopsis({ path, options, arguments: values, commands }: CommandShape): string {
  const tail = [
    ...(options.length > 0 ? ["[*options*]"] : []),
    ...values.map(({ synopsis: text }) => text.replace(/[A-Za-z-]+/, "*$&*")),
    ...(commands.length > 0 ? ["*command*"] : []),
  ];
  return `\`ipref ${path.join(" ")}\` ${tail.join(" ")}`.trimEnd();
}

function commandTerms(commands: readonly CommandShape[]): string {
  return commands
    .map(({ path, description }) => `**ipref-${path.join("-")}**(8)\n: ${sentence(description)}\n`)
    .join("\n");
}

function argumentTerms(values: readonly ArgumentShape[]): string[] {
  return values
    .filter(({ description }) => description !== "")
    .map(({ synopsis: text, description }) => `\`${text}\`\n: ${sentence(description)}\n`);
}

function optionTerms(options: readonly OptionShape[]): string {
  return options.map(optionTerm).join("\n");
}

function optionTerm({ names, valueName, description, value, defaultText }: OptionShape): string {
  const spelled = names.map((name) => `\`${name}\``).join(", ");
  const taken = valueName === undefined ? "" : ` *${valueName.replaceAll("*", "")}*`;
  const words = value.kind === "words" ? ` One of ${value.words.join(", ")}.` : "";
  const preset = defaultText === "" ? "" : ` Default: ${defaultText}.`;
  return `${spelled}${taken}\n: ${sentence(description)}${words}${preset}\n`;
}

function flagTerms(flags: readonly FlagSpec[]): string {
  return flags
    .map(({ name, valueName, meaning, defaultText }) => {
      const taken = valueName === "" ? "" : ` *${valueName}*`;
      const preset = defaultText === "" ? "" : ` Default: ${defaultText}.`;
      return `\`-${name}\`${taken}\n: ${sentence(meaning)}${preset}\n`;
    })
    .join("\n");
}

function settingParts({ settings, sectionTexts }: ManualFacts): string {
  const sections = [...new Set(settings.map(({ section }) => section))];
  return sections
    .flatMap((section) => [
      `## [${section}]`,
      sectionTexts[section] ?? "",
      "",
      ...settings.filter((setting) => setting.section === section).map(settingTerm),
    ])
    .join("\n");
}

function settingTerm({
  key,
  valueName,
  preset,
  presetText,
  meaning,
  flag,
  reload,
}: Setting): string {
  const shown = presetText?.replaceAll("`", "") ?? JSON.stringify(preset);
  const flagText = flag === undefined ? "" : ` Flag: \`--${flag}\`.`;
  const reloadText = reload === "yes" ? "" : " A change waits for a restart.";
  return `\`${key}\` = *${valueName}*\n: ${sentence(meaning)} Default: ${shown}.${flagText}${reloadText}\n`;
}

/** A phrase of the programs' help as a sentence. */
function sentence(phrase: string): string {
  const [first = "", ...rest] = phrase;
  const text = `${/^[a-z]+[ ,;:]/.test(phrase) ? first.toUpperCase() : first}${rest.join("")}`;
  return /[.!?)]$/.test(text) ? text : `${text}.`;
}
