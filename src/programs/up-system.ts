/**
 * The running system of `ipref up`: gateway, DNS server and DNS agent under one supervisor.
 *
 * Start: state file, forwarding, gateway until its mapper socket listens, DNS server until it
 * listens, agent. End, in any way but SIGKILL: agent, DNS server, gateway, then everything that was
 * changed is put back. Reload: the new configuration is read, its command lines and its Corefile
 * are tested, and only then the parts take it over; the gateway keeps running.
 */

import { spawn } from "node:child_process";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EventId } from "../base/event.js";
import { parsePrefix } from "../base/ip.js";
import { printableLines } from "../base/printable.js";
import { changedSettings, localVersion } from "../control/config/read.js";
import type { UpConfiguration } from "../control/config/settings.js";
import { parseGatewayFlags } from "../control/gateway-flags.js";
import type { MonitoringPages } from "../control/inspection/monitoring.js";
import type { SupervisedReport } from "../control/inspection/part-status.js";
import type { LogLevel } from "../control/log-format.js";
import { parseListenAddress } from "../control/metrics/listen-address.js";
import type { LogCounts } from "../control/metrics/process.js";
import { openMonitoring } from "../control/monitoring-port.js";
import type { Closable } from "../control/ports.js";
import { monotonicMs } from "../platform/clock.js";
import type { ControlServer } from "../platform/control-server.js";
import { openMonitoringPort } from "../platform/monitoring-port.js";
import { parseAgentFlags } from "./agent-flags.js";
import { repositoryRoot } from "./demo/gateway-process.js";
import { EXIT_CONFIGURATION } from "./exit-status.js";
import { servePartControl } from "./part-control.js";
import { prepareLocalZone, writeOwnNames, writePublicZone } from "./publish-zone.js";
import { supervisorRoutes } from "./up-control.js";
import {
  forwardingToChange,
  hasResolvectl,
  interfaceNames,
  isRunning,
  knownProcess,
  readState,
  resolvectl,
  socketListens,
  type UpState,
  undo,
  upstreamsOf,
  writeParameter,
  writeState,
} from "./up-machine.js";
import { type SystemMonitoringSources, systemPages } from "./up-monitoring.js";
import { Part, type PartOptions } from "./up-part.js";
import { pathsOf, planOf, type UpPlan } from "./up-plan.js";

const PROGRAMS = join(repositoryRoot(), "dist", "src", "programs");
const CHECK_TIMEOUT_MS = 20_000;

/** Why a configuration cannot be used. */
export class ConfigurationRefused extends Error {
  override readonly name = "ConfigurationRefused";
  /** They quote the file, which may come from others, and can be shown on a terminal. */
  readonly complaints: readonly string[];

  constructor(complaints: readonly string[]) {
    const shown = complaints.map(printableLines);
    super(shown.join("\n"));
    this.complaints = shown;
  }
}

/** What the system is made with. */
export interface UpOptions {
  /** Reads the configuration anew; throws ConfigurationRefused. */
  readonly read: () => UpConfiguration;
  readonly usesResolvectl: boolean;
  /** Takes a line about the system as a whole. */
  readonly say: (text: string, event: EventId, level?: LogLevel) => void;
  /** Takes a line of a part. */
  readonly onLine: (part: string, line: string) => void;
  /** Flags for the log of each part. */
  readonly partFlags?: readonly string[];
  /** Lines of the supervisor, for metrics. */
  readonly logCounts?: () => LogCounts;
}

/** One run. */
export class UpSystem {
  readonly #options: UpOptions;
  #configuration: UpConfiguration;
  #plan: UpPlan;
  #state: UpState;
  readonly #parts: Part[] = [];
  #work: Promise<void> = Promise.resolve();
  #isStopping = false;
  #control: ControlServer | undefined;
  #monitoring: Closable | undefined;
  #isStarted = false;
  readonly #reloads = { done: 0, refused: 0 };

