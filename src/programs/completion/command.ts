/** `ipref completion`: prints the completion script of a shell. */

import { Argument, type Command } from "commander";
import { newCommand, parseArguments } from "../command-line.js";
import { EXIT_OK } from "../exit-status.js";
import { bashScript } from "./bash.js";
import { fishScript } from "./fish.js";
import { type CommandShape, programShape } from "./shape.js";
import { zshScript } from "./zsh.js";

const SCRIPTS: Readonly<Record<string, (program: CommandShape) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

/** Where each shell looks for it. */
const HELP = `
For this shell only:   source <(ipref completion bash)
For good:              ipref completion bash >~/.local/share/bash-completion/completions/ipref
                       ipref completion zsh >DIRECTORY/_ipref    a directory of $fpath
                       ipref completion fish >~/.config/fish/completions/ipref.fish`;

/** The command with its options. */
export function define(): Command {
  return newCommand("completion", "print the completion of ipref for a shell")
    .addArgument(new Argument("<shell>", "which shell").choices(Object.keys(SCRIPTS)))
    .addHelpText("after", HELP);
}

/** Runs the command; resolves to the exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const script = SCRIPTS[parsed.words[0] ?? ""];
  process.stdout.write(script?.(await programShape()) ?? "");
  return EXIT_OK;
}
