/**
 * `ipref init`: looks at the machine, chooses a configuration, explains every choice in comments,
 * and writes it. It asks only at a terminal, and only when two ways lead to the Internet.
 */

import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  type Stats,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline/promises";
import { pathToFileURL } from "node:url";
import { type Command, Option } from "commander";
import { formatIp, formatPrefix } from "../../base/ip.js";
import { printable, printableJson } from "../../base/printable.js";
import { flagComplaints, readConfiguration } from "../../control/config/read.js";
import { newCommand, parseArguments, RUN_FOLDER } from "../command-line.js";
import { repositoryRoot } from "../demo/gateway-process.js";
import {
  EXIT_CONFIGURATION,
  EXIT_FAILED,
  EXIT_NO_PERMISSION,
  EXIT_OK,
  EXIT_UNAVAILABLE,
  EXIT_USAGE,
} from "../exit-status.js";
import { addSettingFlags, CONFIGURATION_FILE, settingFlags } from "../up.js";
import { checkOne } from "./config.js";
import { choose } from "./init-choice.js";
import { choicesText, nextStepsText } from "./init-report.js";
import { configurationText } from "./init-text.js";
import { tunnelVersionOf } from "./init-tunnel.js";
import { CannotChoose, type Choices, type Wishes } from "./init-types.js";
import { lineDifference, shortDifference } from "./line-difference.js";
import { type MachineFacts, machineFacts } from "./machine-facts.js";
import { addressOn, uplinksOf } from "./machine-view.js";

/** The JSON Schema in a clone, and in an installation below lib/ipref. */
const SCHEMA_PLACES = ["docs/ipref.schema.json", "../../share/ipref/ipref.schema.json"];
const STANDARD_OUTPUT = "-";
/** It holds no secrets: key files are only named. */
const NEW_FILE_MODE = 0o644;

interface InitFlags {
  readonly output: string;
  readonly isForced: boolean;
  readonly isAsking: boolean;
  readonly isJson: boolean;
  readonly wishes: Wishes;
}

/** The command with its options. */
export function define(): Command {
  const command = newCommand("init", "look at this machine and write a configuration for it")
    .option("-o, --output <file>", "where to write; - for standard output", CONFIGURATION_FILE)
    .option("--force", "replace a configuration that exists")
    .option("--yes", "never ask: take the best default route")
    .option("--json", "print what was found and chosen as JSON")
    .option("--uplink <interface>", "interface that leads to the Internet")
    .addOption(version("--tunnel <version>", "IP version of the tunnel"))
    .addOption(version("--local <version>", "IP version of the local network"));
  return addSettingFlags(command);
}

function version(flags: string, description: string): Option {
  return new Option(flags, description).choices(["4", "6"]);
}

/** Runs the command; resolves to the exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const flags = flagsOf(parsed.options);
  const complaints = flagComplaints(flags.wishes.settings);
  if (complaints.length > 0) return refuse(complaints.join("\n"), EXIT_USAGE);
  const facts = await machineFacts(join(flags.wishes.settings.get("run") ?? RUN_FOLDER, "up.json"));
  try {
    const wishes = flags.isAsking ? await askForUplink(facts, flags.wishes) : flags.wishes;
    return await write(facts, choose(facts, wishes), flags);
  } catch (error) {
    if (error instanceof CannotChoose) {
      return refuse(printable(error.message), error.isWish ? EXIT_USAGE : EXIT_UNAVAILABLE);
    }
    const { code, path } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") {
      const fix = "run it with sudo, or name another place with -o FILE";
      return refuse(`Cannot write ${path ?? flags.output}: ${code}; ${fix}`, EXIT_NO_PERMISSION);
    }
    if (code === undefined || path === undefined) throw error;
    return refuse(`Cannot write ${path}: ${code}`, EXIT_FAILED);
  }
}

function flagsOf(options: Readonly<Record<string, unknown>>): InitFlags {
  const versionOf = (value: unknown) => (value === "4" ? 4 : value === "6" ? 6 : undefined);
  const isTerminal = process.stdin.isTTY === true && process.stderr.isTTY === true;
  return {
    output: String(options.output),
    isForced: options.force === true,
    isAsking: isTerminal && options.yes !== true && options.json !== true,
    isJson: options.json === true,
    wishes: {
      settings: settingFlags(options),
      tunnel: versionOf(options.tunnel),
      local: versionOf(options.local),
      uplink: options.uplink as string | undefined,
    },
  };
}

function refuse(message: string, status: number): number {
  process.stderr.write(`${message}\n`);
  return status;
}

/** With two ways to the Internet the user knows better which one others should use. */
async function askForUplink(facts: MachineFacts, wishes: Wishes): Promise<Wishes> {
  const routes = uplinksOf(facts, tunnelVersionOf(facts, wishes).version);
  if (wishes.uplink !== undefined || wishes.settings.has("bind") || routes.length < 2) {
    return wishes;
  }
  const lines = routes.map((route, index) => {
    const own = addressOn(facts, route);
    const text = own === undefined ? "no address" : formatIp(own);
    return `  ${index + 1}. ${printable(route.interfaceName)}, ${text}, metric ${route.metric}\n`;
  });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    process.stderr.write(`Several interfaces lead to the Internet:\n${lines.join("")}`);
    const closed = new Promise<never>((_, reject) => {
      const message = "No answer; --uplink INTERFACE or --yes answers the question";
      terminal.once("close", () => reject(new CannotChoose(message, true)));
    });
    const question = terminal.question(`Which one for the tunnel? [1-${routes.length}, 1] `);
    const answer = await Promise.race([question, closed]);
    const route = routes[answer.trim() === "" ? 0 : Number(answer) - 1];
    if (route === undefined) {
      throw new CannotChoose(
        `Found '${printable(answer)}', expected a number from 1 to ${routes.length}`,
        true,
      );
    }
    return { ...wishes, uplink: route.interfaceName };
  } finally {
    terminal.close();
  }
}

