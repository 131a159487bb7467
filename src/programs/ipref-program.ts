/** The command `ipref` as a whole: its help, and all its commands. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { Argument, Command } from "commander";
import { programVersion } from "../platform/version.js";
import { COMMANDS } from "./commands.js";
import { COMPLETION_HELP, completionScript, SHELLS } from "./completion/command.js";
import { repositoryRoot } from "./demo/gateway-process.js";
import { EXIT_OK } from "./exit-status.js";
import { runTests, runToEnd } from "./test-command.js";

const ROOT = repositoryRoot();
const EXIT_HELP = `
Exit status: 0 done, 1 something failed, 2 bad command line, 3 a diagnosis found something to mend,
4 the system does not run, 69 something needed is not available,
75 part of the tests was left out because it needs root, 77 permission is missing.`;

/** The command; `finish` takes the exit status of the command that was run. */
export function makeProgram(finish: (status: number) => void): Command {
  const program = new Command("ipref")
    .description("IPREF: communication between private networks across NAT and IP versions")
    .version(programVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this text")
    .addHelpText("after", EXIT_HELP)
    .enablePositionalOptions()
    .exitOverride();
  addCommands(program, finish);
  addCompletion(program, finish);
  addDemo(program, finish);
  addVectors(program, finish);
  addPassedThrough(program, finish, GATEWAY);
  if (!isClone()) return program;
  addTest(program, finish);
  addPassedThrough(program, finish, BENCH);
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

/** It needs the program that it is a part of, and is no entry of the table therefore. */
function addCompletion(program: Command, finish: (status: number) => void): void {
  program
    .command("completion")
    .description("print the completion of ipref for a shell")
    .helpGroup("Set up:")
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .addHelpText("after", COMPLETION_HELP)
    .action(async (shell: string) => {
      process.stdout.write(await completionScript(shell, program));
      finish(EXIT_OK);
    });
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

/** A command whose arguments another program reads. */
interface PassedThrough {
  readonly name: string;
  readonly description: string;
  /** Below `dist`. */
  readonly file: string;
}

const GATEWAY: PassedThrough = {
  name: "gateway",
  description: "run the gateway, as ipref-gw does; gateway -h lists its flags",
  file: "src/programs/ipref-gw.js",
};
const BENCH: PassedThrough = {
  name: "bench",
  description: "run benchmarks: dns, forward, mapper, kernel",
  file: "bench/main.js",
};

/** An installed system has no tests, no benchmarks and no compiler. */
function isClone(): boolean {
  return existsSync(join(ROOT, "scripts", "run-tests.js"));
}

function addPassedThrough(
  program: Command,
  finish: (status: number) => void,
  { name, description, file }: PassedThrough,
): void {
  program
    .command(name)
    .description(description)
    .argument("[args...]")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => {
      finish(await runToEnd(process.execPath, [join(ROOT, "dist", file), ...args], process.cwd()));
    });
}
