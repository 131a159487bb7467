/**
 * What several checks of the doctor need: the configuration in force, the running parts, the
 * machine's interfaces and routes. Each is found out once, when it is first asked for.
 */

import { dirname } from "node:path";
import type { IpVersion } from "../../base/ip.js";
import type { UpConfiguration } from "../../control/config/settings.js";
import { shellWord } from "../../control/doctor/finding.js";
import {
  type Interface,
  interfacesOf,
  interfaceWith,
  ownAddressOf,
  type Route,
  routesOf,
} from "../../control/doctor/network.js";
import { type GatewaySettings, parseGatewayFlags } from "../../control/gateway-flags.js";
import type { PeerEntry } from "../../control/inspection/peers.js";
import { RUN_FOLDER } from "../command-line.js";
import { askEntries, type PartAnswer, type PartName, tryPart } from "../inspect/ask.js";
import { isRunning, readState } from "../up-machine.js";
import { pathsOf, planOf } from "../up-plan.js";
import {
  commandLineOf,
  iprefCommand,
  type KnownProgram,
  processService,
  programsRunning,
  runProgram,
} from "./tools.js";

/** Name of the gateway's interface until it is seen. */
const TUN_NAME = "ipref0";
/** Remote gateways that are asked at most. */
const PEERS_MAX = 16;
/** Out of which those heard of last are chosen. */
const PEERS_ASKED_MAX = 100_000;
const ASK_TIMEOUT_MS = 2000;

/** What the user asked for. */
export interface DoctorRequest {
  readonly configuration: UpConfiguration;
  /** The file of the configuration, whether or not it exists. */
  readonly file: string;
  /** Given with --config. */
  readonly isFileGiven: boolean;
  /** Remote gateways to ask besides the known ones. */
  readonly peers: readonly string[];
}

/** The machine and the system on it, as the checks see them. */
export class DoctorContext {
  readonly request: DoctorRequest;
  readonly configuration: UpConfiguration;
  /** Those of the running gateway, else those that a start would use. */
  readonly gateway: GatewaySettings;
  readonly gatewayProcess: KnownProgram | undefined;
  readonly resolverProcess: KnownProgram | undefined;
  /** `ipref up` runs; the process is its own. */
  readonly supervisorPid: number | undefined;
  readonly command = iprefCommand();
  #interfaces: Promise<Interface[]> | undefined;
  readonly #routes = new Map<IpVersion, Promise<Route[]>>();
  #peers: Promise<PeerEntry[]> | undefined;

  constructor(request: DoctorRequest) {
    this.request = request;
    const { configuration } = request;
    const gateways = programsRunning((args) => isProgram(args, "ipref-gw"));
    const found = gateways.flatMap((program) => {
      const parsed = parseGatewayFlags(argumentsOf(program, "ipref-gw"));
      return parsed.kind === "settings" ? [{ program, settings: parsed.settings }] : [];
    });
    const { run } = configuration.files;
    const running =
      found.find(({ settings }) => dirname(settings.mapperSocket) === run) ??
      found.find(({ program }) => program.isHere);
    this.gatewayProcess = running?.program;
    this.gateway = running?.settings ?? plannedSettings(configuration);
    this.configuration = running === undefined ? configuration : inForce(configuration, running);
    const state = readState(pathsOf(this.configuration).state);
    this.supervisorPid = state && isRunning(state.supervisor) ? state.supervisor.pid : undefined;
    const resolvers = programsRunning((args) => isProgram(args, "ipref-coredns"));
    const parts = new Set(state?.parts.map(({ pid }) => pid));
    this.resolverProcess =
      resolvers.find(({ pid }) => parts.has(pid)) ??
      resolvers.find(({ isHere }) => isHere || running?.program.isHere === false);
  }

  /** A command that starts the running system anew. */
  get restart(): string {
    const pid = this.supervisorPid ?? this.gatewayProcess?.pid;
    const unit = pid === undefined ? undefined : processService(pid);
    if (unit !== undefined && /ipref/.test(unit)) return `systemctl restart ${shellWord(unit)}`;
    if (this.supervisorPid !== undefined) {
      const args = commandLineOf(this.supervisorPid);
      return restartOfUp(this.command, args.slice(args.indexOf("up") + 1));
    }
    if (this.gatewayProcess === undefined) {
      const options = this.configurationOption;
      return `${this.command} down${options}; ${this.command} up${options}`;
    }
    const { pid: gatewayPid, args } = this.gatewayProcess;
    return `kill ${gatewayPid}; sleep 2; ${args.map(shellWord).join(" ")}`;
  }

  /** A command that lets a running system read its configuration again. */
  get reload(): string | undefined {
    return this.supervisorPid === undefined ? undefined : `kill -HUP ${this.supervisorPid}`;
  }

  /** " --config FILE" for commands that are to find the same configuration. */
  get configurationOption(): string {
    return this.request.isFileGiven ? ` --config ${shellWord(this.request.file)}` : "";
  }

  /** " --run DIR" for commands that ask this very system. */
  get runOption(): string {
    const { run } = this.configuration.files;
    return run === RUN_FOLDER ? "" : ` --run ${shellWord(run)}`;
  }

  /** Interfaces; none without ip(8). */
  interfaces(): Promise<Interface[]> {
    this.#interfaces ??= jsonOutput(["-j", "-d", "address"]).then(interfacesOf);
    return this.#interfaces;
  }

