/**
 * `ipref config`: `check` tests configurations as a start would, `show` prints the values in force
 * and whence they come, `schema` prints the JSON Schema for editors.
 */

import { existsSync, readFileSync } from "node:fs";
import type { Command } from "commander";
import { printableJson } from "../../base/printable.js";
import { configurationSchemaText } from "../../control/config/json-schema.js";
import { newCommand, parseArguments } from "../command-line.js";
import { EXIT_CONFIGURATION, EXIT_OK } from "../exit-status.js";
import {
  addConfigurationFlags,
  CONFIGURATION_FILE,
  loadConfiguration,
  readConfigurationFile,
  settingFlags,
} from "../up.js";
import { machineResolvers } from "../up-machine.js";
import { pathsOf } from "../up-plan.js";
import { ConfigurationRefused, UpSystem } from "../up-system.js";
import { type MachineValues, shownValues, valuesAsData, valuesAsToml } from "./config-values.js";

type Options = Readonly<Record<string, unknown>>;

/** What was asked for. */
type Order = () => number | Promise<number>;

/** The command with its options. */
export function define(): Command {
  return describe(() => undefined);
}

/** Runs the command; resolves to the exit status. */
export async function run(args: readonly string[]): Promise<number> {
  let order: Order = () => EXIT_OK;
  const parsed = parseArguments(
    describe((found) => {
      order = found;
    }),
    args,
  );
  return typeof parsed === "number" ? parsed : await order();
}

function describe(choose: (order: Order) => void): Command {
  const command = newCommand("config", "check, show or describe the configuration of ipref up");
  addConfigurationFlags(
    command
      .command("check")
      .description("test configurations as a start would; exit status 78 when one cannot be used")
      .argument("[files...]", `configurations (default: ${CONFIGURATION_FILE})`)
      .option("--json", "print the results as JSON"),
  ).action((files: string[], options: Options) => choose(() => check(files, options)));
  addConfigurationFlags(
    command
      .command("show")
      .description("print the values in force, as TOML")
      .argument("[file]", `configuration (default: ${CONFIGURATION_FILE})`)
      .option("--origin", "say where each value comes from: default, file, flag or machine")
      .option("--json", "print values and origins as JSON"),
  ).action((file: string | undefined, options: Options) => choose(() => show(file, options)));
  command
    .command("schema")
    .description("print the JSON Schema of the configuration, for editors")
    .action(() => choose(printSchema));
  return command;
}

function printSchema(): number {
  process.stdout.write(configurationSchemaText());
  return EXIT_OK;
}

/** The result of one file. */
interface Checked {
  readonly file: string;
  readonly isUsable: boolean;
  readonly complaints: readonly string[];
}

async function check(words: readonly string[], options: Options): Promise<number> {
  const named = [...words, ...(typeof options.config === "string" ? [options.config] : [])];
  const files = named.length > 0 ? named : [undefined];
  const results: Checked[] = [];
  for (const file of files) results.push(await checkOne(file, settingFlags(options)));
  if (options.json === true) process.stdout.write(`${printableJson(JSON.stringify(results))}\n`);
  else for (const result of results) report(result);
  return results.every(({ isUsable }) => isUsable) ? EXIT_OK : EXIT_CONFIGURATION;
}

function report({ file, isUsable, complaints }: Checked): void {
  if (isUsable) process.stdout.write(`${file}: The configuration can be used\n`);
  for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
}

/** Tests one file, or the defaults when there is no file at all. */
export async function checkOne(
  file: string | undefined,
  flags: ReadonlyMap<string, string>,
): Promise<Checked> {
  const isDefault = file === undefined && !existsSync(CONFIGURATION_FILE);
  const name = isDefault
    ? `${CONFIGURATION_FILE} (absent, defaults)`
    : (file ?? CONFIGURATION_FILE);
  try {
    const system = new UpSystem({
      read: () => loadConfiguration(file, flags),
      usesResolvectl: false,
      say: () => undefined,
      onLine: () => undefined,
    });
    await system.check();
    return { file: name, isUsable: true, complaints: [] };
  } catch (error) {
    if (!(error instanceof ConfigurationRefused)) throw error;
    const complaints = error.complaints.map((text) =>
      text.includes(file ?? CONFIGURATION_FILE) ? text : `${name}: ${text}`,
    );
    return { file: name, isUsable: false, complaints };
  }
}

function show(word: string | undefined, options: Options): number {
  const file = word ?? (options.config as string | undefined);
  try {
    const read = readConfigurationFile(file, settingFlags(options));
    const machine = machineValues(pathsOf(read.configuration).upstreams);
    const values = shownValues(read.configuration, read.origins, machine);
    process.stdout.write(
      options.json === true
        ? `${printableJson(JSON.stringify(valuesAsData(values), null, 2))}\n`
        : printableJson(valuesAsToml(values, options.origin === true)),
    );
    return EXIT_OK;
  } catch (error) {
    if (!(error instanceof ConfigurationRefused)) throw error;
    process.stderr.write(`${error.message}\n`);
    return EXIT_CONFIGURATION;
  }
}

/** The machine's resolvers, or those that an earlier run has noted. */
function machineValues(remembered: string): MachineValues {
  const upstreams = machineResolvers();
  if (upstreams.length > 0) return { upstreams, upstreamsFrom: "/etc/resolv.conf" };
  try {
    const noted = readFileSync(remembered, "utf8").split("\n").filter(Boolean);
    return { upstreams: noted, upstreamsFrom: remembered };
  } catch {
    return { upstreams: [], upstreamsFrom: "" };
  }
}
