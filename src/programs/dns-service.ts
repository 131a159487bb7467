/**
 * The life of the DNS server: start, reload, the regular look at addresses, end. A configuration is
 * read, built and started beside the one in force and takes over only when everything worked
 * (spec/resolver.md 2.1, 2.6, 2.7).
 */

import { createHash } from "node:crypto";
import { addProcessMetrics } from "../control/metrics/process.js";
import { MetricsRegistry } from "../control/metrics/registry.js";
import type { Chain } from "../dns/chain.js";
import { type Configuration, readConfiguration } from "../dns/configuration.js";
import { ProblemList } from "../dns/corefile/parser.js";
import { formatProblem, type Problem } from "../dns/corefile/structure.js";
import { ResponseRate } from "../dns/limits/response-rate.js";
import type { ReloadSettings } from "../dns/plugins/reload/setup.js";
import { TIMEOUT_DEFAULTS, type TimeoutSettings } from "../dns/plugins/timeouts/setup.js";
import type { Endpoint } from "../dns/query.js";
import { SourceLimits } from "../dns/server/rate-limit.js";
import { DnsServer } from "../dns/server/server.js";
import { isFiltered, SourceFilter } from "../dns/server/source-filter.js";
import { Site } from "../dns/site.js";
import type { ServerReport } from "../dns/upstream/upstreams.js";
import {
  type LocalAddress,
  localAddresses,
  onLinkPrefixes,
} from "../platform/dns-server-addresses.js";
import { systemFiles, systemImports } from "../platform/dns-server-files.js";
import { processUsage } from "../platform/process-usage.js";
import type { Reactor } from "../platform/reactor.js";
import { SystemCallError } from "../platform/system-error.js";
import { programVersion } from "../platform/version.js";
import { DnsEndpoints, lameduckMs } from "./dns-endpoints.js";
import { DnsWorld } from "./dns-environment.js";
import type { DnsFlags } from "./dns-flags.js";
import { DnsListening, describeEndpoint } from "./dns-listening.js";
import type { ProgramLog } from "./dns-log.js";
import { selfProblems } from "./dns-self-check.js";
import { becomeUser } from "./dns-user.js";

/** spec/resolver.md 8. */
const RESCAN_MS = 5000;
const GRACE_MS = 5000;
const GRACE_STEP_MS = 10;

/** Why a configuration cannot be used. */
export class ConfigurationRefused extends Error {
  override readonly name = "ConfigurationRefused";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

/** A configuration in force. */
interface Running {
  readonly site: Site;
  readonly checksum: string;
  upstreams(): readonly ServerReport[];
  close(): void;
}

/** State of the server, for status displays. */
export interface ServiceFacts {
  readonly chains: readonly Chain[];
  /** Handlers that are not ready yet. */
  readonly waitingFor: readonly string[];
  readonly endpoints: readonly Endpoint[];
  readonly upstreams: readonly ServerReport[];
  readonly mappers: readonly { readonly socket: string; readonly isReady: boolean }[];
  readonly queriesInFlight: number;
  readonly tcpConnections: number;
}

/** The Corefile with its imports, as text. */
export interface CorefileText {
  readonly text: string;
  readonly file: string;
}

/** One server process. Main thread. */
export class DnsService {
  readonly #flags: DnsFlags;
  readonly #log: ProgramLog;
  readonly #readCorefile: () => Promise<CorefileText>;
  readonly #world: DnsWorld;
  readonly #metrics = new MetricsRegistry("resolver");
  readonly #filter = new SourceFilter();
  readonly #server: DnsServer;
  readonly #responseRate: ResponseRate;
  readonly #listening: DnsListening;
  readonly #endpoints: DnsEndpoints;
  #running: Running | undefined;
  #addresses: readonly LocalAddress[] = [];
  #rescan: NodeJS.Timeout | undefined;
  #watch: NodeJS.Timeout | undefined;
  #lastWatched = "";
  #work: Promise<void> = Promise.resolve();

