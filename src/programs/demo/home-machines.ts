// The machines of the home network: namespaces by name, cables between them, programs on them, and
// the way to remove it all.

import type { ChildProcess } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "./gateway-process.js";
import { type CommandResult, Namespaces, waitFor } from "./namespaces.js";

const START_TIMEOUT_MS = 60_000;
const RESOLV_FOLDER = "/etc/netns";
/** The program `ipref`. */
export const IPREF = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");

/** Machines by name: `laptop`, `web`, `nas`, `gateway`, `tablet`, `k41`, `us-gateway`, ... */
export class HomeNetwork {
  readonly namespaces = new Namespaces();
  readonly #machines = new Map<string, string>();
  readonly #logs = new Map<string, string>();
  readonly #ups = new Map<string, ChildProcess>();
  readonly #resolvFolders: string[] = [];

  /** Namespace of a machine. */
  of(machine: string): string {
    const namespace = this.#machines.get(machine);
    if (namespace === undefined) throw new Error(`No machine ${machine}`);
    return namespace;
  }

  /** Runs a program on a machine to its end. */
  exec(machine: string, command: string, ...args: readonly string[]): Promise<CommandResult> {
    return this.namespaces.exec(this.of(machine), command, args, { timeoutMs: 30_000 });
  }

  /** A folder for files of a machine. */
  folder(name: string): string {
    return this.namespaces.subdirectory(name);
  }

  /** Output of a program started here. */
  log(name: string): string {
    const path = this.#logs.get(name) ?? "";
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  /** The `ipref up` of a machine. */
  up(machine: string): ChildProcess {
    return this.#ups.get(machine)!;
  }

  /** Waits for words in the output of a program. */
  async until(name: string, words: string): Promise<void> {
    const has = (): true | undefined => (this.log(name).includes(words) ? true : undefined);
    if ((await waitFor(has, START_TIMEOUT_MS)) === true) return;
    throw new Error(`No "${words}" from ${name}:\n${this.log(name)}`);
  }

  /** Adds a machine. */
  async add(machine: string): Promise<string> {
    const namespace = await this.namespaces.add(machine);
    this.#machines.set(machine, namespace);
    return namespace;
  }

  /** Joins two machines with a cable; addresses with prefix length, one or more words. */
  async cable(a: string, aLink: string, b: string, bLink: string): Promise<void> {
    const [first, second] = [this.of(a), this.of(b)];
    await this.namespaces.ip(first, [
      `link add name ${aLink} type veth peer name ${bLink} netns ${second}`,
      `link set ${aLink} up`,
    ]);
    await this.namespaces.ip(second, [`link set ${bLink} up`]);
  }

  /** Runs lines of ip(8) on a machine. */
  ip(machine: string, ...lines: readonly string[]): Promise<void> {
    return this.namespaces.ip(this.of(machine), lines);
  }

  /** Makes a machine a router. */
  routes(machine: string): Promise<void> {
    return this.namespaces.sysctl(this.of(machine), {
      "net.ipv4.ip_forward": 1,
      "net.ipv6.conf.all.forwarding": 1,
    });
  }

  /** Sets the resolver of a machine (ip-netns(8), "netns exec"). */
  useResolver(machine: string, address: string): void {
    const folder = join(RESOLV_FOLDER, this.of(machine));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "resolv.conf"), `nameserver ${address}\n`);
    this.#resolvFolders.push(folder);
  }

  /** Starts a program and waits for words in its output. */
  async start(
    machine: string,
    name: string,
    ready: string,
    command: string,
    ...args: readonly string[]
  ): Promise<ChildProcess> {
    const logPath = join(this.folder("logs"), `${name}.log`);
    this.#logs.set(name, logPath);
    const child = this.namespaces.spawn(this.of(machine), command, args, { logPath });
    const isReady = await waitFor(
      () => (this.log(name).includes(ready) ? true : child.exitCode === null ? undefined : false),
      START_TIMEOUT_MS,
    );
    if (isReady !== true) throw new Error(`Cannot start ${name}:\n${this.log(name)}`);
    return child;
  }

  /** Starts `ipref up` on a machine with a configuration file. */
  async startUp(machine: string, ...args: readonly string[]): Promise<void> {
    const command = [IPREF, "up", ...args];
    const child = await this.start(
      machine,
      `up-${machine}`,
      "ready in",
      process.execPath,
      ...command,
    );
    this.#ups.set(machine, child);
  }

  /** Ends the programs and removes everything. `ipref up` ends its own parts. */
  async destroy(): Promise<void> {
    for (const child of this.#ups.values()) child.kill("SIGTERM");
    await waitFor(
      () => ([...this.#ups.values()].every(hasEnded) ? true : undefined),
      START_TIMEOUT_MS,
    );
    await this.namespaces.destroy();
    for (const folder of this.#resolvFolders) rmSync(folder, { recursive: true, force: true });
    if (existsSync(RESOLV_FOLDER) && readdirSync(RESOLV_FOLDER).length === 0) {
      rmdirSync(RESOLV_FOLDER);
    }
  }
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}
