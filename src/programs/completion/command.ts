/** `ipref completion`: prints the completion script of a shell. */

import type { Command } from "commander";
import { bashScript } from "./bash.js";
import { fishScript } from "./fish.js";
import { type CommandShape, programShape } from "./shape.js";
import { zshScript } from "./zsh.js";

const SCRIPTS: Readonly<Record<string, (program: CommandShape) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

/** Names of the shells. */
export const SHELLS = Object.keys(SCRIPTS);

/** Where each shell looks for it. */
export const COMPLETION_HELP = `
For this shell only:   source <(ipref completion bash)
For good:              ipref completion bash >~/.local/share/bash-completion/completions/ipref
                       ipref completion zsh >DIRECTORY/_ipref    a directory of $fpath
                       ipref completion fish >~/.config/fish/completions/ipref.fish`;

/** The script of one of the shells for `program` and everything below it. */
export async function completionScript(shell: string, program: Command): Promise<string> {
  return SCRIPTS[shell]?.(await programShape(program)) ?? "";
}
