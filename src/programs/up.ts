/**
 * `ipref up`: the whole system in one supervised run. Reads flags and configuration, starts the
 * parts, hands signals on, and turns the end into an exit status.
 */

import { existsSync, readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { type Command, Option } from "commander";
import { type ReadConfiguration, readConfiguration } from "../control/config/read.js";
import { SETTINGS, type UpConfiguration } from "../control/config/settings.js";
import { complaintLines } from "../control/doctor/report.js";
import { LOG_FORMATS, type LogFormatChoice } from "../control/log-format.js";
import { wallClockMs } from "../platform/clock.js";
import { supervisorLogFormat, writeLogLine } from "../platform/log-stream.js";
import { takeServiceManager } from "../platform/service-manager.js";
import { newCommand, parseArguments } from "./command-line.js";
import { EXIT_FAILED, EXIT_NO_PERMISSION, EXIT_OK } from "./exit-status.js";
import { Service } from "./service.js";
import { UpLog } from "./up-log.js";
import { PartFailed } from "./up-part.js";
import { pathsOf } from "./up-plan.js";
import { privilegeComplaint } from "./up-privileges.js";
import { gatewayLook } from "./up-service.js";
import { ConfigurationRefused, REFUSED_STATUS, UpSystem } from "./up-system.js";

/** The configuration file when it exists. */
export const CONFIGURATION_FILE = "/etc/ipref/ipref.toml";
/** Shells report a process ended by signal n as 128 + n; SIGKILL is 9. */
const EXIT_KILLED = 137;

/** Flags of `up` that are no settings. */
export interface UpFlags {
  readonly config: string | undefined;
  readonly dns: "print" | "resolvectl";
  readonly isCheck: boolean;
  readonly logFormat: LogFormatChoice;
  /** By flag name. */
  readonly settings: ReadonlyMap<string, string>;
}

/** Adds `--config` and the flags of all settings that have one. */
export function addConfigurationFlags(command: Command): Command {
  command.option("--config <file>", `configuration (default: ${CONFIGURATION_FILE} if present)`);
  return addSettingFlags(command);
}

/** Adds the flags of all settings that have one. */
export function addSettingFlags(command: Command): Command {
  for (const { flag, valueName, preset, presetText, meaning } of SETTINGS) {
    if (flag === undefined) continue;
    const shown = presetText ?? String(preset);
    const plain = meaning.replaceAll("`", "");
    command.option(`--${flag} <${valueName.toLowerCase()}>`, `${plain} (default: ${shown})`);
  }
  return command;
}

/** Values of the settings' flags. */
export function settingFlags(options: Readonly<Record<string, unknown>>): Map<string, string> {
  const values = new Map<string, string>();
  for (const { flag } of SETTINGS) {
    if (flag === undefined) continue;
    const value = options[flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())];
    if (typeof value === "string") values.set(flag, value);
  }
  return values;
}

/** Reads file and flags; throws ConfigurationRefused. */
export function loadConfiguration(
  config: string | undefined,
  flags: ReadonlyMap<string, string>,
): UpConfiguration {
  return readConfigurationFile(config, flags).configuration;
}

/** The same with the origin of each value. */
export function readConfigurationFile(
  config: string | undefined,
  flags: ReadonlyMap<string, string>,
): Extract<ReadConfiguration, { ok: true }> {
  const file = config ?? CONFIGURATION_FILE;
  let text = "";
  if (config !== undefined || existsSync(file)) {
    try {
      text = readFileSync(file, "utf8");
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      throw new ConfigurationRefused([`Cannot read the configuration ${file}: ${code}`]);
    }
  }
  const read = readConfiguration({ file, text, flags });
  if (!read.ok) throw new ConfigurationRefused(read.complaints);
  return read;
}

/** The command with its options. */
export function define(): Command {
  const command = newCommand(
    "up",
    "run gateway, DNS server and DNS agent until Ctrl-C; without flags: client mode",
  );
  return addConfigurationFlags(command)
    .addOption(
      new Option("--dns <way>", "what to do with the machine's own DNS")
        .choices(["print", "resolvectl"])
        .default("print"),
    )
    .addOption(
      new Option("--log-format <form>", "auto: text on a terminal, the journal's form, else JSON")
        .choices(LOG_FORMATS)
        .default("auto"),
    )
    .option("--check", "test the configuration and end");
}

/** Parses the arguments of `up`; a status when there is nothing to run. */
export function parseUpFlags(args: readonly string[]): UpFlags | number {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const { options } = parsed;
  return {
    config: options.config as string | undefined,
    dns: options.dns as UpFlags["dns"],
    isCheck: options.check === true,
    logFormat: options.logFormat as LogFormatChoice,
    settings: settingFlags(options),
  };
}

