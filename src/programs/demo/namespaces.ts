// Network namespaces with an owner: everything made here carries one token and goes away together.
//
// What: creates namespaces, runs programs in them, and removes both again. A namespace is named
// `ipref-<token>-<name>`, so that several runs live side by side on one machine.
// Who kills what: only processes started by this object are ended, each by its process group,
// never by name. Removal also happens when the program ends by exception, SIGINT or SIGTERM.
// Needs: root, and `ip` of the Debian package iproute2 (ip-netns(8)).

import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What a program run to its end left behind. `code` is -1 when it was ended by the time limit. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

/** Limits and input of one program run. */
export interface ExecOptions {
  readonly timeoutMs?: number;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Where a long-running program writes; both streams go to the one file. */
export interface SpawnOptions {
  readonly logPath?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** What `--down` needs to remove a network that an earlier process left up. */
export interface NamespaceState {
  readonly token: string;
  readonly directory: string;
  readonly names: readonly string[];
  readonly processes: readonly { readonly pid: number; readonly startTicks: string }[];
}

/** Time a short command may take before it is ended, generous for two busy cores. */
const EXEC_TIMEOUT_MS = 20_000;

/** Time between SIGTERM and SIGKILL when everything is removed. */
const TERM_GRACE_MS = 1_500;

/** Programs of iproute2 and nftables live in sbin, which a plain root shell may not search. */
const SEARCH_PATH = `${process.env.PATH ?? "/usr/bin:/bin"}:/usr/sbin:/sbin:/usr/local/sbin`;

/** Start time of a process in clock ticks (field 22 of proc_pid_stat(5)), or "" when it is gone. */
export function processStartTicks(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

/** Programs that `run` waits for; they end with this process. */
const running = new Set<ChildProcess>();

/** Runs a program to its end. Never rejects because of what the program did. */
export function run(
  command: string,
  args: readonly string[],
  options: ExecOptions = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = execFile(
      command,
      [...args],
      {
        timeout: options.timeoutMs ?? EXEC_TIMEOUT_MS,
        killSignal: "SIGKILL",
        maxBuffer: 64 << 20,
        env: { ...process.env, PATH: SEARCH_PATH, LC_ALL: "C", ...options.env },
      },
      (error, stdout, stderr) => {
        running.delete(child);
        const timedOut = error !== null && error.killed === true;
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
        resolve({ code, stdout, stderr: stderr || (error?.message ?? ""), timedOut });
      },
    );
    running.add(child);
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(options.input ?? "");
  });
}

/** Waits until `probe` gives a value, or returns undefined after `timeoutMs`. */
export async function waitFor<T>(
  probe: () => T | undefined | Promise<T | undefined>,
  timeoutMs: number,
  stepMs = 20,
): Promise<T | undefined> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (Date.now() >= deadline) return undefined;
    await sleep(stepMs);
  }
}

/** A pause. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const live = new Set<Namespaces>();
let hooked = false;

/** Installs the hooks that remove everything when the program ends in any way but SIGKILL. */
function hookProcessEnd(): void {
  if (hooked) return;
  hooked = true;
  const removeAll = (): void => {
    for (const child of running) child.kill("SIGKILL");
    for (const namespaces of [...live]) namespaces.destroySync();
  };
  process.on("exit", removeAll);
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    process.on(signal, () => process.exit(code));
  }
}

/** A set of network namespaces, their programs, and a directory for their files. */
export class Namespaces {
  readonly token: string;
  readonly directory: string;
  readonly #names: string[] = [];
  readonly #children = new Set<ChildProcess>();

  constructor() {
    this.token = `${process.pid.toString(36)}${randomBytes(2).toString("hex")}`;
    this.directory = mkdtempSync(join(tmpdir(), `ipref-${this.token}-`));
    live.add(this);
    hookProcessEnd();
  }

  /** Full name of a namespace of this set. */
  fullName(name: string): string {
    return `ipref-${this.token}-${name}`;
  }

  /** Makes a namespace with IPv6 duplicate address detection off and loopback up. */
  async add(name: string): Promise<string> {
    const full = this.fullName(name);
    this.#names.push(full);
    await this.#must("ip", ["netns", "add", full]);
    await this.sysctl(full, {
      "net.ipv6.conf.all.accept_dad": 0,
      "net.ipv6.conf.default.accept_dad": 0,
      "net.ipv6.conf.all.accept_ra": 0,
      "net.ipv6.conf.default.accept_ra": 0,
      "net.ipv4.conf.all.rp_filter": 0,
      "net.ipv4.conf.default.rp_filter": 0,
      // No limits on errors of the kernel's own routers: checks ask for several in a row.
      "net.ipv4.icmp_ratelimit": 0,
      "net.ipv6.icmp.ratelimit": 0,
    });
    await this.ip(full, ["link set lo up"]);
    return full;
  }

