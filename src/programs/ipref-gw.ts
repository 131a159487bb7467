/**
 * `ipref-gw`: the gateway. Reads its flags, joins the machine to the gateway, passes signals on and
 * turns the end into an exit status (spec/mapper.md 7).
 */

import { performance } from "node:perf_hooks";
import { ConfigurationError, startGateway } from "../control/gateway.js";
import { type GatewaySettings, parseGatewayFlags } from "../control/gateway-flags.js";
import { Log } from "../control/log.js";
import { logFormatFor, writeLogLine } from "../platform/log-stream.js";
import { Reactor } from "../platform/reactor.js";
import { takeServiceManager } from "../platform/service-manager.js";
import { StoreError } from "../platform/store-lmdb.js";
import { SystemCallError } from "../platform/system-error.js";
import { EXIT_CONFIGURATION, EXIT_FAILED, EXIT_IO_ERROR, EXIT_OK } from "./exit-status.js";
import { chooseKernel } from "./kernel-choice.js";
import { systemMachine } from "./machine.js";
import { faultOf, Service } from "./service.js";

/** Go's names of the signals, as the log has always shown them. */
const SIGNAL_NAMES = { SIGINT: "interrupt", SIGTERM: "terminated" } as const;
/** An orderly stop that takes longer than this is given up. */
const STOP_TIME_MAX_MS = 8_000;
/** Shells report a process ended by signal n as 128 + n; SIGKILL is 9. */
const EXIT_KILLED = 137;

type StopSignal = keyof typeof SIGNAL_NAMES;

/** Resolves at the first SIGINT or SIGTERM; a second one ends the process at once. */
function stopSignal(): Promise<StopSignal> {
  return new Promise((resolve) => {
    let hasCome = false;
    for (const signal of Object.keys(SIGNAL_NAMES) as StopSignal[]) {
      process.on(signal, () => {
        if (hasCome) process.exit(EXIT_KILLED);
        hasCome = true;
        resolve(signal);
      });
    }
  });
}

async function run(settings: GatewaySettings, log: Log): Promise<number> {
  log.info("START ipref gateway", "start");
  const requested = stopSignal();
  let reload = () => {};
  process.on("SIGHUP", () => reload());
  const reactor = new Reactor();
  const kernel = chooseKernel(settings.kernel);
  if (kernel.warning !== undefined) log.warning(kernel.warning, "kernel");
  log.info(`kernel: ${kernel.module === undefined ? "ts" : "wasm"}`, "kernel");
  const gateway = await startGateway(settings, systemMachine(reactor, kernel), log);
  const manager = takeServiceManager(process.env, process.pid);
  const service = new Service(manager, async () => faultOf(await gateway.live()));
  reload = () => void service.reload(() => gateway.reloadHosts());
  service.ready("forwarding");
  const tell = () => {
    for (const line of gateway.status()) log.info(line, "status");
  };
  process.on("SIGUSR1", tell);
  const end = await Promise.race([requested, gateway.failure]);
  const isRequested = typeof end === "string";
  if (!isRequested) log.fatal(end.message);
  service.stopping();
  setTimeout(() => process.exit(isRequested ? EXIT_OK : EXIT_FAILED), STOP_TIME_MAX_MS).unref();
  await gateway.stop();
  reactor.close();
  tell();
  log.flush(true);
  const cause = isRequested ? `signal(${SIGNAL_NAMES[end]})` : "fatal";
  log.info(`STOP ipref gateway: ${cause}`, "stop");
  return isRequested ? EXIT_OK : statusOf(end);
}

/** sysexits(3): 69 and 77 come with the system call's error, 74 with the store's. */
function statusOf(error: unknown): number {
  if (error instanceof SystemCallError) return error.exitCode;
  if (error instanceof ConfigurationError) return EXIT_CONFIGURATION;
  return error instanceof StoreError ? EXIT_IO_ERROR : EXIT_FAILED;
}

function makeLog(settings: GatewaySettings): Log {
  return new Log({
    write: writeLogLine,
    format: logFormatFor(settings.logFormat, process.stderr.fd),
    nowMs: () => performance.timeOrigin + performance.now(),
    debugModules: settings.debugModules,
    isTraced: settings.isTraced,
    hasTicks: settings.hasTicks,
    hasTimeStamps: settings.hasTimeStamps,
  });
}

async function main(): Promise<void> {
  const parsed = parseGatewayFlags(process.argv.slice(2));
  if (parsed.kind === "help") process.stdout.write(parsed.text);
  if (parsed.kind === "errors") {
    process.stderr.write(`${parsed.lines.join("\n")}\n`);
    process.exitCode = parsed.exitStatus;
  }
  if (parsed.kind !== "settings") return;
  const log = makeLog(parsed.settings);
  process.on("uncaughtException", (error) => {
    log.fatal(`internal error: ${error.stack ?? error.message}`, "internal-error");
    log.info("STOP ipref gateway: fatal", "stop");
    process.exit(EXIT_FAILED);
  });
  try {
    process.exit(await run(parsed.settings, log));
  } catch (error) {
    const status = statusOf(error);
    const text = error instanceof Error ? error.message : String(error);
    const isExpected = status !== EXIT_FAILED || !(error instanceof Error);
    if (isExpected) log.fatal(text);
    else log.fatal(`internal error: ${error.stack ?? text}`, "internal-error");
    log.info("STOP ipref gateway: fatal", "stop");
    process.exit(status);
  }
}

await main();