  /** Routes of one version, of the table that all packets use. */
  routes(version: IpVersion): Promise<Route[]> {
    const known = this.#routes.get(version);
    if (known !== undefined) return known;
    const found = jsonOutput([`-${version}`, "-j", "route"]).then((json) =>
      routesOf(json, version),
    );
    this.#routes.set(version, found);
    return found;
  }

  /** The interface that has the gateway's own encoded address. */
  async tun(): Promise<Interface | undefined> {
    return interfaceWith(await this.interfaces(), ownAddressOf(this.gateway.encodeNet));
  }

  async tunName(): Promise<string> {
    return (await this.tun())?.name ?? TUN_NAME;
  }

  /** Interface towards other gateways: that of the bound address, else of the default route. */
  async publicDevice(): Promise<string | undefined> {
    const own = interfaceWith(await this.interfaces(), this.gateway.bind);
    if (own !== undefined) return own.name;
    const defaults = (await this.routes(this.gateway.tunnelVersion))
      .filter(({ prefix }) => prefix.bits === 0)
      .sort((a, b) => a.metric - b.metric);
    return defaults[0]?.device;
  }

  /** Interfaces with hosts of the local version; the public one only when there is no other. */
  async localDevices(): Promise<string[]> {
    const [tun, outside] = await Promise.all([this.tunName(), this.publicDevice()]);
    const { localVersion } = this.gateway;
    const routes = [...(await this.routes(4)), ...(await this.routes(6))];
    const uplinks = routes.filter(({ prefix }) => prefix.bits === 0).map(({ device }) => device);
    const devices = (await this.interfaces()).filter(
      ({ name, isUp, addresses }) =>
        isUp &&
        name !== "lo" &&
        name !== tun &&
        addresses.some(({ address }) => isGlobalOf(address, localVersion)),
    );
    const inside = devices.filter(({ name }) => name !== outside && !uplinks.includes(name));
    return (inside.length > 0 ? inside : devices).map(({ name }) => name);
  }

  /** Asks a part for JSON; a silent part is a value. */
  ask<Value>(part: PartName, path: string): Promise<PartAnswer<Value>> {
    const signal = AbortSignal.timeout(ASK_TIMEOUT_MS);
    return tryPart<Value>(this.configuration.files.run, part, { path, signal });
  }

  /** Remote gateways that the gateway knows, those heard of last first. */
  peers(): Promise<PeerEntry[]> {
    this.#peers ??= this.#askPeers();
    return this.#peers;
  }

  async #askPeers(): Promise<PeerEntry[]> {
    const call = { path: "/peers", signal: AbortSignal.timeout(ASK_TIMEOUT_MS) };
    const { run } = this.configuration.files;
    // A gateway without control socket, or gone: then none is known.
    const peers = await askEntries<PeerEntry>(run, "gateway", call, PEERS_ASKED_MAX).catch(
      () => [],
    );
    const age = ({ lastReceivedSecondsAgo }: PeerEntry) => lastReceivedSecondsAgo ?? Infinity;
    return peers.sort((a, b) => age(a) - age(b)).slice(0, PEERS_MAX);
  }
}

function isGlobalOf(address: { version: IpVersion; bytes: Uint8Array }, version: IpVersion) {
  const isLinkLocal = address.version === 6 && address.bytes[0] === 0xfe;
  return address.version === version && !isLinkLocal;
}

/** Options of `up` by which `down` finds what runs. */
const PLACE_OPTIONS = ["--config", "--run", "--data"];

/** Ends `ipref up` and starts it with the same words. */
export function restartOfUp(command: string, words: readonly string[]): string {
  const places = words.flatMap((word, index) => {
    const [name = ""] = word.split("=");
    if (!PLACE_OPTIONS.includes(name)) return [];
    return word.includes("=") ? [word] : [word, words[index + 1] ?? ""];
  });
  const line = (name: string, rest: readonly string[]) =>
    [command, name, ...rest.map(shellWord)].join(" ");
  return `${line("down", places)}; ${line("up", words)}`;
}

/** `node [options] .../NAME.js args` or `/usr/bin/NAME args`. */
function isProgram(args: readonly string[], name: string): boolean {
  return placeOf(args, name) >= 0;
}

/** Where the program itself stands in its command line: the first word that is no option. */
function placeOf(args: readonly string[], name: string): number {
  const isIt = (word: string) => word.endsWith(`/${name}.js`) || word.endsWith(`/${name}`);
  if (isIt(args[0] ?? "")) return 0;
  const at = args.findIndex((word, index) => index > 0 && !word.startsWith("-"));
  return at > 0 && isIt(args[at]!) ? at : -1;
}

function argumentsOf({ args }: KnownProgram, name: string): readonly string[] {
  return args.slice(placeOf(args, name) + 1);
}

function plannedSettings(configuration: UpConfiguration): GatewaySettings {
  const parsed = parseGatewayFlags(planOf(configuration, []).gateway);
  if (parsed.kind !== "settings") throw new Error("the plan of ipref up is no command line");
  return parsed.settings;
}

/** The run folder is that of the gateway that runs. */
function inForce(
  configuration: UpConfiguration,
  { settings }: { readonly settings: GatewaySettings },
): UpConfiguration {
  const run = dirname(settings.mapperSocket);
  return { ...configuration, files: { data: settings.dataFolder, run } };
}

async function jsonOutput(args: readonly string[]): Promise<unknown> {
  const { stdout } = await runProgram("ip", args);
  try {
    return JSON.parse(stdout === "" ? "[]" : stdout);
  } catch {
    return [];
  }
}