  /** A directory below this set's own, created. */
  subdirectory(name: string): string {
    const path = join(this.directory, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** Runs lines of `ip` in a namespace as one batch. Throws on the first that fails. */
  async ip(namespace: string, lines: readonly string[]): Promise<void> {
    const result = await run("ip", ["-n", namespace, "-batch", "-"], {
      input: `${lines.join("\n")}\n`,
    });
    if (result.code !== 0) {
      throw new Error(
        `Cannot configure ${namespace}: ${result.stderr.trim()} in\n${lines.join("\n")}`,
      );
    }
  }

  /** Sets kernel parameters of a namespace; a parameter this kernel lacks is skipped. */
  async sysctl(
    namespace: string,
    values: Readonly<Record<string, number | string>>,
  ): Promise<void> {
    const script = Object.entries(values)
      .map(([key, value]) => {
        const path = `/proc/sys/${key.replaceAll(".", "/")}`;
        return `[ ! -e ${path} ] || echo ${value} > ${path}`;
      })
      .join("\n");
    const result = await this.exec(namespace, "sh", ["-c", script]);
    if (result.code !== 0) throw new Error(`Cannot set sysctls: ${result.stderr.trim()}`);
  }

  /** Loads an nftables ruleset into a namespace. */
  async nft(namespace: string, ruleset: string): Promise<void> {
    const result = await this.exec(namespace, "nft", ["-f", "-"], { input: ruleset });
    if (result.code !== 0) throw new Error(`Cannot load nftables rules: ${result.stderr.trim()}`);
  }

  /** Runs a program in a namespace to its end. */
  exec(
    namespace: string,
    command: string,
    args: readonly string[] = [],
    options: ExecOptions = {},
  ): Promise<CommandResult> {
    return run("ip", ["netns", "exec", namespace, command, ...args], options);
  }

  /** Starts a program in a namespace; `ip netns exec` becomes it, so the pid is the program's. */
  spawn(
    namespace: string,
    command: string,
    args: readonly string[] = [],
    options: SpawnOptions = {},
  ): ChildProcess {
    const log = options.logPath === undefined ? undefined : openSync(options.logPath, "a");
    const child = spawn("ip", ["netns", "exec", namespace, command, ...args], {
      detached: true,
      stdio: log === undefined ? ["pipe", "pipe", "pipe"] : ["ignore", log, log],
      env: { ...process.env, PATH: SEARCH_PATH, LC_ALL: "C", ...options.env },
    });
    if (log !== undefined) closeSync(log);
    this.#children.add(child);
    child.on("error", () => this.#children.delete(child));
    child.on("exit", () => this.#children.delete(child));
    return child;
  }

  /** Lets the network outlive this process; the result is what `destroyState` needs later. */
  keep(): NamespaceState {
    live.delete(this);
    const processes = [];
    for (const child of this.#children) {
      child.unref();
      const pid = child.pid ?? 0;
      if (pid > 0) processes.push({ pid, startTicks: processStartTicks(pid) });
    }
    return { token: this.token, directory: this.directory, names: [...this.#names], processes };
  }

  /** Ends the programs, removes the namespaces and the files. */
  async destroy(): Promise<void> {
    const pids = [...this.#children].map((child) => child.pid ?? 0).filter((pid) => pid > 0);
    for (const pid of pids) signalGroup(pid, "SIGTERM");
    await waitFor(() => (this.#children.size === 0 ? true : undefined), TERM_GRACE_MS, 10);
    this.destroySync();
  }

  /** The same without waiting, for the end of the process. */
  destroySync(): void {
    live.delete(this);
    for (const child of this.#children)
      if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL");
    removeNamespaces(this.#names.splice(0));
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #must(command: string, args: readonly string[]): Promise<void> {
    const result = await run(command, args);
    if (result.code !== 0)
      throw new Error(`Cannot run ${command} ${args.join(" ")}: ${result.stderr.trim()}`);
  }
}

/** Removes what an earlier process kept. A process id now used by another program is left alone. */
export async function destroyState(state: NamespaceState): Promise<void> {
  const ours = state.processes.filter(
    ({ pid, startTicks }) => startTicks !== "" && processStartTicks(pid) === startTicks,
  );
  for (const { pid } of ours) signalGroup(pid, "SIGTERM");
  const gone = (): true | undefined =>
    ours.every(({ pid, startTicks }) => processStartTicks(pid) !== startTicks) ? true : undefined;
  if ((await waitFor(gone, TERM_GRACE_MS)) === undefined) {
    for (const { pid } of ours) signalGroup(pid, "SIGKILL");
  }
  removeNamespaces(state.names);
  rmSync(state.directory, { recursive: true, force: true });
}

/** Signals the group a spawned program leads; it was started as leader of its own session. */
function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Already gone.
  }
}

/** Deletes namespaces with one `ip` process; those that do not exist are skipped. */
function removeNamespaces(names: readonly string[]): void {
  if (names.length === 0) return;
  spawnSync("ip", ["-force", "-batch", "-"], {
    input: names.map((name) => `netns del ${name}\n`).join(""),
    env: { ...process.env, PATH: SEARCH_PATH },
    timeout: 30_000,
    stdio: ["pipe", "ignore", "ignore"],
  });
}
