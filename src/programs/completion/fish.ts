/** Completion for fish: calls of its `complete`, fish-completions(1). */

import type { CommandShape, OptionShape, ValueShape } from "./shape.js";

/** A script for /usr/share/fish/vendor_completions.d. */
export function fishScript(program: CommandShape): string {
  return [
    "# Completion of ipref for fish, written by `ipref completion fish`.",
    "",
    "# True when the commands typed so far are these and no further one.",
    "function __ipref_at",
    "    set -l typed (commandline -opc)",
    "    set -e typed[1]",
    "    set -l words",
    "    for word in $typed",
    "        if not string match -q -- '-*' $word; and test (count $words) -lt (count $argv)",
    "            set -a words $word",
    "        end",
    "    end",
    '    test "$words" = "$argv"',
    "end",
    "",
    "# True before the first command.",
    "function __ipref_at_start",
    "    set -l typed (commandline -opc)",
    "    set -e typed[1]",
    "    for word in $typed",
    "        string match -q -- '-*' $word; or return 1",
    "    end",
    "end",
    "",
    "complete -c ipref -f",
    ...linesOf(program),
    "",
  ].join("\n");
}

function linesOf(command: CommandShape): string[] {
  const { path, options, commands, arguments: values } = command;
  const at = conditionOf(command);
  const words = commands.map(({ path: below, description }) =>
    line(at, `-a ${quoted(below.at(-1) ?? "")} -d ${quoted(description)}`),
  );
  const value = values[0]?.value;
  const files = value === undefined || value.kind === "text" ? [] : [line(at, argumentOf(value))];
  return [
    `# ipref ${path.join(" ")}`.trimEnd(),
    ...words,
    ...options.map((option) => line(at, optionOf(option))),
    ...files,
    ...commands.flatMap(linesOf),
  ];
}

/** A group of commands offers its commands until one of them has been typed. */
function conditionOf({ path, commands }: CommandShape): string {
  if (path.length === 0) return "__ipref_at_start";
  const at = `__ipref_at ${path.join(" ")}`;
  if (commands.length === 0) return at;
  const below = commands.map((command) => command.path.at(-1)).join(" ");
  return `${at}; and not __fish_seen_subcommand_from ${below}`;
}

function line(condition: string, rest: string): string {
  return `complete -c ipref -n ${quoted(condition)} ${rest}`;
}

function optionOf({ names, valueName, value, description }: OptionShape): string {
  const spelled = names.map((name) =>
    name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
  );
  const takes = valueName === undefined ? [] : valueWords(value);
  return [...spelled, ...takes, `-d ${quoted(description)}`].join(" ");
}

/** -r: a value must follow; -x: and it is no file. */
function valueWords(value: ValueShape): string[] {
  if (value.kind === "file") return ["-r", "-F"];
  return value.kind === "text" ? ["-x"] : ["-x", argumentOf(value)];
}

function argumentOf(value: ValueShape): string {
  if (value.kind === "words") return `-a ${quoted(value.words.join(" "))}`;
  return value.kind === "folder" ? "-a '(__fish_complete_directories)'" : "-F";
}

/** In single quotes fish knows \\ and \' only. */
function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
