/**
 * `ipref`: the one command that people use. Parses its arguments, hands each command to its file,
 * and sets the exit status.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { COMMANDS } from "./commands.js";
import { repositoryRoot } from "./demo/gateway-process.js";
import { EXIT_FAILED, EXIT_OK, EXIT_USAGE } from "./exit-status.js";
import { runTests, runToEnd } from "./test-command.js";

const ROOT = repositoryRoot();
const EXIT_HELP = `
Exit status: 0 done, 1 something failed, 2 bad command line, 3 a diagnosis found something to mend,
4 the system does not run, 69 something needed is not available,
75 part of the tests was left out because it needs root, 77 permission is missing.`;

function makeProgram(finish: (status: number) => void): Command {
  const program = new Command("ipref")
    .description("IPREF: communication between private networks across NAT and IP versions")
    .version(readVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this text")
    .addHelpText("after", EXIT_HELP)
    .enablePositionalOptions()
    .exitOverride();
  addCommands(program, finish);
  addDemo(program, finish);
  addTest(program, finish);
  addVectors(program, finish);
  addPassedThrough(program, finish);
  program
    .command("build")
    .description("build the programs, the tests and the benchmarks")
    .action(() => finish(EXIT_OK)); // the launcher has built before this program started
  return program;
}

/** Commands that read their own arguments. */
function addCommands(program: Command, finish: (status: number) => void): void {
  for (const { name, group, description, load } of COMMANDS) {
    program
      .command(name)
      .helpGroup(group)
      .description(description)
      .argument("[args...]")
      .helpOption(false)
      .allowUnknownOption()
      .passThroughOptions()
      .action(async (args: string[]) => finish(await (await load()).run(args)));
  }
}

function addDemo(program: Command, finish: (status: number) => void): void {
  program
    .command("demo")
    .description("show two private sites that reach each other, in network namespaces (root)")
    .option("--sites <versions>", "IP versions of site 1, tunnel and site 2", "4-4-6")
    .option("--keep", "leave everything running and tell how to look around")
    .option("--down", "remove what an earlier --keep left running")
    .option("--home", "a home network with DNS, published services and three sites")
    .action(async (options: { sites?: string; keep?: boolean; down?: boolean; home?: boolean }) => {
      if (options.home === true) {
        const { runHomeDemo } = await import("./demo/home.js");
        finish(await runHomeDemo());
        return;
      }
      const { runDemo } = await import("./demo/demo.js");
      finish(await runDemo(options));
    });
}

function addTest(program: Command, finish: (status: number) => void): void {
  program
    .command("test")
    .description("run all tests; as root including those in network namespaces")
    .argument("[words...]", "only test files whose path contains one of these words")
    .option("--quick", "leave out namespaces and long tests; needs no root")
    .action(async (words: string[], options: { quick?: boolean }) => {
      finish(await runTests({ root: ROOT, isQuick: options.quick === true, words }));
    });
}

function addVectors(program: Command, finish: (status: number) => void): void {
  program
    .command("vectors")
    .description("run golden vectors and print each difference")
    .argument("<files...>", "files in the format of the vector folder's README")
    .option("--json", "print the results as JSON")
    .action(async (files: string[], options: { json?: boolean }) => {
      const { runVectors } = await import("./vectors/run.js");
      finish(await runVectors(files, { json: options.json === true }));
    });
}

/** Commands whose arguments another program reads. */
function addPassedThrough(program: Command, finish: (status: number) => void): void {
  const targets: [string, string, string][] = [
    [
      "gateway",
      "run the gateway, as ipref-gw does; gateway -h lists its flags",
      "src/programs/ipref-gw.js",
    ],
    ["bench", "run benchmarks: dns, forward, mapper, kernel", "bench/main.js"],
  ];
  for (const [name, description, file] of targets) {
    program
      .command(name)
      .description(description)
      .argument("[args...]")
      .helpOption(false)
      .allowUnknownOption()
      .passThroughOptions()
      .action(async (args: string[]) => {
        finish(
          await runToEnd(process.execPath, [join(ROOT, "dist", file), ...args], process.cwd()),
        );
      });
  }
}

function readVersion(): string {
  const text = readFileSync(join(ROOT, "package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

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
