// A gateway program running in a site's gateway namespace: hosts file, start, readiness, end.
//
// Black box: the program is reached through its command line (spec/mapper.md 7.1) and its mapper
// socket only. The environment variable IPREF_GW names another program to run in its place.

import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { waitFor } from "./namespaces.js";
import type { Network, Site } from "./network.js";
import { staticEncodedAddress } from "./network.js";

/** One published host of a site: a private address and the reference it is known by. */
export interface Publication {
  readonly address: string;
  readonly reference: string;
  readonly name: string;
}

/** Settings that differ from what the site implies. */
export interface GatewayOptions {
  readonly hostsLines?: readonly string[];
  /** Own public address; "unknown" is the client mode of spec/tunnel.md 7.1. */
  readonly publicAddress?: string | "unknown";
  readonly extraArguments?: readonly string[];
}

/** A running gateway. */
export interface GatewayProcess {
  readonly site: Site;
  readonly child: ChildProcess;
  readonly pid: number;
  readonly commandLine: readonly string[];
  readonly logPath: string;
  readonly socketPath: string;
  /** Name of the interface that leads into the tunnel. */
  readonly tunName: string;
  /** Everything the gateway wrote so far. */
  log(): string;
  /** Sends a signal and waits for the end; the exit status, or the signal's name. */
  stop(signal?: NodeJS.Signals): Promise<number | string>;
}

/** Time a gateway may take until its socket listens. */
const READY_TIMEOUT_MS = 15_000;

/** Time a gateway may take to end after a signal. */
const STOP_TIMEOUT_MS = 10_000;

/** Folder of the repository: the nearest one above this file that holds package.json. */
export function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json")) && folder !== "/") folder = dirname(folder);
  return folder;
}

/** The gateway program to run. */
export function gatewayProgram(): string {
  return process.env.IPREF_GW ?? join(repositoryRoot(), "bin", "ipref-gw");
}

/** True when the gateway program was built. */
export function gatewayProgramExists(): boolean {
  if (process.env.IPREF_GW !== undefined) return existsSync(gatewayProgram());
  return (
    existsSync(gatewayProgram()) &&
    existsSync(join(repositoryRoot(), "dist", "src", "programs", "ipref-gw.js"))
  );
}

/** Hosts file lines of the owner's side, spec/mapper.md 5.1 `pub`. */
export function publishLines(publications: readonly Publication[]): string[] {
  return publications.map(
    ({ address, reference, name }) => `${address} ${name} #= pub + ${reference}`,
  );
}

/** Hosts file lines of the other side, spec/mapper.md 5.1 `ext`, with static encoded addresses. */
export function externalLines(
  reader: Site,
  owner: Site,
  publications: readonly Publication[],
): string[] {
  return publications.map(({ reference, name }, index) => {
    const encoded = staticEncodedAddress(reader.localVersion, index);
    return `${encoded} ${name} #= ext ${owner.publicAddress} + ${reference}`;
  });
}

/** The whole command line of a site's gateway, program included. */
export function gatewayCommandLine(site: Site, options: GatewayOptions = {}): string[] {
  const unknown = site.tunnelVersion === 4 ? "0.0.0.0" : "::";
  const chosen = options.publicAddress ?? site.publicAddress;
  return [
    gatewayProgram(),
    "-gateway-bind",
    site.bindAddress,
    "-gateway-pub",
    chosen === "unknown" ? unknown : chosen,
    "-encode-net",
    site.encodeNet,
    "-data",
    join(site.directory, "data"),
    "-mapper-socket",
    join(site.directory, "run", "mapper.sock"),
    "-hosts",
    join(site.directory, "hosts"),
    ...(options.extraArguments ?? []),
  ];
}

/** Writes the hosts file, starts the gateway and waits until its mapper socket listens. */
export async function startGateway(
  network: Network,
  site: Site,
  options: GatewayOptions = {},
): Promise<GatewayProcess> {
  mkdirSync(join(site.directory, "run"), { recursive: true });
  writeFileSync(join(site.directory, "hosts"), `${(options.hostsLines ?? []).join("\n")}\n`);
  const logPath = join(site.directory, "gateway.log");
  const socketPath = join(site.directory, "run", "mapper.sock");
  const commandLine = gatewayCommandLine(site, options);
  const before = interfaceNames(await listLinks(network, site));
  const [program = "", ...args] = commandLine;
  const child = network.namespaces.spawn(site.gatewayNamespace, program, args, { logPath });
  const pid = child.pid ?? 0;
  const log = (): string => (existsSync(logPath) ? readFileSync(logPath, "utf8") : "");
  const ready = await waitFor(
    () => (child.exitCode !== null ? false : socketListens(pid, socketPath) ? true : undefined),
    READY_TIMEOUT_MS,
  );
  if (ready !== true) {
    throw new Error(`Cannot start the gateway of ${site.name}:\n${log() || "no output"}`);
  }
  const tunName = interfaceNames(await listLinks(network, site)).find((n) => !before.includes(n));
  return {
    site,
    child,
    pid,
    commandLine,
    logPath,
    socketPath,
    tunName: tunName ?? "",
    log,
    stop: (signal = "SIGTERM") => stopProcess(child, signal),
  };
}

/** Sends `signal` and waits; SIGKILL follows when the process does not end in time. */
export async function stopProcess(
  child: ChildProcess,
  signal: NodeJS.Signals,
): Promise<number | string> {
  const status = (): number | string | undefined => child.exitCode ?? child.signalCode ?? undefined;
  if (status() === undefined) child.kill(signal);
  const ended = await waitFor(status, STOP_TIMEOUT_MS, 10);
  if (ended !== undefined) return ended;
  child.kill("SIGKILL");
  return `still running ${STOP_TIMEOUT_MS} ms after ${signal}`;
}

/** Interfaces of a site's gateway namespace, `ip -oneline link`. */
export async function listLinks(network: Network, site: Site): Promise<string> {
  const result = await network.namespaces.exec(site.gatewayNamespace, "ip", ["-o", "link", "show"]);
  return result.stdout;
}

/** Names in the output of `listLinks`. */
export function interfaceNames(links: string): string[] {
  return links
    .split("\n")
    .map((line) => /^\d+: ([^:@]+)/.exec(line)?.[1] ?? "")
    .filter((name) => name !== "");
}

/** True when a UNIX socket listens at `path` in the namespace of process `pid`.
 * Flag 00010000 is __SO_ACCEPTCON, proc(5) "/proc/net/unix". */
function socketListens(pid: number, path: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/net/unix`, "utf8")
      .split("\n")
      .some((line) => line.includes(" 00010000 ") && line.endsWith(` ${path}`));
  } catch {
    return false;
  }
}
