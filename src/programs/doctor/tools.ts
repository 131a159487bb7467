/** What the doctor's checks read of the machine: files, processes, output of programs. */

import { execFile } from "node:child_process";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { delimiter, join } from "node:path";
import { shellWord } from "../../control/doctor/finding.js";
import { serviceOf } from "../../control/doctor/sockets-table.js";
import { repositoryRoot } from "../demo/gateway-process.js";
import { readTrusted } from "../trusted-file.js";

/** Programs of iproute2 and nftables live in sbin, which an ordinary user does not search. */
const SEARCH_PATH = `${process.env.PATH ?? "/usr/bin:/bin"}:/usr/sbin:/sbin`;
const OUTPUT_BYTES_MAX = 16 << 20;
const COMMAND_TIMEOUT_MS = 4000;
/** Users that are people; services are below, those of systemd's DynamicUser above (login.defs). */
const PERSON_UID_MIN = 1000;
const PERSON_UID_MAX = 60_000;

/** What a program wrote; `status` is undefined when it could not be run or took too long. */
export interface Output {
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program without a shell. */
export function runProgram(
  name: string,
  args: readonly string[],
  timeoutMs = COMMAND_TIMEOUT_MS,
): Promise<Output> {
  return new Promise((resolve) => {
    const options = {
      timeout: timeoutMs,
      killSignal: "SIGKILL" as const,
      maxBuffer: OUTPUT_BYTES_MAX,
      env: { ...process.env, PATH: SEARCH_PATH, LC_ALL: "C" },
    };
    execFile(name, [...args], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code;
      resolve({ status: typeof code === "number" ? code : undefined, stdout, stderr });
    });
  });
}

/** True when a program is installed. */
export function hasProgram(name: string): boolean {
  return SEARCH_PATH.split(delimiter).some((folder) => existsSync(join(folder, name)));
}

/** Content of a file; undefined when it cannot be read, or is not to be trusted. */
export function readText(path: string): string | undefined {
  try {
    return readTrusted(path);
  } catch {
    return undefined;
  }
}

/** Names in a folder; none when it cannot be read. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** A process of this network namespace. */
export interface KnownProgram {
  readonly pid: number;
  readonly args: readonly string[];
  /** False: this user may not see in which namespace it is. */
  readonly isHere: boolean;
}

/**
 * Processes whose command line fits, in the network namespace of this process. Those of ordinary
 * users other than the caller are left out: anybody can call a program by the gateway's name, and
 * its words would stand in commands for a root shell.
 */
export function programsRunning(fits: (args: readonly string[]) => boolean): KnownProgram[] {
  const own = namespaceOf("self");
  return namesIn("/proc").flatMap((name) => {
    const pid = /^\d+$/.test(name) ? Number(name) : 0;
    const args = pid === 0 ? [] : commandLineOf(pid);
    if (args.length === 0 || !fits(args) || isOfAnotherPerson(pid)) return [];
    const namespace = namespaceOf(name);
    if (namespace !== undefined && namespace !== own) return [];
    return [{ pid, args, isHere: namespace !== undefined }];
  });
}

/** Real or effective user of a process (proc_pid_status(5)). */
function isOfAnotherPerson(pid: number): boolean {
  const [, ...users] = /^Uid:\s+(\d+)\s+(\d+)/m.exec(readText(`/proc/${pid}/status`) ?? "") ?? [];
  return users.map(Number).some((uid) => {
    const isPerson = uid >= PERSON_UID_MIN && uid <= PERSON_UID_MAX;
    return isPerson && uid !== process.geteuid?.();
  });
}

/** Undefined for processes that this user may not look into. */
function namespaceOf(process: string): string | undefined {
  try {
    return readlinkSync(`/proc/${process}/ns/net`);
  } catch {
    return undefined;
  }
}

/** Command line of a process; nothing when it has ended. */
export function commandLineOf(pid: number): string[] {
  const text = readText(`/proc/${pid}/cmdline`) ?? "";
  return text === "" ? [] : text.replace(/\0$/, "").split("\0");
}

/** Processes that hold sockets, by inode; only root sees those of others. */
export function socketHolders(inodes: ReadonlySet<string>): Map<string, number> {
  const holders = new Map<string, number>();
  for (const name of namesIn("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    for (const fd of namesIn(`/proc/${name}/fd`)) {
      const inode = inodeOf(`/proc/${name}/fd/${fd}`);
      if (inode !== undefined && inodes.has(inode)) holders.set(inode, Number(name));
    }
  }
  return holders;
}

function inodeOf(link: string): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(link))?.[1];
  } catch {
    return undefined;
  }
}

/** Name of a process (proc_pid_comm(5)). */
export function processName(pid: number): string {
  return readText(`/proc/${pid}/comm`)?.trim() ?? "a process";
}

/** The systemd service that a process belongs to. */
export function processService(pid: number): string | undefined {
  return serviceOf(readText(`/proc/${pid}/cgroup`) ?? "");
}

/** The word by which a shell finds this program. */
export function iprefCommand(): string {
  const root = repositoryRoot();
  const launcher = join(root, "ipref");
  return existsSync(launcher) ? shellWord(launcher) : "ipref";
}