/** Runs until a signal; resolves to the exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const startMs = performance.now();
  const flags = parseUpFlags(args);
  if (typeof flags === "number") return flags;
  const log = new UpLog({
    format: supervisorLogFormat(flags.logFormat, process.stderr.fd),
    write: writeLogLine,
    nowMs: wallClockMs,
  });
  let system: UpSystem;
  try {
    system = new UpSystem({
      read: () => loadConfiguration(flags.config, flags.settings),
      usesResolvectl: flags.dns === "resolvectl",
      say: (text, event, level) => log.say(text, event, level),
      onLine: (part, line) => log.part(part, line),
      partFlags: log.partFlags,
      logCounts: () => log.counts(),
    });
    if (flags.isCheck) {
      await system.check();
      process.stdout.write("The configuration can be used\n");
      return EXIT_OK;
    }
  } catch (error) {
    return refusal(error);
  }
  const complaint = privilegeComplaint(system.configuration);
  if (complaint !== undefined) {
    complain([complaint]);
    return EXIT_NO_PERMISSION;
  }
  const status = await supervise(system, log, startMs, flags.config);
  log.end();
  return status;
}

async function supervise(
  system: UpSystem,
  log: UpLog,
  startMs: number,
  configFile: string | undefined,
): Promise<number> {
  const requested = stopRequest(() => system.kill());
  const manager = takeServiceManager(process.env, process.pid);
  const service = new Service(manager, gatewayLook(pathsOf(system.configuration).control.gateway));
  let status = EXIT_OK;
  try {
    const started = system.start().then(() => "started" as const);
    started.catch(() => undefined);
    if ((await Promise.race([started, requested])) === "started") {
      const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
      const ready = `ready in ${seconds} s, ${summary(system.configuration)}`;
      // The journal takes both streams; elsewhere standard output tells scripts when to go on.
      if (!log.isJournal) process.stdout.write(`ipref: ${ready}\n`);
      if (!log.isText) log.say(ready, "ready");
      service.ready(summary(system.configuration));
      process.on("SIGHUP", () => void service.reload(() => system.reload()));
      void examineMachine(system.configuration, configFile, log);
      await requested;
    }
  } catch (error) {
    status = refusal(error);
    if (error instanceof ConfigurationRefused) return status;
  }
  service.stopping();
  await system.stop();
  return status;
}

/** The quick form of ipref doctor: complaints only, and nobody waits for them. */
async function examineMachine(
  configuration: UpConfiguration,
  file: string | undefined,
  log: UpLog,
): Promise<void> {
  try {
    const { quickFindings } = await import("./doctor/checks.js");
    const findings = await quickFindings(configuration, file ?? CONFIGURATION_FILE);
    for (const line of complaintLines(findings)) log.say(line, "doctor", "W");
  } catch (error) {
    log.say(`The machine cannot be examined: ${error}`, "doctor", "W");
  }
}

/** Resolves at the first SIGINT or SIGTERM; a second one ends everything at once. */
function stopRequest(kill: () => void): Promise<void> {
  return new Promise((resolve) => {
    let hasCome = false;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (hasCome) {
          kill();
          process.exit(EXIT_KILLED);
        }
        hasCome = true;
        resolve();
      });
    }
  });
}

function summary({ gateway, resolver, publish }: UpConfiguration): string {
  const who = gateway.public === "" ? "client mode" : `reached at ${gateway.public}`;
  const dns = resolver.enabled ? `DNS on port ${resolver.port}` : "no DNS server";
  const what = publish.domain === "" ? "nothing published" : `publishing ${publish.domain}`;
  return `${who}, ${gateway["encode-net"]}, ${dns}, ${what}`;
}

function refusal(error: unknown): number {
  if (error instanceof ConfigurationRefused) {
    complain(error.complaints);
    return REFUSED_STATUS;
  }
  if (error instanceof PartFailed) {
    complain([`Cannot start: ${error.message}; its last lines say why`]);
    return error.exitStatus === 0 ? EXIT_FAILED : error.exitStatus;
  }
  const { code = "", path } = error as NodeJS.ErrnoException;
  if (path === undefined || !["EACCES", "EPERM", "EROFS"].includes(code)) throw error;
  complain([`Cannot write ${path}: ${code}; choose folders of this user with --run and --data`]);
  return EXIT_NO_PERMISSION;
}

function complain(lines: readonly string[]): void {
  for (const line of lines) process.stderr.write(`${line}\n`);
}
