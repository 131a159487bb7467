/**
 * `ipref-coredns`: the DNS server. Reads its flags, joins the machine to the service, passes
 * signals on and turns the end into an exit status (spec/resolver.md 2.1).
 */

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { PLUGINS, REFUSED_PLUGINS } from "../dns/registry.js";
import { readStandardInput, reasonOf } from "../platform/dns-server-files.js";
import { logFormatFor } from "../platform/log-stream.js";
import { Reactor } from "../platform/reactor.js";
import { takeServiceManager } from "../platform/service-manager.js";
import { SystemCallError } from "../platform/system-error.js";
import { resolverRoutes } from "./dns-control.js";
import { type DnsFlags, parseDnsFlags } from "./dns-flags.js";
import { ProgramLog } from "./dns-log.js";
import {
  ConfigurationRefused,
  type CorefileText,
  complaintsOf,
  DnsService,
} from "./dns-service.js";
import { EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK, EXIT_USAGE } from "./exit-status.js";
import { servePartControl } from "./part-control.js";
import { Service } from "./service.js";

/** Signals that end the server; a second one ends it at once. */
const STOP_SIGNALS = ["SIGTERM", "SIGINT"] as const;
const RELOAD_SIGNALS = ["SIGHUP", "SIGUSR1"] as const;

/** Reads the Corefile each time it is called; standard input once. */
function corefileReader(path: string): () => Promise<CorefileText> {
  let input: Promise<string> | undefined;
  return async () => {
    if (path === "stdin") {
      input ??= readStandardInput();
      return { text: await input, file: "stdin" };
    }
    try {
      return { text: await readFile(path, "utf8"), file: path };
    } catch (error) {
      throw new ConfigurationRefused([`${path}: Cannot read the Corefile: ${reasonOf(error)}`]);
    }
  };
}

function statusOf(error: unknown): number {
  if (error instanceof ConfigurationRefused) return EXIT_CONFIGURATION;
  return error instanceof SystemCallError ? error.exitCode : EXIT_FAILED;
}

function complain(lines: readonly string[]): void {
  process.stderr.write(`${lines.join("\n")}\n`);
}

async function check(flags: DnsFlags, log: ProgramLog): Promise<number> {
  const reactor = new Reactor();
  const service = new DnsService(flags, reactor, log, corefileReader(flags.corefile));
  try {
    const complaints = await service.check();
    log.flush();
    if (complaints.length > 0) complain(complaints);
    return complaints.length > 0 ? EXIT_CONFIGURATION : EXIT_OK;
  } finally {
    reactor.close();
  }
}

async function run(flags: DnsFlags, log: ProgramLog): Promise<number> {
  const reactor = new Reactor();
  const service = new DnsService(flags, reactor, log, corefileReader(flags.corefile));
  const requested = stopSignal();
  const warn = (text: string) => log.write("WARNING", undefined, text, "control-refused");
  const control = await servePartControl(flags.control, resolverRoutes(service), warn);
  try {
    await service.start();
  } catch (error) {
    control.close();
    throw error;
  }
  if (flags.pidFile !== undefined) writeFileSync(flags.pidFile, `${process.pid}\n`);
  const unit = new Service(takeServiceManager(process.env, process.pid));
  unit.ready("answering");
  for (const signal of RELOAD_SIGNALS) {
    process.on(signal, () => {
      log.write("INFO", undefined, "Reloading", "reload");
      void unit.reload(() => service.reload());
    });
  }
  const signal = await requested;
  log.write("INFO", undefined, `Shutting down after ${signal}`, "stop");
  unit.stopping();
  control.close();
  await service.stop();
  reactor.close();
  if (flags.pidFile !== undefined) rmSync(flags.pidFile, { force: true });
  return EXIT_OK;
}

/** Resolves at the first order to end. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    let hasCome = false;
    for (const signal of STOP_SIGNALS) {
      process.on(signal, () => {
        if (hasCome) process.exit(EXIT_FAILED);
        hasCome = true;
        resolve(signal);
      });
    }
  });
}

function versionText(): string {
  const file = new URL("../../../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { version: string };
  return `ipref-coredns-${version}\nlinux/${process.arch}, node ${process.version}\n`;
}

function pluginsText(): string {
  const known = PLUGINS.map(({ name }) => `  ${name}`).sort();
  const refused = [...REFUSED_PLUGINS.keys()].sort();
  return [
    "Directives:",
    ...known,
    "  import",
    "",
    `Of CoreDNS and not here: ${refused.join(", ")}`,
    "",
  ].join("\n");
}

async function main(): Promise<number> {
  const command = parseDnsFlags(process.argv.slice(2));
  switch (command.kind) {
    case "help":
      process.stdout.write(command.text);
      return EXIT_OK;
    case "version":
      process.stdout.write(versionText());
      return EXIT_OK;
    case "plugins":
      process.stdout.write(pluginsText());
      return EXIT_OK;
    case "error":
      complain([command.text]);
      return EXIT_USAGE;
  }
  const { fd } = process.stdout;
  const log = new ProgramLog(fd, logFormatFor(command.flags.logFormat, fd));
  process.on("uncaughtException", (error) => {
    // One bad message must not end the server (spec/resolver.md 5.4).
    log.write(
      "ERROR",
      undefined,
      `Recovered from a bug: ${error.stack ?? error.message}`,
      "internal-error",
    );
  });
  try {
    return await (command.flags.isCheck ? check(command.flags, log) : run(command.flags, log));
  } catch (error) {
    log.flush();
    complain(complaintsOf(error));
    return statusOf(error);
  } finally {
    log.end();
  }
}

process.exit(await main());
