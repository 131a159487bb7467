/** What the shells' completion and the manual pages know of the commands: taken from commander. */

import type { Argument, Command, Option } from "commander";
import { COMMANDS } from "../commands.js";

/** What can stand for a value. */
export type ValueShape =
  | { readonly kind: "file" }
  | { readonly kind: "folder" }
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "text" };

/** One option. */
export interface OptionShape {
  /** With dashes: the short one, if any, and the long one. */
  readonly names: readonly string[];
  /** Name of the value as the help shows it; undefined: the option takes none. */
  readonly valueName: string | undefined;
  readonly value: ValueShape;
  readonly description: string;
  /** As the help shows it; empty: none. */
  readonly defaultText: string;
}

/** One argument that is no option. */
export interface ArgumentShape {
  /** As the synopsis shows it. */
  readonly synopsis: string;
  readonly value: ValueShape;
  readonly description: string;
}

/** One command with what is below it. */
export interface CommandShape {
  /** Words to type, "ipref" aside: empty for `ipref` itself. */
  readonly path: readonly string[];
  readonly description: string;
  readonly options: readonly OptionShape[];
  readonly arguments: readonly ArgumentShape[];
  readonly commands: readonly CommandShape[];
}

/** The whole of `ipref`; loads the modules of all commands. */
export async function programShape(program: Command): Promise<CommandShape> {
  const entries = new Map(COMMANDS.map((entry) => [entry.name, entry]));
  const commands: CommandShape[] = [];
  for (const command of program.commands) {
    const entry = entries.get(command.name());
    const path = [command.name()];
    const whole = entry === undefined ? command : (await entry.load()).define();
    commands.push(shapeOf(whole, path));
  }
  return { ...shapeOf(program, []), commands };
}

/** `ipref` itself, or a command below it. */
function shapeOf(command: Command, path: readonly string[]): CommandShape {
  const help = command.createHelp();
  const options = help.visibleOptions(command).map(optionShape);
  return {
    path,
    description: command.description(),
    options,
    arguments: command.registeredArguments.map(argumentShape),
    commands: command.commands.map((below) => shapeOf(below, [...path, below.name()])),
  };
}

function optionShape(option: Option): OptionShape {
  const valueName = /[<[]([^>\]]*)[>\]]/.exec(option.flags)?.[1];
  const { defaultValue, defaultValueDescription } = option;
  const isShown = defaultValue !== undefined && defaultValue !== false && defaultValue !== true;
  const isEmpty = Array.isArray(defaultValue) && defaultValue.length === 0;
  const defaultText = defaultValueDescription ?? (isShown && !isEmpty ? String(defaultValue) : "");
  return {
    names: [option.short, option.long].filter((name) => name !== undefined),
    valueName,
    value: valueShape(valueName ?? "", option.argChoices),
    description: option.description,
    defaultText,
  };
}

function argumentShape(argument: Argument): ArgumentShape {
  const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
  return {
    synopsis: argument.required ? `<${name}>` : `[${name}]`,
    value: valueShape(argument.name(), argument.argChoices),
    description: argument.description,
  };
}

function valueShape(name: string, choices: readonly string[] | undefined): ValueShape {
  if (choices !== undefined) return { kind: "words", words: choices };
  if (/dir|folder/i.test(name)) return { kind: "folder" };
  return /file|path/i.test(name) ? { kind: "file" } : { kind: "text" };
}
