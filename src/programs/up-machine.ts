/**
 * What `ipref up` finds and changes on the machine: its resolvers, the kernel's forwarding, and,
 * when asked, the DNS of systemd-resolved. Everything changed is written to a state file first, so
 * that the end of `ipref up`, or `ipref down` after a sudden death, can undo it.
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { type IpAddress, isLoopback, parseIp, sameAddress } from "../base/ip.js";
import { readTrusted, replaceFile } from "./trusted-file.js";

const RESOLV_CONF = "/etc/resolv.conf";
/** The servers behind the stub of systemd-resolved, systemd-resolved.service(8). */
const RESOLVED_CONF = "/run/systemd/resolve/resolv.conf";
/** Address of that stub. */
const RESOLVED_STUB = "127.0.0.53";
const FORWARDING = {
  4: "/proc/sys/net/ipv4/ip_forward",
  6: "/proc/sys/net/ipv6/conf/all/forwarding",
} as const;
const COMMAND_TIMEOUT_MS = 5000;

/** A process by id and start time, so that a reused id is not mistaken for it. */
export interface KnownProcess {
  readonly pid: number;
  readonly startTicks: string;
}

/** What has to be undone, and who runs. */
export interface UpState {
  readonly supervisor: KnownProcess;
  readonly parts: readonly KnownProcess[];
  /** Kernel parameters with their values before. */
  readonly parameters: readonly { readonly path: string; readonly before: string }[];
  /** Interface whose DNS was set with resolvectl. */
  readonly resolvectl: string | undefined;
  /** Files to remove. */
  readonly files: readonly string[];
}

/** Start time in clock ticks (field 22 of proc_pid_stat(5)); empty when the process is gone. */
export function startTicksOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

/** True while this very process runs. */
export function isRunning({ pid, startTicks }: KnownProcess): boolean {
  return startTicks !== "" && startTicksOf(pid) === startTicks;
}

/** The process with this id. */
export function knownProcess(pid: number): KnownProcess {
  return { pid, startTicks: startTicksOf(pid) };
}

/** Reads a state file; undefined without one or with one that is not ours. */
export function readState(path: string): UpState | undefined {
  try {
    const state = JSON.parse(readTrusted(path)) as UpState;
    return typeof state.supervisor?.pid === "number" ? state : undefined;
  } catch {
    return undefined;
  }
}

/** Replaces the state file as a whole. */
export function writeState(path: string, state: UpState): void {
  replaceFile(path, JSON.stringify(state), 0o600);
}

/** Undoes everything in a state but its processes; the file goes last. */
export function undo(path: string, state: UpState): void {
  if (state.resolvectl !== undefined) resolvectl("revert", state.resolvectl);
  for (const { path: parameter, before } of state.parameters) writeParameter(parameter, before);
  for (const file of state.files) rmSync(file, { force: true });
  rmSync(path, { force: true });
}

/** DNS servers that the machine uses now, without those that are this machine's own. */
export function machineResolvers(root = ""): string[] {
  const first = nameServers(`${root}${RESOLV_CONF}`);
  const all = first.includes(RESOLVED_STUB) ? nameServers(`${root}${RESOLVED_CONF}`) : first;
  const own = ownAddresses();
  return all.filter((text) => {
    const address = parseIp(text.replace(/%.*$/, ""));
    if (address === undefined || text.includes("%")) return false;
    const isOwn = isLoopback(address) || own.some((each) => sameAddress(each, address));
    return !isOwn;
  });
}

/** The machine's resolvers, or, once they lead here, those that were there before. */
export function upstreamsOf(rememberedPath: string): readonly string[] {
  const found = machineResolvers();
  if (found.length > 0) {
    remember(rememberedPath, found);
    return found;
  }
  try {
    return readTrusted(rememberedPath).split("\n").filter(Boolean);
  } catch {
    return [];
  }
}

/** A test of the configuration by an ordinary user may not write, and need not. */
function remember(path: string, servers: readonly string[]): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${servers.join("\n")}\n`);
  } catch (error) {
    if (process.geteuid?.() === 0) throw error;
  }
}

function nameServers(path: string): string[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? []);
}

function ownAddresses(): IpAddress[] {
  return Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).flatMap(({ address }) => parseIp(address.replace(/%.*$/, "")) ?? []),
  );
}

/** Names of the network interfaces. */
export function interfaceNames(): readonly string[] {
  return readdirSync("/sys/class/net");
}

/** True when a UNIX socket listens at `path`; flag 00010000 is __SO_ACCEPTCON, proc(5). */
export function socketListens(path: string): boolean {
  const lines = readFileSync("/proc/net/unix", "utf8").split("\n");
  return lines.some((line) => line.includes(" 00010000 ") && line.endsWith(` ${path}`));
}

/** The kernel parameter for forwarding and its value, when it is switched off. */
export function forwardingToChange(version: 4 | 6): UpState["parameters"] {
  const path = FORWARDING[version];
  try {
    const before = readFileSync(path, "utf8").trim();
    return before === "0" ? [{ path, before }] : [];
  } catch {
    return [];
  }
}

/** Sets a kernel parameter; the reason when that fails. */
export function writeParameter(path: string, value: string): string | undefined {
  try {
    writeFileSync(path, value);
    return undefined;
  } catch (error) {
    return `Cannot write ${value} to ${path}: ${(error as NodeJS.ErrnoException).code}`;
  }
}

/** True when resolvectl is installed. */
export function hasResolvectl(): boolean {
  const folders = (process.env.PATH ?? "/usr/bin:/bin").split(delimiter);
  return folders.some((folder) => existsSync(join(folder, "resolvectl")));
}

/** Runs resolvectl(1); the reason when it fails. */
export function resolvectl(...words: readonly string[]): string | undefined {
  const result = spawnSync("resolvectl", words, { encoding: "utf8", timeout: COMMAND_TIMEOUT_MS });
  if (result.status === 0) return undefined;
  const reason = result.error?.message ?? (result.stderr.trim() || `status ${result.status}`);
  return `resolvectl ${words.join(" ")}: ${reason}`;
}