async function write(facts: MachineFacts, choices: Choices, flags: InitFlags): Promise<number> {
  const { output, isJson } = flags;
  const isStandardOutput = output === STANDARD_OUTPUT;
  const schema = schemaPlace();
  const text = configurationText(choices, { file: isStandardOutput ? undefined : output, schema });
  const read = readConfiguration({ file: output, text, flags: new Map() });
  if (!read.ok) return refuse(read.complaints.join("\n"), EXIT_CONFIGURATION);
  if (isJson)
    process.stdout.write(
      `${printableJson(JSON.stringify(asData(facts, choices, text), null, 2))}\n`,
    );
  else if (isStandardOutput) process.stdout.write(text);
  const say = isStandardOutput ? process.stderr : process.stdout;
  if (!isJson) say.write(`${choicesText(choices)}\n`);
  if (isStandardOutput) return EXIT_OK;
  const status = place(text, flags);
  if (status !== undefined) return status;
  const checked = await checkOne(output, new Map());
  if (!checked.isUsable) return refuse(checked.complaints.join("\n"), EXIT_CONFIGURATION);
  if (isJson) return EXIT_OK;
  say.write(`Written to ${output}, and tested as ipref config check does.\n\n`);
  say.write(nextStepsText(facts, choices, output, output === CONFIGURATION_FILE));
  return EXIT_OK;
}

/** Puts the file in its place; a status when it stays as it is. */
function place(text: string, { output, isForced, isJson }: InitFlags): number | undefined {
  if (existsSync(output)) {
    const before = readFileSync(output, "utf8");
    if (before === text) return undefined;
    if (!isForced) {
      const lines = shortDifference(lineDifference(before, text));
      if (!isJson) {
        process.stdout.write(`--- ${output}, as it is\n+++ ${output}, as chosen now\n`);
        process.stdout.write(`${lines.join("\n")}\n`);
      }
      const fix = "--force replaces it, -o FILE writes elsewhere";
      return refuse(`${output} exists and differs; it stays as it is. ${fix}`, EXIT_FAILED);
    }
  }
  mkdirSync(dirname(output), { recursive: true });
  const next = `${output}.${process.pid}.new`;
  const file = openSync(next, "wx", NEW_FILE_MODE);
  try {
    writeFileSync(file, text);
    if (existsSync(output)) keepOwner(file, statSync(output));
  } finally {
    closeSync(file);
  }
  renameSync(next, output);
  return undefined;
}

/** The new file belongs to whom the old one did; an ordinary user can only keep the mode. */
function keepOwner(file: number, { uid, gid, mode }: Stats): void {
  if (process.geteuid?.() === 0) fchownSync(file, uid, gid);
  fchmodSync(file, mode & 0o777);
}

/** The schema of this installation, for the editor. */
function schemaPlace(): string | undefined {
  const places = SCHEMA_PLACES.map((place) => join(repositoryRoot(), place));
  const path = places.find((place) => existsSync(place));
  return path && pathToFileURL(path).href;
}

function asData(facts: MachineFacts, { choices, notes, uplink }: Choices, text: string): object {
  return {
    found: {
      addresses: facts.addresses.map(({ interfaceName, address, prefixBits }) => ({
        interface: interfaceName,
        address: `${formatIp(address)}/${prefixBits}`,
      })),
      defaultRoutes: [...uplinksOf(facts, 4), ...uplinksOf(facts, 6)].map((route) => ({
        interface: route.interfaceName,
        version: route.prefix.address.version,
        gateway: route.gateway === undefined ? null : formatIp(route.gateway),
        metric: route.metric,
      })),
      networks: [...new Set(facts.networks.map(formatPrefix))],
      resolvers: facts.resolvers,
      tunTrouble: facts.tunTrouble ?? null,
      isRunning: facts.isRunning,
    },
    uplink: uplink && {
      interface: uplink.route.interfaceName,
      address: uplink.address === undefined ? null : formatIp(uplink.address),
      kind: uplink.kind ?? null,
    },
    choices: choices.map(({ name, value, reasons }) => ({ name, value: value ?? null, reasons })),
    notes,
    text,
  };
}
