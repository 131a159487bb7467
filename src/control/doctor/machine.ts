/**
 * Judges of the machine under an IPREF system: privileges, the TUN driver, versions, clock, disk,
 * sockets. Facts in, findings out. Pure.
 */

import { type Finding, judgeOf, shellWord } from "./finding.js";

/** capabilities(7), linux/capability.h. */
export const CAP_NET_BIND_SERVICE = 10;
export const CAP_NET_ADMIN = 12;

/** Ports below are privileged (ip(7), ip_unprivileged_port_start). */
const CAPABILITY_NAMES: ReadonlyMap<number, string> = new Map([
  [CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"],
  [CAP_NET_ADMIN, "CAP_NET_ADMIN"],
]);

/** Whose privileges, and what they are. */
export interface PrivilegeFacts {
  /** "the gateway (process 7)" or "this user". */
  readonly who: string;
  readonly isRunning: boolean;
  /** CapEff of proc_pid_status(5). */
  readonly effective: bigint;
  /** Lowest of the ports that the system binds. */
  readonly lowestPort: number;
  /** net.ipv4.ip_unprivileged_port_start. */
  readonly unprivilegedPortStart: number;
  /** How this program is called, without arguments of its own. */
  readonly command: string;
}

/** The privileges to make a TUN device and to bind the ports. */
export function judgePrivileges(facts: PrivilegeFacts): Finding {
  const { who, isRunning, effective, lowestPort, unprivilegedPortStart, command } = facts;
  const needed = [CAP_NET_ADMIN];
  if (lowestPort < unprivilegedPortStart && !isRunning) needed.push(CAP_NET_BIND_SERVICE);
  const missing = needed.filter((bit) => (effective & (1n << BigInt(bit))) === 0n);
  const judge = judgeOf("privileges", who);
  const names = (bits: readonly number[]) =>
    bits.map((bit) => CAPABILITY_NAMES.get(bit)).join(", ");
  if (missing.length === 0) return judge.pass(`has ${names(needed)}`);
  const evidence = `lacks ${names(missing)}, needed for the TUN device and ports below 1024`;
  return judge.fail(evidence, `sudo ${command} doctor`);
}

/** What is at /dev/net/tun. */
export interface TunDeviceFacts {
  readonly path: string;
  /** Undefined: nothing is there. */
  readonly kind: "character device" | "another file" | undefined;
  /** Major and minor number, 10 and 200 for the TUN driver (linux/miscdevice.h). */
  readonly numbers: string | undefined;
  /** Name of the error of open(2) or of the driver's first answer; undefined when it works. */
  readonly error: string | undefined;
  /** The doctor itself is run by root. */
  readonly isRoot: boolean;
}

/** The TUN driver. */
export function judgeTunDevice(facts: TunDeviceFacts): Finding {
  const { path, kind, numbers, error, isRoot } = facts;
  const judge = judgeOf("tun-device", path);
  const make =
    `modprobe -q tun; mkdir -p /dev/net; rm -f ${path}; ` +
    `mknod ${path} c 10 200 && chmod 0666 ${path}`;
  if (kind === undefined) return judge.fail("does not exist", make);
  if (kind !== "character device" || numbers !== "10:200") {
    return judge.fail(`is ${kind}${numbers === undefined ? "" : ` ${numbers}`}, not 10:200`, make);
  }
  if (error === undefined) return judge.pass("the TUN driver answers");
  if (error === "EACCES" || error === "EPERM") {
    if (!isRoot) return judge.skip("this user may not open it; run the doctor as root");
    return judge.fail(`cannot be opened: ${error}`, `chmod 0666 ${path}`);
  }
  return judge.fail(`cannot be used: ${error}`, "modprobe tun");
}

/** Versions of what is below and of what runs. */
export interface VersionFacts {
  readonly node: string;
  readonly kernel: string;
  /** Version of this package. */
  readonly own: string;
  /** Version that each running part tells. */
  readonly running: readonly { readonly part: string; readonly version: string }[];
  /** Starts the system anew. */
  readonly restart: string;
}

/** package.json "engines". */
const NODE_MIN = [20, 19];
/** UDP_GRO came with Linux 5.0; without it each datagram is received by itself. */
const KERNEL_MIN = [5, 0];
/** TUN_F_USO came with Linux 6.2; without it UDP crosses the TUN device packet by packet. */
const KERNEL_GOOD = [6, 2];

/** Node.js, kernel, and the parts that run. */
export function judgeVersions(facts: VersionFacts): Finding[] {
  const { node, kernel, own, running, restart } = facts;
  const nodeJudge = judgeOf("versions", "Node.js");
  const kernelJudge = judgeOf("versions", "Linux");
  const findings = [
    isAtLeast(node, NODE_MIN)
      ? nodeJudge.pass(`${node}, ${NODE_MIN.join(".")} or later is needed`)
      : nodeJudge.fail(`${node}, ${NODE_MIN.join(".")} or later is needed`, INSTALL_NODE),
  ];
  if (!isAtLeast(kernel, KERNEL_MIN)) {
    findings.push(kernelJudge.fail(`${kernel}, 5.0 or later is needed`, INSTALL_KERNEL));
  } else if (!isAtLeast(kernel, KERNEL_GOOD)) {
    const evidence = `${kernel}; 6.2 and later take large UDP packets on the TUN device`;
    findings.push(kernelJudge.pass(evidence));
  } else findings.push(kernelJudge.pass(kernel));
  for (const { part, version } of running) {
    const judge = judgeOf("versions", part);
    if (version === own) findings.push(judge.pass(`version ${version}`));
    else findings.push(judge.warn(`runs version ${version}, installed is ${own}`, restart));
  }
  return findings;
}

const INSTALL_NODE =
  "apt-get update && apt-get install -y nodejs npm # on Debian 12: take it from https://nodejs.org";
const INSTALL_KERNEL =
  "apt-get update && apt-get install -y linux-image-$(dpkg --print-architecture)";

function isAtLeast(version: string, wanted: readonly number[]): boolean {
  const found = /(\d+)\.(\d+)/.exec(version);
  if (found === null) return false;
  const [major, minor] = [Number(found[1]), Number(found[2])];
  return major > wanted[0]! || (major === wanted[0] && minor >= wanted[1]!);
}

/** The machine's clock. */
export interface ClockFacts {
  readonly nowMs: number;
  /** Date of this program's files: the true time is later. */
  readonly builtMs: number;
  /** False: adjtimex(2) says STA_UNSYNC, and no time service says otherwise. */
  readonly isSynchronized: boolean | undefined;
  readonly hasTimesyncd: boolean;
}

const DAY_MS = 86_400_000;
/** A clock this far beyond the build is not believed. */
const FUTURE_MS_MAX = 30 * 365 * DAY_MS;

/** A wrong clock breaks TSIG signatures (RFC 8945 5.2.3) and the times in logs and captures. */
export function judgeClock({ nowMs, builtMs, isSynchronized, hasTimesyncd }: ClockFacts): Finding {
  const judge = judgeOf("clock", "system time");
  const shown = new Date(nowMs).toISOString().slice(0, 16).replace("T", " ");
  const start = "timedatectl set-ntp true";
  const fix = hasTimesyncd
    ? start
    : `apt-get update && apt-get install -y systemd-timesyncd && ${start}`;
  if (nowMs < builtMs - DAY_MS) {
    return judge.fail(`${shown} is before this program was built; signed DNS messages fail`, fix);
  }
  if (nowMs > builtMs + FUTURE_MS_MAX) return judge.fail(`${shown} is too far in the future`, fix);
  if (isSynchronized === undefined) return judge.skip(`${shown}; adjtimex(2) cannot be asked`);
  if (isSynchronized) return judge.pass(`${shown} UTC, synchronised`);
  return judge.warn(`${shown} UTC, not synchronised by any time service`, fix);
}

/** The file system of the data directory. */
export interface DiskFacts {
  readonly folder: string;
  readonly mountPoint: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly freeInodes: number;
  readonly isReadOnly: boolean;
  /** Error of a try to write there; undefined when it worked or was not tried. */
  readonly writeError: string | undefined;
  /** Folders on the same file system that can be emptied without loss. */
  readonly disposable: readonly ("/var/cache/apt" | "/var/log/journal")[];
}

const MEGABYTE = 2 ** 20;
/** The store of a million mappings has 300 MB; a commit copies a few pages. */
const FREE_BYTES_MIN = 16 * MEGABYTE;
const FREE_BYTES_GOOD = 256 * MEGABYTE;
const FREE_INODES_MIN = 64;

/** Room for the mappings: without it no new encoded address is given out. */
export function judgeDisk(facts: DiskFacts): Finding {
  const { folder, mountPoint, freeBytes, totalBytes, freeInodes } = facts;
  const judge = judgeOf("disk", folder);
  const mount = shellWord(mountPoint);
  if (facts.isReadOnly || facts.writeError === "EROFS") {
    return judge.fail(`${mountPoint} is mounted read-only`, `mount -o remount,rw ${mount}`);
  }
  const megabytes = (bytes: number) => Math.floor(bytes / MEGABYTE);
  const free = `${megabytes(freeBytes)} MB of ${megabytes(totalBytes)} MB free`;
  const fixes = roomFixes(facts);
  if (freeInodes < FREE_INODES_MIN) return judge.fail(`${freeInodes} inodes are left`, ...fixes);
  if (freeBytes < FREE_BYTES_MIN) {
    return judge.fail(`${free}: new mappings cannot be stored`, ...fixes);
  }
  if (facts.writeError !== undefined) {
    const word = shellWord(folder);
    return judge.fail(
      `cannot be written: ${facts.writeError}`,
      `mkdir -p ${word} && chmod u+rwx ${word}`,
    );
  }
  const isTight = freeBytes < FREE_BYTES_GOOD && freeBytes < totalBytes / 20;
  return isTight ? judge.warn(free, ...fixes) : judge.pass(free);
}

function roomFixes({ disposable, mountPoint }: DiskFacts): string[] {
  const commands = disposable.map((folder) =>
    folder === "/var/cache/apt" ? "apt-get clean" : "journalctl --vacuum-size=50M",
  );
  const list = `du -xh --max-depth=3 ${shellWord(mountPoint)} | sort -h | tail -n 20`;
  return commands.length > 0 ? commands : [list];
}

/** A socket file of the system. */
export interface SocketFacts {
  readonly path: string;
  /** "mapper socket", "control socket of the gateway". */
  readonly what: string;
  readonly isThere: boolean;
  /** False: this user may not look at the file. */
  readonly isVisible: boolean;
  /** Somebody listens (proc(5), /proc/net/unix). */
  readonly isListening: boolean;
  /** Permission bits. */
  readonly mode: number;
  /** The part that makes it runs. */
  readonly isOwnerRunning: boolean;
  readonly restart: string;
}

const WRITABLE_BY_OTHERS = 0o002;
const USABLE_BY_OWNER = 0o600;

/** Sockets through which mappings are made: there, and only for those who may. */
export function judgeSocket(facts: SocketFacts): Finding {
  const { path, what, isThere, isListening, mode, isOwnerRunning, restart } = facts;
  const judge = judgeOf("sockets", path);
  const word = shellWord(path);
  const bits = `0${mode.toString(8)}`;
  if (!facts.isVisible) return judge.skip(`this user may not see the ${what}; run as root`);
  if (!isOwnerRunning) {
    if (!isThere) return judge.skip(`no ${what}: its part does not run`);
    return judge.warn(`the ${what} is a left-over of an earlier run`, `rm ${word}`);
  }
  if (!isThere || !isListening) {
    return judge.fail(`the ${what} is ${isThere ? "dead" : "gone"} though its part runs`, restart);
  }
  if ((mode & WRITABLE_BY_OTHERS) !== 0) {
    return judge.fail(`every user may use the ${what} (mode ${bits})`, `chmod 0660 ${word}`);
  }
  if ((mode & USABLE_BY_OWNER) !== USABLE_BY_OWNER) {
    return judge.fail(`the ${what} has mode ${bits}`, `chmod 0660 ${word}`);
  }
  return judge.pass(`mode ${bits}, closed to other users`);
}
