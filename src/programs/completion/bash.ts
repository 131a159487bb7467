/** Completion for bash(1), section Programmable Completion; needs no other package. */

import type { CommandShape, OptionShape, ValueShape } from "./shape.js";

/** A script to be sourced, or put where bash-completion looks. */
export function bashScript(program: CommandShape): string {
  const commands = withAllBelow(program);
  const paths = commands.filter(({ path }) => path.length > 0).map(({ path }) => quoted(key(path)));
  return [
    "# Completion of ipref for bash, written by `ipref completion bash`.",
    "",
    "_ipref_files() {",
    "  compopt -o filenames 2>/dev/null",
    '  mapfile -t COMPREPLY < <(compgen "$1" -- "$current")',
    "}",
    "",
    "_ipref() {",
    "  local current=$2 previous=$3 path='' index",
    "  COMPREPLY=()",
    "  for ((index = 1; index < COMP_CWORD; index++)); do",
    `    case "\${path:+$path }\${COMP_WORDS[index]}" in`,
    `      ${paths.join(" | ")}) path="\${path:+$path }\${COMP_WORDS[index]}" ;;`,
    "    esac",
    "  done",
    '  case "$path:$previous" in',
    ...commands.flatMap(valueCases),
    "  esac",
    '  case "$path" in',
    ...commands.flatMap(wordCase),
    "  esac",
    "}",
    "",
    "complete -F _ipref ipref",
    "",
  ].join("\n");
}

function withAllBelow(command: CommandShape): CommandShape[] {
  return [command, ...command.commands.flatMap(withAllBelow)];
}

function key(path: readonly string[]): string {
  return path.join(" ");
}

/** After an option that takes a value: the value. */
function valueCases({ path, options }: CommandShape): string[] {
  return options
    .filter(({ valueName }) => valueName !== undefined)
    .map((option) => {
      const patterns = option.names.map((name) => quoted(`${key(path)}:${name}`));
      return `    ${patterns.join(" | ")}) ${valueCommand(option.value)}; return ;;`;
    });
}

function valueCommand(value: ValueShape): string {
  if (value.kind === "file") return "_ipref_files -f";
  if (value.kind === "folder") return "_ipref_files -d";
  return value.kind === "words" ? wordList(value.words) : ":";
}

/** Elsewhere: options behind a dash, else commands or what stands for an argument. */
function wordCase({ path, options, commands, arguments: values }: CommandShape): string[] {
  const names = options.flatMap((option: OptionShape) => option.names);
  const words = commands.map((command) => command.path.at(-1) ?? "");
  const value = values[0]?.value ?? { kind: "text" };
  const other = words.length > 0 ? wordList(words) : valueCommand(value);
  return [
    `    ${quoted(key(path))})`,
    `      if [[ $current == -* ]]; then ${wordList(names)}; else ${other}; fi ;;`,
  ];
}

function wordList(words: readonly string[]): string {
  return `mapfile -t COMPREPLY < <(compgen -W ${quoted(words.join(" "))} -- "$current")`;
}

/** One word of the shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