  constructor(
    flags: DnsFlags,
    reactor: Reactor,
    log: ProgramLog,
    readCorefile: () => Promise<CorefileText>,
  ) {
    this.#flags = flags;
    this.#log = log;
    this.#readCorefile = readCorefile;
    this.#world = new DnsWorld(reactor, log, this.#metrics);
    const { sourceRate } = flags;
    const limits = new SourceLimits(
      sourceRate === 0
        ? { ratePerSecond: Number.POSITIVE_INFINITY, burst: Number.POSITIVE_INFINITY }
        : { ratePerSecond: sourceRate, burst: 5 * sourceRate },
    );
    this.#server = new DnsServer(this.#world.environment().environment, this.#filter, limits);
    this.#responseRate = new ResponseRate(this.#world.random);
    this.#listening = new DnsListening(reactor, this.#messageHandler(), log);
    this.#endpoints = new DnsEndpoints({
      waitingFor: () => this.waitingFor(),
      metricsText: () => this.metricsText(),
      isLocalSource: (client) => this.#filter.isLocal(client),
    });
    addProcessMetrics(this.#metrics, {
      version: programVersion(),
      nodeVersion: process.version,
      usage: processUsage,
      log: () => log.counts(),
    });
    this.#metrics.refreshers.add(() => this.#refreshMetrics());
  }

  #messageHandler() {
    const server = this.#server;
    const rate = this.#responseRate;
    const filter = this.#filter;
    const { clock } = this.#world;
    return {
      receive: server.receive.bind(server),
      // Local sources are not limited: blocks that others may ask serve public zones only.
      limitReply: (
        reply: Uint8Array,
        length: number,
        client: { address: LocalAddress["address"] },
      ) =>
        filter.isLocal(client.address)
          ? length
          : rate.admit(reply, length, client.address, clock.monotonicMs()),
    };
  }

  /** The page of metrics. */
  metricsText(): string {
    return this.#metrics.text();
  }

  /** What the server waits for; empty when it is ready. */
  waitingFor(): readonly string[] {
    return this.#running?.site.waitingFor() ?? ["configuration"];
  }

  /** Reads everything and reports all problems; opens nothing (`-check`). */
  async check(): Promise<readonly string[]> {
    this.#lookAtAddresses();
    const { configuration } = await this.#read();
    const { environment, close } = this.#world.environment();
    const site = new Site(configuration, environment, this.#filter);
    try {
      return await site.start();
    } finally {
      site.stop();
      close();
      this.#world.close();
    }
  }

  /** Starts; throws ConfigurationRefused or SystemCallError, and then nothing is left open. */
  async start(): Promise<void> {
    this.#lookAtAddresses();
    try {
      this.#running = await this.#bringUp();
    } catch (error) {
      this.#close();
      throw error;
    }
    const refusal = this.#flags.user === undefined ? undefined : becomeUser(this.#flags.user);
    if (refusal !== undefined) {
      this.#close();
      throw new ConfigurationRefused([refusal]);
    }
    this.#describe();
    this.#rescan = setInterval(() => this.#enqueue(() => this.#followAddresses()), RESCAN_MS);
    this.#scheduleWatch();
  }

  /** What is to be seen of the server now. */
  facts(): ServiceFacts {
    const running = this.#running;
    return {
      chains: running?.site.chains ?? [],
      waitingFor: running?.site.waitingFor() ?? ["configuration"],
      endpoints: this.#listening.endpoints,
      upstreams: running?.upstreams() ?? [],
      mappers: this.#world.mappers(),
      queriesInFlight: this.#server.inFlight,
      tcpConnections: this.#listening.connectionLimits.count,
    };
  }

  /** Builds the configuration anew; a complaint is logged and the old one stays. */
  reload(): Promise<void> {
    return this.#enqueue(() => this.#replace());
  }

  /** Ends in order: `lameduck`, no new questions, up to 5 s for the pending ones. */
  async stop(): Promise<void> {
    clearInterval(this.#rescan);
    clearTimeout(this.#watch);
    await this.#work;
    const configuration = this.#running?.site.configuration;
    const lameduck = configuration === undefined ? 0 : lameduckMs(configuration);
    if (lameduck > 0) await pause(lameduck);
    this.#listening.stopListening();
    const deadline = this.#world.clock.monotonicMs() + GRACE_MS;
    while (this.#server.inFlight > 0 && this.#world.clock.monotonicMs() < deadline) {
      await pause(GRACE_STEP_MS);
    }
    await pause(0); // replies of this turn leave
    this.#close();
  }

  #close(): void {
    this.#listening.close();
    this.#endpoints.close();
    this.#running?.close();
    this.#running = undefined;
    this.#world.close();
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#log.write("ERROR", undefined, `Cannot apply a change: ${text}`, "internal-error");
    });
    return this.#work;
  }

  async #replace(): Promise<void> {
    const old = this.#running;
    this.#lookAtAddresses();
    try {
      this.#running = await this.#bringUp();
    } catch (error) {
      this.#metrics.count("coredns_reload_failed_total", {});
      for (const line of [...complaintsOf(error), "The configuration in force stays"]) {
        this.#log.write("ERROR", undefined, line, "reload-refused");
      }
      if (old !== undefined) await this.#takeSockets(old.site).catch(() => undefined);
      return;
    }
    // Queries on their way through the old chains end within 4 s (spec/resolver.md 1.14).
    if (old !== undefined) setTimeout(() => old.close(), GRACE_MS).unref();
    this.#log.write("INFO", undefined, "Reloading complete", "reload");
    this.#scheduleWatch();
  }

  /** Reads, builds and starts a configuration and gives it the sockets. */
  async #bringUp(): Promise<Running> {
    const { configuration, checksum } = await this.#read();
    const { environment, upstreams, close } = this.#world.environment();
    const site = new Site(configuration, environment, this.#filter);
    const end = (): void => {
      site.stop();
      close();
    };
    try {
      const complaints = await site.start();
      if (complaints.length > 0) throw new ConfigurationRefused(complaints);
      await this.#takeSockets(site);
    } catch (error) {
      end();
      throw error;
    }
    this.#log.isDebug = configuration.blocks.some(({ settings }) => settings.has("debug"));
    return { site, checksum, upstreams, close: end };
  }

  async #takeSockets(site: Site): Promise<void> {
    const problems = new ProblemList();
    const { configuration } = site;
    const refused = await this.#listening.apply(site.chains, this.#addresses, problems);
    this.#report(problems.problems);
    if (refused !== undefined) throw refused;
    this.#report(
      selfProblems(site, (endpoint) => this.#listening.isOwn(endpoint, this.#addresses)),
    );
    const httpRefused = await this.#endpoints.apply(configuration);
    if (httpRefused !== undefined) throw httpRefused;
    const timeouts = configuration.blocks.map(({ settings }) => settings.get("timeouts"));
    const chosen = timeouts.find((found) => found !== undefined) as TimeoutSettings | undefined;
    this.#listening.timeouts = chosen ?? TIMEOUT_DEFAULTS;
    this.#server.tcpIdleMs = this.#listening.timeouts.idleMs;
  }

  async #read(): Promise<{ configuration: Configuration; checksum: string }> {
    const { text, file } = await this.#readCorefile();
    const configuration = await readConfiguration({
      text,
      file,
      imports: systemImports,
      variables: (name) => process.env[name],
      defaultPort: this.#flags.port,
    });
    this.#report(configuration.problems);
    return { configuration, checksum: await checksumOf(text, configuration.importedFiles) };
  }

  /** Logs warnings; throws all errors together. */
  #report(problems: readonly Problem[]): void {
    for (const problem of problems) {
      if (problem.severity === "warning") {
        this.#log.write("WARNING", undefined, formatProblem(problem), "configuration");
      }
    }
    const errors = problems.filter((problem) => problem.severity === "error");
    if (errors.length > 0) throw new ConfigurationRefused(errors.map(formatProblem));
  }

  #lookAtAddresses(): void {
    this.#addresses = localAddresses();
    this.#filter.onLinkPrefixes = onLinkPrefixes(this.#addresses);
  }

  async #followAddresses(): Promise<void> {
    const before = JSON.stringify(this.#addresses.map(plainAddress));
    this.#lookAtAddresses();
    if (JSON.stringify(this.#addresses.map(plainAddress)) === before) return;
    const { site } = this.#running!;
    const problems = new ProblemList();
    const refused = await this.#listening.apply(site.chains, this.#addresses, problems);
    for (const problem of problems.problems) {
      this.#log.write("WARNING", undefined, formatProblem(problem), "configuration");
    }
    if (refused !== undefined)
      this.#log.write("WARNING", undefined, refused.message, "dns-address-refused");
  }

  /** The `reload` directive: looks at the Corefile and its imports from time to time. */
  #scheduleWatch(): void {
    clearTimeout(this.#watch);
    const { site, checksum } = this.#running!;
    const all = site.configuration.blocks.map(({ settings }) => settings.get("reload"));
    const settings = all.find((found) => found !== undefined) as ReloadSettings | undefined;
    if (settings === undefined) return;
    this.#lastWatched = checksum;
    const again = (): void => {
      const spread = (this.#world.random.word() / 2 ** 31 - 1) * settings.jitterMs;
      this.#watch = setTimeout(() => {
        void this.#enqueue(() => this.#reloadWhenChanged()).then(again);
      }, settings.intervalMs + spread);
    };
    again();
  }

  async #reloadWhenChanged(): Promise<void> {
    const { text } = await this.#readCorefile();
    const { importedFiles } = this.#running!.site.configuration;
    const checksum = await checksumOf(text, importedFiles);
    if (checksum === this.#lastWatched) return;
    this.#lastWatched = checksum; // a bad file is complained about once
    await this.#replace();
  }

  #describe(): void {
    if (this.#flags.isQuiet) return;
    const { site } = this.#running!;
    for (const { configuration } of site.chains) {
      const zones = configuration.zones.map(({ zone, port }) => `${zone}:${port}`).join(" ");
      const who = configuration.settings.has("acl")
        ? "as 'acl' says"
        : isFiltered(configuration)
          ? "local sources only"
          : "everybody";
      this.#log.write("INFO", undefined, `${zones} answers ${who}`, "dns-block");
    }
    const where = this.#listening.endpoints.map(describeEndpoint).sort().join(", ");
    this.#log.write("INFO", undefined, `Listening on ${where}`, "dns-listening");
  }

  #refreshMetrics(): void {
    const udp = this.#listening.udpListeners;
    const sum = (pick: (listener: (typeof udp)[number]) => number) =>
      udp.reduce((total, listener) => total + pick(listener), 0);
    const metrics = this.#metrics;
    metrics.total(
      "ipref_dns_udp_oversized_total",
      {},
      sum(({ counts }) => counts.oversized),
    );
    metrics.total(
      "ipref_dns_udp_send_failures_total",
      {},
      sum(({ counts }) => counts.sendFailures),
    );
    const { truncated, dropped } = this.#responseRate.counts;
    metrics.total("ipref_dns_limited_total", { action: "truncated" }, truncated);
    metrics.total("ipref_dns_limited_total", { action: "dropped" }, dropped);
    metrics.gauge("ipref_dns_tcp_connections", {}, this.#listening.connectionLimits.count);
    metrics.gauge("ipref_dns_queries_in_flight", {}, this.#server.inFlight);
  }
}

/** One line for each complaint. */
export function complaintsOf(error: unknown): readonly string[] {
  if (error instanceof ConfigurationRefused) return error.problems;
  if (error instanceof SystemCallError) return [error.message];
  return [error instanceof Error ? (error.stack ?? error.message) : String(error)];
}

function plainAddress({ interfaceName, address, prefixBits }: LocalAddress) {
  return [interfaceName, [...address.bytes], prefixBits];
}

async function checksumOf(text: string, files: readonly string[]): Promise<string> {
  const hash = createHash("sha256").update(text);
  for (const path of files) {
    const read = await systemFiles.read(path);
    hash.update(`\0${path}\0`).update(read.ok ? read.bytes : read.error);
  }
  return hash.digest("hex");
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
