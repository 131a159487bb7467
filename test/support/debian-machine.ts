/**
 * Debian with systemd as its first process, in namespaces of its own: what systemd-nspawn(1) does,
 * as far as the tests need it. The folder is its root; the network namespace is given.
 */

import type { ChildProcess } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  type CommandResult,
  type Namespaces,
  run,
  sleep,
  waitFor,
} from "../../src/programs/demo/namespaces.js";

const CGROUPS = "/sys/fs/cgroup";
const BOOT_TIME_MAX_MS = 60_000;
const COMMAND_TIME_MAX_MS = 60_000;

/**
 * Runs with the root folder and the control group's name as arguments. The first part enters the
 * group, so that the namespace of control groups begins there.
 */
const BOOT = `
set -e
root=$1 group=$2
for tree in ${CGROUPS}/systemd ${CGROUPS}/unified ${CGROUPS}; do
  if [ -e "$tree/$group/cgroup.procs" ]; then echo $$ >"$tree/$group/cgroup.procs"; fi
done
exec unshare --fork --kill-child --pid --mount --uts --ipc --cgroup sh -ec '
mount --make-rprivate /
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/net dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
mount -t mqueue mqueue dev/mqueue
mknod -m 666 dev/null c 1 3; mknod -m 666 dev/zero c 1 5; mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8; mknod -m 666 dev/urandom c 1 9; mknod -m 666 dev/tty c 5 0
mknod -m 666 dev/net/tun c 10 200
if [ -e ${CGROUPS}/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
fi
hostname debian
pivot_root . mnt
umount -l /mnt
exec env -i container=ipref-test PATH=/usr/bin:/usr/sbin /lib/systemd/systemd --system \\
  --log-target=journal --show-status=false systemd.unit=multi-user.target
' "$root"
`;

/** Why nothing can boot here; undefined when it can. */
export function whyNoMachine(): string | undefined {
  const trees = controlGroupTrees();
  if (trees.length === 0) return "this machine has no control groups";
  try {
    for (const tree of trees) {
      const path = join(tree, `ipref-probe-${process.pid}`);
      mkdirSync(path);
      rmdirSync(path);
    }
    return undefined;
  } catch (error) {
    return `control groups cannot be made here: ${(error as NodeJS.ErrnoException).code}`;
  }
}

/** A machine that has booted. */
export class DebianMachine {
  readonly root: string;
  readonly #child: ChildProcess;
  readonly #group: string;
  readonly #logPath: string;

  private constructor(root: string, child: ChildProcess, group: string, logPath: string) {
    this.root = root;
    this.#child = child;
    this.#group = group;
    this.#logPath = logPath;
  }

  /** Boots the folder in a network namespace; throws with the log when it does not come up. */
  static async boot(namespaces: Namespaces, network: string, root: string): Promise<DebianMachine> {
    const group = `ipref-test-${process.pid}`;
    for (const tree of controlGroupTrees()) mkdirSync(join(tree, group), { recursive: true });
    writeFileSync(join(root, "etc/machine-id"), `${"0123456789abcdef".repeat(2)}\n`);
    const logPath = `${root}.log`;
    const child = namespaces.spawn(network, "sh", ["-c", BOOT, "sh", root, group], { logPath });
    const machine = new DebianMachine(root, child, group, logPath);
    const state = await waitFor(async () => {
      if (child.exitCode !== null) return "ended";
      if (machine.#firstProcess() === undefined) return undefined;
      const { stdout } = await machine.run("systemctl", "is-system-running");
      return /running|degraded/.test(stdout) ? stdout.trim() : undefined;
    }, BOOT_TIME_MAX_MS);
    if (state === undefined || state === "ended") {
      await machine.stop();
      throw new Error(`Debian does not boot:\n${machine.log()}`);
    }
    return machine;
  }

  /** What was written while the machine was made; the rest is in its journal. */
  log(): string {
    return existsSync(this.#logPath) ? readFileSync(this.#logPath, "utf8") : "";
  }

  /** Runs a program in the machine, as root. */
  run(command: string, ...args: readonly string[]): Promise<CommandResult> {
    const pid = String(this.#firstProcess() ?? "");
    const inside = [
      "--mount",
      "--pid",
      "--uts",
      "--ipc",
      "--cgroup",
      "--net",
      "--root",
      "--wdns=/",
    ];
    const environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8", "HOME=/root"];
    return run(
      "nsenter",
      ["--target", pid, ...inside, "--", ...environment, "TERM=dumb", command, ...args],
      { timeoutMs: COMMAND_TIME_MAX_MS, env: {} },
    );
  }

  /** A property of a unit. */
  async property(unit: string, name: string): Promise<string> {
    const { stdout } = await this.run("systemctl", "show", "-P", name, unit);
    return stdout.trim();
  }

  /** The journal of a unit, for a failure message. */
  async journal(unit: string): Promise<string> {
    const { stdout } = await this.run("journalctl", "-u", unit, "-n", "200", "-o", "cat");
    return stdout;
  }

  /** Ends the machine with everything in it. */
  async stop(): Promise<void> {
    const pid = this.#firstProcess();
    if (pid !== undefined) process.kill(pid, "SIGKILL");
    await waitFor(
      () => (this.#child.exitCode !== null || this.#child.signalCode !== null ? true : undefined),
      5000,
    );
    for (const tree of controlGroupTrees()) await removeGroup(join(tree, this.#group));
  }

  /** systemd: the only child of unshare(1), which the shell has become. */
  #firstProcess(): number | undefined {
    const { pid } = this.#child;
    try {
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
      const comm = readFileSync(`/proc/${children}/comm`, "utf8").trim();
      return comm === "systemd" ? Number(children) : undefined;
    } catch {
      return undefined;
    }
  }
}

/** Control group trees of this machine that systemd uses: one of version 2, or the hybrid form. */
function controlGroupTrees(): string[] {
  if (existsSync(join(CGROUPS, "cgroup.controllers"))) return [CGROUPS];
  return ["systemd", "unified"].map((name) => join(CGROUPS, name)).filter(existsSync);
}

/** Groups can be removed from the leaves, once their processes have gone. */
async function removeGroup(path: string): Promise<void> {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeGroup(join(path, entry.name));
  }
  for (let attempt = 0; attempt < 20; attempt++) {
    try {
      rmdirSync(path);
      return;
    } catch {
      await sleep(50);
    }
  }
}
