/**
 * `ipref-dns-agent`: tells the gateway which hosts are published under which IPREF address
 * (spec/dns-agent.md). Reads its flags, joins the machine to the agent, ends on a signal.
 */

import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { Agent } from "../agent/agent.js";
import { devmodeMapper } from "../agent/devmode.js";
import { type KeyRing, NO_KEYS, parseKeyFile } from "../agent/key-file.js";
import type { AgentLog, AgentWorld } from "../agent/ports.js";
import { Log } from "../control/log.js";
import { openMonitoring } from "../control/monitoring-port.js";
import { listenForNotify, type NotifySocket } from "../platform/agent-notify-socket.js";
import { monotonicMs } from "../platform/clock.js";
import { logFormatFor, writeLogLine } from "../platform/log-stream.js";
import { openMonitoringPort } from "../platform/monitoring-port.js";
import { Reactor } from "../platform/reactor.js";
import { takeServiceManager } from "../platform/service-manager.js";
import { SystemCallError } from "../platform/system-error.js";
import { agentPages, agentRoutes } from "./agent-control.js";
import { type AgentProgramSettings, parseAgentFlags, withKeys } from "./agent-flags.js";
import { systemAgentWorld } from "./agent-world.js";
import { EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK } from "./exit-status.js";
import { servePartControl } from "./part-control.js";
import { Service } from "./service.js";

/** Go's names of the signals, as the log has always shown them. */
const SIGNAL_NAMES = { SIGINT: "interrupt", SIGTERM: "terminated" } as const;
const LOG_FLUSH_MS = 1000;

/** A configuration that cannot work; the message is a sentence. */
class KeyFileError extends Error {
  override readonly name = "KeyFileError";
}

function makeLog(settings: AgentProgramSettings): Log {
  return new Log({
    write: writeLogLine,
    format: logFormatFor(settings.logFormat, process.stderr.fd),
    nowMs: () => performance.timeOrigin + performance.now(),
    hasTimeStamps: settings.hasTimeStamps,
  });
}

/** Debug lines have no level letter (spec/dns-agent.md 1). */
function agentLog(log: Log, settings: AgentProgramSettings): AgentLog {
  return {
    info: (text, event) => log.info(text, event),
    warning: (text, event) => log.warning(text, event),
    error: (text, event) => log.error(text, event),
    debug(text) {
      if (settings.isDebugged) log.plainDebug(text);
    },
  };
}

function readKeys(path: string | undefined): KeyRing {
  if (path === undefined) return NO_KEYS;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new KeyFileError(`cannot read the key file ${path}: ${code}`);
  }
  const parsed = parseKeyFile(text);
  if (parsed.ok) return parsed.keys;
  throw new KeyFileError(`cannot use the key file: ${path}:${parsed.line}: ${parsed.error}`);
}

/** Resolves at the first SIGINT or SIGTERM; a second one ends the process by itself. */
function stopSignal(): Promise<keyof typeof SIGNAL_NAMES> {
  return new Promise((resolve) => {
    for (const signal of Object.keys(SIGNAL_NAMES) as (keyof typeof SIGNAL_NAMES)[]) {
      process.once(signal, () => resolve(signal));
    }
  });
}

async function openNotify(
  settings: AgentProgramSettings,
  agent: Agent,
  log: Log,
): Promise<NotifySocket | undefined> {
  if (settings.notify === undefined) return undefined;
  const { address, port } = settings.notify;
  const socket = await listenForNotify(address, port, (message, from) =>
    agent.notify(message, from),
  );
  log.info(`receiving NOTIFY at port ${socket.port}`, "agent-notify-port");
  return socket;
}

async function run(settings: AgentProgramSettings, log: Log): Promise<number> {
  log.info("starting dns-agent", "start");
  for (const notice of settings.notices) log.warning(notice, "configuration");
  const keys = readKeys(settings.keyFile);
  const requested = stopSignal();
  const reactor = new Reactor();
  const system = systemAgentWorld({ ...settings, reactor, log: agentLog(log, settings) });
  const { timers, random } = system;
  const world: AgentWorld = settings.isDevmode
    ? { ...system, mapper: devmodeMapper(timers, random) }
    : system;
  const { specs } = settings.agent;
  for (const spec of specs) log.info(`source ${spec.name}`, "agent-source");
  if (specs.length === 0) {
    log.info("no sources, nothing to publish (client mode), waiting", "agent-no-sources");
  }
  const agent = new Agent(withKeys(settings, keys), world);
  const notify = await openNotify(settings, agent, log);
  const pages = agentPages(agent, settings, () => log.counts());
  const routes = agentRoutes(agent, settings, pages);
  const warn = (text: string) => log.warning(text, "control-refused");
  const control = await servePartControl(settings.control, routes, warn);
  const machine = { serveHttp: openMonitoringPort, monotonicMs };
  const port = await openMonitoring({ where: settings.metrics, pages, machine, log });
  const flush = setInterval(() => log.flush(), LOG_FLUSH_MS);
  const unit = new Service(takeServiceManager(process.env, process.pid));
  process.on("SIGHUP", () => void unit.reload(() => agent.pollNow()));
  process.on("SIGUSR1", () => {
    for (const line of statusLines(agent)) log.info(line, "status");
  });
  if (specs.length > 0) agent.start();
  unit.ready(specs.length === 1 ? "following 1 source" : `following ${specs.length} sources`);
  const signal = await requested;
  unit.stopping();
  control.close();
  port.close();
  agent.close();
  notify?.close();
  clearInterval(flush);
  reactor.close();
  log.flush(true);
  log.info(`exiting dns-agent: signal(${SIGNAL_NAMES[signal]})`, "stop");
  return EXIT_OK;
}

function statusLines(agent: Agent): string[] {
  const connection = agent.isConnected ? "connected to the mapper" : "no connection to the mapper";
  const sources = agent.status().map(({ name, hostCount, isComplete }) => {
    if (hostCount === undefined) return `${name}: no set accepted yet`;
    return `${name}: ${hostCount} hosts, ${isComplete ? "acknowledged" : "being delivered"}`;
  });
  return [connection, ...sources];
}

function statusOf(error: unknown): number {
  if (error instanceof KeyFileError) return EXIT_CONFIGURATION;
  return error instanceof SystemCallError ? error.exitCode : EXIT_FAILED;
}

async function main(): Promise<void> {
  const parsed = parseAgentFlags(process.argv.slice(2));
  if (parsed.kind === "help") process.stdout.write(parsed.text);
  if (parsed.kind === "errors") {
    process.stderr.write(`${parsed.lines.join("\n")}\n`);
    process.exitCode = parsed.exitStatus;
  }
  if (parsed.kind !== "settings") return;
  const log = makeLog(parsed.settings);
  try {
    process.exit(await run(parsed.settings, log));
  } catch (error) {
    const status = statusOf(error);
    const text = error instanceof Error ? error.message : String(error);
    const isExpected = status !== EXIT_FAILED || !(error instanceof Error);
    if (isExpected) log.fatal(text);
    else log.fatal(`internal error: ${error.stack ?? text}`, "internal-error");
    process.exit(status);
  }
}

await main();
