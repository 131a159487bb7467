/**
 * `ipref`: the one command that people use. Parses its arguments, hands each command to its file,
 * and sets the exit status.
 */

import { CommanderError } from "commander";
import { EXIT_FAILED, EXIT_OK, EXIT_USAGE } from "./exit-status.js";
import { makeProgram } from "./ipref-program.js";

async function main(): Promise<void> {
  const program = makeProgram((status) => {
    process.exitCode = status;
  });
  if (process.argv.length <= 2) {
    program.outputHelp();
    return;
  }
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`ipref: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = EXIT_FAILED;
});