  /** Throws ConfigurationRefused. */
  constructor(options: UpOptions) {
    this.#options = options;
    this.#configuration = options.read();
    this.#plan = makePlan(this.#configuration);
    const configuration = this.#configuration;
    const { forwarding } = configuration.gateway;
    this.#state = {
      supervisor: knownProcess(process.pid),
      parts: [],
      parameters: forwarding ? forwardingToChange(localVersion(configuration)) : [],
      resolvectl: undefined,
      files: filesToRemove(configuration),
    };
  }

  get configuration(): UpConfiguration {
    return this.#configuration;
  }

  /** The programs that are kept running. */
  supervised(): SupervisedReport[] {
    return this.#parts.map(({ name, pid, restarts }) => ({
      name: name as SupervisedReport["name"],
      pid: pid ?? null,
      restarts,
    }));
  }

  /** Tests the configuration as a start would; throws ConfigurationRefused. */
  async check(): Promise<void> {
    await testPlan(this.#plan);
  }

  /** Starts everything; throws PartFailed or ConfigurationRefused, then `stop` cleans up. */
  async start(): Promise<void> {
    this.#takeOver();
    const configuration = this.#configuration;
    const paths = pathsOf(configuration);
    mkdirSync(configuration.files.run, { recursive: true });
    prepareLocalZone(configuration);
    writeOwnNames(configuration);
    this.#complainAll(writePublicZone(configuration));
    this.#writeState();
    writeFileSync(paths.corefile, this.#plan.corefile);
    writeFileSync(paths.pidFile, `${process.pid}\n`);
    for (const { path } of this.#state.parameters) this.#complain(writeParameter(path, "1"));
    const control = { path: paths.control.up, group: undefined };
    const warn = (text: string) => this.#options.say(text, "control-refused", "W");
    const pages = systemPages(this.#monitoringSources());
    this.#control = await servePartControl(control, supervisorRoutes(this, pages), warn);
    await this.#openMonitoring(pages);
    const before = interfaceNames();
    await this.#startPart("gateway", "ipref-gw", this.#plan.gateway, () =>
      socketListens(paths.mapperSocket),
    );
    if (this.#plan.resolver !== undefined) {
      await this.#startPart("resolver", "ipref-coredns", this.#plan.resolver, (has) =>
        has("Listening on"),
      );
    }
    await this.#startPart("agent", "ipref-dns-agent", this.#plan.agent, (has) =>
      has("starting dns-agent"),
    );
    const tun = interfaceNames().find((name) => !before.includes(name)) ?? "ipref0";
    this.#offerDns(tun);
    this.#isStarted = true;
  }

  /** Applies the configuration as it is now; a complaint leaves the old one in force. */
  reload(): Promise<void> {
    this.#work = this.#work.then(async () => {
      if (this.#isStopping) return;
      try {
        await this.#apply(this.#options.read());
      } catch (error) {
        if (!(error instanceof ConfigurationRefused)) throw error;
        this.#reloads.refused++;
        const last = "Reload refused; the configuration in force stays";
        for (const line of [...error.complaints, last]) {
          this.#options.say(line, "reload-refused", "E");
        }
      }
    });
    return this.#work;
  }

  /** Ends everything and puts everything back. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#work;
    this.#control?.close();
    this.#monitoring?.close();
    for (const part of [...this.#parts].reverse()) await part.stop();
    undo(pathsOf(this.#configuration).state, this.#state);
  }

  /** The same without waiting for anybody. */
  kill(): void {
    for (const part of this.#parts) part.kill();
    undo(pathsOf(this.#configuration).state, this.#state);
  }

  /** Refuses to run twice; clears away what a run left that was ended by force. */
  #takeOver(): void {
    const path = pathsOf(this.#configuration).state;
    const old = readState(path);
    if (old === undefined) return;
    if (isRunning(old.supervisor)) {
      const { pid } = old.supervisor;
      throw new ConfigurationRefused([
        `ipref up is running already (process ${pid}): end it with ipref down, ` +
          "or choose other directories with files.run and files.data",
      ]);
    }
    for (const part of old.parts.filter(isRunning)) process.kill(part.pid, "SIGKILL");
    undo(path, old);
    this.#options.say("Cleared away what an earlier run had left", "start", "W");
    const { forwarding } = this.#configuration.gateway;
    const version = localVersion(this.#configuration);
    const parameters = forwarding ? forwardingToChange(version) : [];
    this.#state = { ...this.#state, parameters };
  }

  async #startPart(
    name: string,
    program: string,
    args: readonly string[],
    isReady: PartOptions["isReady"],
  ): Promise<void> {
    if (this.#isStopping) return;
    const part = new Part({
      name,
      file: join(PROGRAMS, `${program}.js`),
      args,
      isReady,
      onLine: this.#options.onLine,
      onEvent: (text) => this.#options.say(text, "part-ended", "E"),
      logFlags: this.#options.partFlags ?? [],
      onProcesses: () => this.#writeState(),
    });
    this.#parts.push(part);
    await part.start();
  }

  /** The port for metrics of all parts. */
  async #openMonitoring(pages: MonitoringPages): Promise<void> {
    const { say } = this.#options;
    const { listen } = this.#configuration.metrics;
    this.#monitoring = await openMonitoring({
      where: parseListenAddress(listen),
      pages,
      machine: { serveHttp: openMonitoringPort, monotonicMs },
      log: { info: say, warning: (text, event) => say(text, event, "W") },
    });
  }

  #monitoringSources(): SystemMonitoringSources {
    return {
      parts: () => {
        const { control } = pathsOf(this.#configuration);
        return this.supervised().map(({ name, pid, restarts }) => ({
          ...{ name, restarts, isRunning: pid !== null, controlSocket: control[name] },
        }));
      },
      isReady: () => this.#isStarted,
      reloads: () => this.#reloads,
      log: this.#options.logCounts ?? (() => ({ lines: {}, suppressed: 0 })),
    };
  }

  #writeState(): void {
    const pids = this.#parts.flatMap(({ pid }) => pid ?? []);
    this.#state = { ...this.#state, parts: pids.map(knownProcess) };
    if (!this.#isStopping) writeState(pathsOf(this.#configuration).state, this.#state);
  }

  #complain(text: string | undefined): void {
    if (text !== undefined) this.#options.say(text, "device-setting", "W");
  }

  #complainAll(lines: readonly string[]): void {
    for (const line of lines) this.#options.say(line, "configuration", "W");
  }

  /** DNS of the machine itself: changed only when asked, else it is said how. */
  #offerDns(tun: string): void {
    const { configuration } = this;
    if (!configuration.resolver.enabled || this.#isStopping) return;
    const server = configuration.resolver.listen[0] ?? firstEncoded(configuration);
    if (!this.#options.usesResolvectl) {
      this.#options.say(dnsAdvice(configuration, tun, server), "advice");
      return;
    }
    this.#state = { ...this.#state, resolvectl: tun };
    this.#writeState();
    const { port } = configuration.resolver;
    const where = port === 53 ? server : `${server}:${port}`;
    const refused = resolvectl("dns", tun, where) ?? resolvectl("domain", tun, "~.");
    this.#complain(refused);
    const text = `The machine asks ${where} (resolvectl, ${tun})`;
    if (refused === undefined) this.#options.say(text, "advice");
  }

  async #apply(read: UpConfiguration): Promise<void> {
    const before = this.#configuration;
    const changes = changedSettings(before, read);
    const waiting = changes.filter(({ reload }) => reload === "restart");
    const next = waiting.length === 0 ? read : withLiveChanges(before, read);
    const plan = makePlan(next);
    prepareLocalZone(next);
    writeOwnNames(next);
    await testPlan(plan);
    for (const { name } of waiting) {
      const text = `${name} has changed; the change waits for a new start`;
      this.#options.say(text, "configuration", "W");
    }
    const old = this.#plan;
    this.#configuration = next;
    this.#plan = plan;
    const { corefile } = pathsOf(next);
    writeFileSync(`${corefile}.new`, plan.corefile);
    renameSync(`${corefile}.new`, corefile);
    this.#part("gateway")?.signal("SIGHUP");
    await this.#renewResolver();
    this.#complainAll(writePublicZone(next));
    await this.#renewAgent(old);
    this.#reloads.done++;
    this.#options.say("Reload complete", "reload");
  }

  /** The local zone has to be in force before the agent looks names up in it. */
  async #renewResolver(): Promise<void> {
    const resolver = this.#part("resolver");
    if (resolver === undefined) return;
    const isDone = await resolver.reload("Reloading complete");
    const text = "The DNS server has not taken its new configuration over";
    if (!isDone) this.#options.say(text, "reload-refused", "E");
  }

  /** The agent reads its command line only at its start; the gateway does not notice the pause. */
  async #renewAgent(old: UpPlan): Promise<void> {
    const agent = this.#part("agent");
    if (agent === undefined) return;
    if (old.agent.join("\n") === this.#plan.agent.join("\n")) {
      agent.signal("SIGHUP");
      return;
    }
    agent.setArguments(this.#plan.agent);
    await agent.stop();
    await agent.start();
  }

  #part(name: string): Part | undefined {
    return this.#parts.find((part) => part.name === name);
  }
}

