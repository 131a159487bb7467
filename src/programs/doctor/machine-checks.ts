/** Checks of the machine: privileges, TUN driver, versions, clock, disk, sockets. */

import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  type Stats,
  statfsSync,
  statSync,
} from "node:fs";
import { release } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Finding } from "../../control/doctor/finding.js";
import {
  type DiskFacts,
  judgeClock,
  judgeDisk,
  judgePrivileges,
  judgeSocket,
  judgeTunDevice,
  judgeVersions,
  type SocketFacts,
} from "../../control/doctor/machine.js";
import type { PartStatus } from "../../control/inspection/status.js";
import { effectiveCapabilities } from "../../platform/capabilities.js";
import { isClockSynchronized, tunDriverError } from "../../platform/machine-probes.js";
import { programVersion } from "../../platform/version.js";
import { controlPath, PART_NAMES } from "../inspect/ask.js";
import { socketListens } from "../up-machine.js";
import type { Check } from "./check.js";
import type { DoctorContext } from "./context.js";
import { hasProgram, readText } from "./tools.js";

const TUN_DEVICE = "/dev/net/tun";
/** systemd-timesyncd makes it when it has set the clock (systemd-timesyncd.service(8)). */
const TIMESYNC_MARK = "/run/systemd/timesync/synchronized";
const PORT_START = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
const DISPOSABLE = ["/var/cache/apt", "/var/log/journal"] as const;
const SHORT_MS = 2000;
const ASKING_MS = 4000;

export const MACHINE_CHECKS: readonly Check[] = [
  {
    id: "privileges",
    looksAt: "capabilities",
    isQuick: true,
    timeoutMs: SHORT_MS,
    examine: async (context) => [privileges(context)],
  },
  {
    id: "tun-device",
    looksAt: TUN_DEVICE,
    isQuick: true,
    timeoutMs: SHORT_MS,
    examine: async () => [tunDevice()],
  },
  {
    id: "versions",
    looksAt: "Node.js, Linux, running parts",
    isQuick: true,
    timeoutMs: ASKING_MS,
    examine: versions,
  },
  {
    id: "clock",
    looksAt: "system time",
    isQuick: false,
    timeoutMs: SHORT_MS,
    examine: async () => [clock()],
  },
  {
    id: "disk",
    looksAt: "the data directory",
    isQuick: true,
    timeoutMs: SHORT_MS,
    examine: async (context) => [judgeDisk(diskFacts(context.configuration.files.data))],
  },
  {
    id: "sockets",
    looksAt: "mapper and control sockets",
    isQuick: true,
    timeoutMs: SHORT_MS,
    examine: async (context) => socketFacts(context).map(judgeSocket),
  },
];

function privileges({ gatewayProcess, gateway, configuration, command }: DoctorContext): Finding {
  const { enabled, port } = configuration.resolver;
  const status = readText(`/proc/${gatewayProcess?.pid ?? "self"}/status`) ?? "";
  return judgePrivileges({
    who: gatewayProcess === undefined ? "this user" : `the gateway (process ${gatewayProcess.pid})`,
    isRunning: gatewayProcess !== undefined,
    effective: effectiveCapabilities(status),
    lowestPort: Math.min(gateway.port, enabled ? port : gateway.port),
    unprivilegedPortStart: Number(readText(PORT_START) ?? 1024),
    command,
  });
}

function tunDevice(): Finding {
  const entry = lstatSync(TUN_DEVICE, { throwIfNoEntry: false });
  const isDevice = entry?.isCharacterDevice() === true;
  return judgeTunDevice({
    path: TUN_DEVICE,
    kind: entry === undefined ? undefined : isDevice ? "character device" : "another file",
    numbers: isDevice ? deviceNumbers(entry.rdev) : undefined,
    error: tunDriverError(TUN_DEVICE),
    isRoot: process.geteuid?.() === 0,
  });
}

/** Major and minor number, makedev(3). */
function deviceNumbers(device: number): string {
  return `${(device >> 8) & 0xfff}:${(device & 0xff) | ((device >> 12) & 0xfff00)}`;
}

async function versions(context: DoctorContext): Promise<Finding[]> {
  const answers = await Promise.all(
    PART_NAMES.map((part) => context.ask<PartStatus>(part, "/status")),
  );
  return judgeVersions({
    node: process.version.slice(1),
    kernel: release(),
    own: programVersion(),
    running: answers.flatMap((answer) =>
      answer.state === "answered"
        ? [{ part: answer.value.part, version: answer.value.version }]
        : [],
    ),
    restart: context.restart,
  });
}

