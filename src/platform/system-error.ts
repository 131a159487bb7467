/**
 * Refusals by the kernel, told in one sentence: what failed, why, and what to do about it.
 * The sentence style is that of the configuration errors: capital first letter, no full stop.
 */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { lastErrorName } from "./libc.js";

/** Exit statuses of sysexits.h that fit a refusal. */
export const EXIT_UNAVAILABLE = 69;
export const EXIT_NO_PERMISSION = 77;
export const EXIT_CONFIGURATION = 78;

/** A system call that failed. `code` is the error's name; `advice` says what to do. */
export class SystemCallError extends Error {
  override readonly name = "SystemCallError";
  readonly code: string;
  readonly syscall: string;
  readonly advice: string;
  /** Suggested exit status: 77 for missing permission, else 69. */
  readonly exitCode: number;

  constructor(action: string, syscall: string, code: string, advice: string) {
    super(refusalText(action, syscall, code, advice));
    this.code = code;
    this.syscall = syscall;
    this.advice = advice;
    this.exitCode = isPermission(code) ? EXIT_NO_PERMISSION : EXIT_UNAVAILABLE;
  }
}

function refusalText(action: string, syscall: string, code: string, advice: string): string {
  const meaning = MEANINGS[code];
  const cause = meaning === undefined ? `${syscall}: ${code}` : `${meaning} (${syscall}: ${code})`;
  return `Cannot ${action}: ${cause}${advice === "" ? "" : `; ${advice}`}`;
}

/** errno(3), in plain words. */
const MEANINGS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EADDRINUSE: "the address is already in use",
  EADDRNOTAVAIL: "this machine does not have the address",
  EAFNOSUPPORT: "the kernel does not support this IP version",
  EBUSY: "the device is in use",
  ECONNREFUSED: "nobody listens there",
  EEXIST: "it exists already",
  EMFILE: "too many open files in this process",
  ENFILE: "too many open files on this machine",
  ENOENT: "it does not exist",
  ENODEV: "there is no such device",
  ENOSPC: "no space is left on the device",
  ENXIO: "there is no such device",
  EPERM: "the operation needs more privileges",
  EPROTOTYPE: "the socket there has another type",
  EROFS: "the file system is read-only",
};

function isPermission(code: string): boolean {
  return code === "EPERM" || code === "EACCES";
}

/**
 * The error for a refused call. `action` completes "Cannot ..."; `advice` says what to do, and is
 * replaced where the error name alone tells it better.
 */
export function refused(
  action: string,
  syscall: string,
  code: string,
  advice = "",
): SystemCallError {
  return new SystemCallError(action, syscall, code, advice === "" ? adviceFor(code) : advice);
}

/** As `refused`, for the system call that has just returned -1. */
export function lastRefusal(action: string, syscall: string, advice = ""): SystemCallError {
  return refused(action, syscall, lastErrorName(), advice);
}

function adviceFor(code: string): string {
  if (isPermission(code)) return "run as root or give the process CAP_NET_ADMIN";
  if (code === "EMFILE") return "raise the limit of open files (ulimit -n, LimitNOFILE=)";
  if (code === "ENOSPC") return "free some space";
  if (code === "EADDRNOTAVAIL") return "choose an address that `ip address` lists";
  return "";
}

/**
 * Who holds a UDP port, as far as /proc tells: "pid 123 (name)". Looks up the socket's inode in
 * /proc/net/udp and udp6 (proc(5)) and then among the open files of every process.
 */
export function udpPortHolder(port: number): string | undefined {
  const inodes = new Set([...udpInodes("udp", port), ...udpInodes("udp6", port)]);
  if (inodes.size === 0) return undefined;
  for (const pid of readdirSync("/proc")) {
    if (/^[0-9]+$/.test(pid) && holdsSocket(pid, inodes)) return `pid ${pid} (${processName(pid)})`;
  }
  return undefined;
}

function udpInodes(table: string, port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  try {
    const rows = readFileSync(`/proc/net/${table}`, "utf8").split("\n").slice(1);
    const fields = rows.map((row) => row.trim().split(/\s+/));
    return fields.filter((row) => row[1]?.endsWith(`:${wanted}`)).map((row) => row[9] ?? "");
  } catch {
    return [];
  }
}

function holdsSocket(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      const match = /^socket:\[([0-9]+)\]$/.exec(linkTarget(`/proc/${pid}/fd/${fd}`));
      return match !== null && inodes.has(match[1]!);
    });
  } catch {
    return false; // the process has ended, or belongs to somebody else
  }
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

/** Name of a process by /proc/<pid>/comm, or "?". */
export function processName(pid: number | string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "?";
  }
}