/** What is left in the run folder when everything was ended by force. */
function filesToRemove(configuration: UpConfiguration): readonly string[] {
  const { corefile, pidFile, control } = pathsOf(configuration);
  return [corefile, pidFile, ...Object.values(control)];
}

/** Command lines for a configuration; throws ConfigurationRefused. */
function makePlan(configuration: UpConfiguration): UpPlan {
  const { upstream } = configuration.resolver;
  const { upstreams: remembered } = pathsOf(configuration);
  const upstreams = upstream.length > 0 ? upstream : upstreamsOf(remembered);
  if (upstreams.length === 0) {
    throw new ConfigurationRefused([
      "/etc/resolv.conf names no DNS server outside of this machine, and none was seen before: " +
        'set resolver.upstream, e.g. upstream = ["192.0.2.53"], or --upstream',
    ]);
  }
  return planOf(configuration, upstreams);
}

/** Tests command lines and Corefile without opening anything; throws ConfigurationRefused. */
async function testPlan(plan: UpPlan): Promise<void> {
  const complaints: string[] = [];
  const gateway = parseGatewayFlags(plan.gateway);
  if (gateway.kind === "errors") complaints.push(...gateway.lines);
  const agent = parseAgentFlags(plan.agent);
  if (agent.kind === "errors") complaints.push(...agent.lines);
  if (plan.resolver !== undefined) {
    complaints.push(...(await corefileComplaints(plan.corefile)));
  }
  if (complaints.length > 0) throw new ConfigurationRefused(complaints);
}

