/** Arguments of the commands of `ipref`: parsed by commander, refused with exit status 2. */

import { type Argument, Command, CommanderError, type Option } from "commander";
import { EXIT_OK, EXIT_USAGE } from "./exit-status.js";

/** Where the sockets of a running system are when --run names no other folder. */
export const RUN_FOLDER = "/run/ipref";

/** What the arguments say. */
export interface ParsedArguments {
  /** By name in camel case, as commander gives them. */
  readonly options: Readonly<Record<string, unknown>>;
  /** What is no option. */
  readonly words: readonly string[];
}

/** A command of `ipref`, with the help and the strictness that all of them have. */
export function newCommand(name: string, description: string): Command {
  return new Command(`ipref ${name}`)
    .description(description)
    .helpOption("-h, --help", "print this text")
    .configureHelp({ optionDescription: describeWithFacts, argumentDescription: describeWithFacts })
    .allowExcessArguments(false)
    .showSuggestionAfterError(true)
    .exitOverride();
}

/** Choices and default behind a description, as people write them: without quotation marks. */
function describeWithFacts(described: Option | Argument): string {
  const { description, argChoices, defaultValue, defaultValueDescription } = described;
  const facts = argChoices === undefined ? [] : [`one of ${argChoices.join(", ")}`];
  const preset = defaultValueDescription ?? defaultValue;
  if (typeof preset === "string" && preset !== "") facts.push(`default: ${preset}`);
  return facts.length === 0 ? description : `${description} (${facts.join("; ")})`;
}

/** Adds the option of all commands that ask the running system. */
export function addRunOption(command: Command): Command {
  return command.option("--run <dir>", "run folder of the system to ask", RUN_FOLDER);
}

/** Parses; an exit status when there is nothing to run: help was asked for, or a mistake told. */
export function parseArguments(
  command: Command,
  args: readonly string[],
): ParsedArguments | number {
  try {
    command.parse([...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
  }
  return { options: command.opts<Record<string, unknown>>(), words: command.args };
}
