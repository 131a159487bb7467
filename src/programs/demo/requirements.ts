// What the namespace demonstrations need from the machine, and plain words for what is missing.

import { existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { Namespaces, run } from "./namespaces.js";

/** Debian package of each program used. */
export const DEBIAN_PACKAGES: Readonly<Record<string, string>> = {
  curl: "curl",
  dig: "bind9-dnsutils",
  dnsperf: "dnsperf",
  getent: "libc-bin",
  ip: "iproute2",
  iperf3: "iperf3",
  kdig: "knot-dnsutils",
  knotd: "knot",
  named: "bind9",
  nft: "nftables",
  nsd: "nsd",
  openssl: "openssl",
  ping: "iputils-ping",
  scp: "openssh-client",
  ssh: "openssh-client",
  sshd: "openssh-server",
  tcpdump: "tcpdump",
  traceroute: "traceroute",
  tshark: "tshark",
};

/** Exit codes of sysexits(3) and of automake's test protocol. */
export const EXIT_UNAVAILABLE = 69;
export const EXIT_SKIPPED = 77;

const SEARCH_FOLDERS = [
  ...(process.env.PATH ?? "").split(delimiter),
  "/usr/sbin",
  "/sbin",
  "/usr/bin",
  "/bin",
];

/** Programs of the list that are not installed. */
export function missingPrograms(programs: readonly string[]): string[] {
  return programs.filter(
    (program) => !SEARCH_FOLDERS.some((folder) => existsSync(join(folder, program))),
  );
}

/** One sentence that names what is missing and how to get it, or undefined. */
export function missingSentence(programs: readonly string[]): string | undefined {
  const missing = missingPrograms(programs);
  if (missing.length === 0) return undefined;
  const packages = [...new Set(missing.map((program) => DEBIAN_PACKAGES[program] ?? program))];
  return (
    `Missing programs: ${missing.join(", ")}. ` +
    `On Debian install them with: apt-get install ${packages.join(" ")}`
  );
}

/** Installs missing programs with apt-get when this is Debian and we are root.
 * `report` gets one line before each step. Returns what is still missing. */
export async function installMissing(
  programs: readonly string[],
  report: (line: string) => void,
): Promise<string[]> {
  const missing = missingPrograms(programs);
  if (missing.length === 0 || !isRoot() || !isDebian()) return missing;
  const packages = [...new Set(missing.map((program) => DEBIAN_PACKAGES[program] ?? program))];
  report(`Installing from Debian: ${packages.join(" ")}`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const install = ["install", "-y", "--no-install-recommends", ...packages];
  let result = await run("apt-get", install, { timeoutMs: 180_000, env });
  if (result.code !== 0) {
    await run("apt-get", ["update"], { timeoutMs: 180_000, env });
    result = await run("apt-get", install, { timeoutMs: 180_000, env });
  }
  if (result.code !== 0) report(`apt-get could not install them: ${lastLine(result.stderr)}`);
  return missingPrograms(programs);
}

/** True when the effective user is root. */
export function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

function isDebian(): boolean {
  try {
    return /^ID(_LIKE)?=.*debian/m.test(readFileSync("/etc/os-release", "utf8"));
  } catch {
    return false;
  }
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

/** A sentence when this machine cannot make namespaces, tun devices or NAT; otherwise undefined.
 * Tries the real thing in a throw-away namespace. */
export async function missingKernelFeature(needNat: boolean): Promise<string | undefined> {
  if (!existsSync("/dev/net/tun")) {
    return "No /dev/net/tun: load the kernel module with: modprobe tun";
  }
  const namespaces = new Namespaces();
  try {
    const probe = await namespaces.add("probe");
    await namespaces.ip(probe, [
      "link add name veth0 type veth peer name veth1",
      "link add name br0 type bridge",
    ]);
    await namespaces.ip(probe, ["tuntap add mode tun name tun0"]);
    if (needNat) {
      const chain = "chain c { type nat hook postrouting priority 100; masquerade\n}";
      await namespaces.nft(probe, `table ip n {\n${chain}\n}\ntable ip6 n {\n${chain}\n}\n`);
    }
    return undefined;
  } catch (error) {
    return `This kernel or container lacks a feature: ${firstLine(error)}`;
  } finally {
    await namespaces.destroy();
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}

/** Why namespace tests cannot run here, in one sentence, or undefined when they can. */
export async function whyNoNamespaces(
  programs: readonly string[],
): Promise<{ readonly reason: string; readonly exitCode: number } | undefined> {
  if (!isRoot()) {
    return { reason: "Network namespaces need root", exitCode: EXIT_SKIPPED };
  }
  const programsMissing = missingSentence(programs);
  if (programsMissing !== undefined) {
    return { reason: programsMissing, exitCode: EXIT_UNAVAILABLE };
  }
  const kernel = await missingKernelFeature(true);
  return kernel === undefined ? undefined : { reason: kernel, exitCode: EXIT_UNAVAILABLE };
}