function corefileComplaints(corefile: string): Promise<readonly string[]> {
  const file = join(PROGRAMS, "ipref-coredns.js");
  const child = spawn(process.execPath, [file, "-check", "-conf", "stdin"], {
    stdio: ["pipe", "ignore", "pipe"],
    timeout: CHECK_TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(corefile);
  let text = "";
  child.stderr.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  return new Promise((resolve) => {
    child.once("close", (code) => {
      const lines = text.split("\n").filter(Boolean);
      resolve(code === 0 ? [] : [`The DNS server refuses its Corefile (${code})`, ...lines]);
    });
  });
}

/** The new values where SIGHUP applies them, the old ones elsewhere. */
function withLiveChanges(before: UpConfiguration, after: UpConfiguration): UpConfiguration {
  const { enabled } = before.resolver;
  return {
    files: before.files,
    gateway: before.gateway,
    resolver: { ...after.resolver, enabled },
    publish: after.publish,
    metrics: before.metrics,
  };
}

/** The gateway's own encoded address: the first of the encode net (spec/tunnel.md 5). */
function firstEncoded({ gateway }: UpConfiguration): string {
  const { address } = parsePrefix(gateway["encode-net"])!;
  const text = gateway["encode-net"].split("/")[0]!;
  return address.version === 4 ? text.replace(/\.0$/, ".1") : `${text.replace(/::$/, "")}::1`;
}

function dnsAdvice(configuration: UpConfiguration, tun: string, server: string): string {
  if (hasResolvectl()) {
    return (
      "The machine's own DNS is unchanged. To use IPREF names on it: " +
      `resolvectl dns ${tun} ${server} && resolvectl domain ${tun} '~.', or ipref up --dns resolvectl`
    );
  }
  const host = configuration.resolver.listen[0] ?? "127.0.0.1";
  return (
    "The machine's own DNS is unchanged. To use IPREF names on it, " +
    `make this the first line of /etc/resolv.conf: nameserver ${host}`
  );
}

/** Exit status for a configuration that cannot work. */
export const REFUSED_STATUS = EXIT_CONFIGURATION;