function clock(): Finding {
  const isKept = isClockSynchronized();
  return judgeClock({
    nowMs: Date.now(),
    builtMs: statSync(fileURLToPath(import.meta.url)).mtimeMs,
    isSynchronized: isKept === false ? existsSync(TIMESYNC_MARK) : isKept,
    hasTimesyncd: hasProgram("timedatectl") && existsSync(TIMESYNCD),
  });
}

const TIMESYNCD = "/usr/lib/systemd/systemd-timesyncd";

/** Facts of the file system of a folder, or of the nearest one above that exists. */
function diskFacts(folder: string): DiskFacts {
  let there = folder;
  while (!existsSync(there)) there = dirname(there);
  const system = statfsSync(there);
  const { mountPoint, isReadOnly } = mountOf(there);
  return {
    folder,
    mountPoint,
    freeBytes: system.bavail * system.bsize,
    totalBytes: system.blocks * system.bsize,
    // File systems without a fixed number of inodes tell 0 of 0.
    freeInodes: system.files === 0 ? Number.POSITIVE_INFINITY : system.ffree,
    isReadOnly,
    writeError: there === folder && process.geteuid?.() === 0 ? writeError(folder) : undefined,
    disposable: DISPOSABLE.filter((each) => isSameDevice(each, there)),
  };
}

function writeError(folder: string): string | undefined {
  try {
    accessSync(folder, constants.W_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

function isSameDevice(a: string, b: string): boolean {
  const first = statSync(a, { throwIfNoEntry: false });
  return first !== undefined && first.dev === statSync(b).dev;
}

/** The mount of a path: the last of proc_pid_mountinfo(5) with the longest fitting place. */
function mountOf(path: string): { mountPoint: string; isReadOnly: boolean } {
  let found = { mountPoint: "/", isReadOnly: false };
  for (const line of (readText("/proc/self/mountinfo") ?? "").split("\n")) {
    const [, , , , place, options] = line.split(" ");
    if (place === undefined || options === undefined) continue;
    const isAbove = place === "/" || path === place || path.startsWith(`${place}/`);
    if (!isAbove || place.length < found.mountPoint.length) continue;
    found = { mountPoint: place, isReadOnly: options.split(",").includes("ro") };
  }
  return found;
}

function socketFacts(context: DoctorContext): SocketFacts[] {
  const { gateway, gatewayProcess, resolverProcess, supervisorPid, configuration } = context;
  const isUp = supervisorPid !== undefined;
  const running: Readonly<Record<string, boolean>> = {
    gateway: gatewayProcess !== undefined,
    resolver: resolverProcess !== undefined && isUp,
    agent: isUp,
    up: isUp,
  };
  const files = [
    { path: gateway.mapperSocket, what: "mapper socket", isOwnerRunning: running.gateway! },
    ...PART_NAMES.map((part) => ({
      path:
        part === "gateway"
          ? (gateway.controlSocket ?? "")
          : controlPath(configuration.files.run, part),
      what: `control socket of ${part === "up" ? "ipref up" : `the ${part}`}`,
      isOwnerRunning: running[part]!,
    })),
  ];
  return files.flatMap(({ path, what, isOwnerRunning }): SocketFacts[] => {
    const entry = path === "" ? undefined : statOf(path);
    if (entry === "hidden") return [{ ...UNKNOWN_SOCKET, path, what, isOwnerRunning }];
    const isMapper = path === gateway.mapperSocket;
    // Control sockets can be switched off; a missing one is no fault.
    if (entry === undefined && !isMapper) return [];
    const isListening = entry !== undefined && socketListens(path);
    return [
      {
        path,
        what,
        isThere: entry !== undefined,
        isVisible: true,
        isListening,
        mode: (entry?.mode ?? 0) & 0o777,
        // Who is no root does not know all processes; but a socket that listens has an owner.
        isOwnerRunning: isOwnerRunning || isListening,
        restart: context.restart,
      },
    ];
  });
}

const UNKNOWN_SOCKET: Omit<SocketFacts, "path" | "what" | "isOwnerRunning"> = {
  isThere: false,
  isVisible: false,
  isListening: false,
  mode: 0,
  restart: "",
};

/** Undefined: it does not exist. "hidden": this user may not look. */
function statOf(path: string): Stats | "hidden" | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return "hidden";
  }
}
