/** Completion for zsh: a function for its `_arguments`, zshcompsys(1). */

import type { ArgumentShape, CommandShape, OptionShape, ValueShape } from "./shape.js";

/** A file named _ipref for a folder of $fpath; can also be sourced after compinit. */
export function zshScript(program: CommandShape): string {
  return [
    "#compdef ipref",
    "# Completion of ipref for zsh, written by `ipref completion zsh`.",
    "",
    ...functionsOf(program),
    'if [[ $funcstack[1] == _ipref ]]; then _ipref "$@"; else compdef _ipref ipref; fi',
    "",
  ].join("\n");
}

function nameOf({ path }: CommandShape): string {
  return ["_ipref", ...path].join("_").replaceAll("-", "_");
}

/** The functions of all commands below, then that of the command itself. */
function functionsOf(command: CommandShape): string[] {
  const below = command.commands.flatMap(functionsOf);
  const own = command.commands.length > 0 ? branching(command) : plain(command);
  return [...below, ...own, ""];
}

function plain(command: CommandShape): string[] {
  const specs = [...command.options.map(optionSpec), ...command.arguments.map(argumentSpec)];
  return [`${nameOf(command)}() {`, `  _arguments -s ${specs.join(" \\\n    ")}`, "}"];
}

function branching(command: CommandShape): string[] {
  const specs = command.options.map(optionSpec);
  const described = command.commands.map(
    ({ path, description }) => `    ${quoted(`${path.at(-1)}:${description}`)}`,
  );
  return [
    `${nameOf(command)}() {`,
    "  local curcontext=$curcontext state line",
    "  local -a commands=(",
    ...described,
    "  )",
    `  _arguments -C ${[...specs, "'1: :->command'", "'*:: :->rest'"].join(" \\\n    ")}`,
    "  case $state in",
    `    command) _describe -t commands 'ipref command' commands ;;`,
    "    rest)",
    "      case $line[1] in",
    ...command.commands.map((below) => `        ${below.path.at(-1)}) ${nameOf(below)} ;;`),
    "      esac ;;",
    "  esac",
    "}",
  ];
}

/** '(-h --help)'{-h,--help}'[meaning]:name:action' */
function optionSpec({ names, valueName, value, description }: OptionShape): string {
  const attaches = (name: string) => (valueName !== undefined && name.startsWith("--") ? "=" : "");
  const spellings = names.map((name) => `${name}${attaches(name)}`);
  const tail = quoted(
    `[${escaped(description)}]${valueName === undefined ? "" : valueSpec(valueName, value)}`,
  );
  if (spellings.length === 1) return `${spellings[0]}${tail}`;
  return `${quoted(`(${names.join(" ")})`)}{${spellings.join(",")}}${tail}`;
}

function argumentSpec({ synopsis, value }: ArgumentShape): string {
  const name = synopsis.replaceAll(/[<>[\].]/g, "");
  return quoted(`${synopsis.includes("...") ? "*" : ""}${valueSpec(name, value)}`);
}

function valueSpec(name: string, value: ValueShape): string {
  return `:${escaped(name)}:${actionOf(value)}`;
}

function actionOf(value: ValueShape): string {
  if (value.kind === "file") return "_files";
  if (value.kind === "folder") return "_files -/";
  return value.kind === "words" ? `(${value.words.join(" ")})` : " ";
}

/** What means something within a specification. */
function escaped(text: string): string {
  return text.replaceAll(/[\\[\]:]/g, "\\$&");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
