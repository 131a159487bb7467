// The DNS server, its peers and its clients as processes in network namespaces.
//
// Black box: the program is reached through its command line, its sockets and its log only. The
// environment variable IPREF_COREDNS names another program to run in its place.

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { repositoryRoot, stopProcess } from "../../src/programs/demo/gateway-process.js";
import { knotServer } from "../../src/programs/demo/home-servers.js";
import {
  type CommandResult,
  type Namespaces,
  waitFor,
} from "../../src/programs/demo/namespaces.js";
import { nsdServer } from "./name-servers.js";

const START_TIMEOUT_MS = 15_000;

/** A running program. */
export interface DnsProcess {
  readonly child: ChildProcess;
  /** Everything it wrote so far. */
  log(): string;
  /** Sends a signal and waits for the end; the exit status, or the signal's name. */
  stop(signal?: NodeJS.Signals): Promise<number | string>;
  /** Waits until the log shows a text behind place `from`. */
  until(text: string | RegExp, from?: number): Promise<void>;
}

/** The DNS server program to run. */
export function dnsProgram(): string {
  return process.env.IPREF_COREDNS ?? join(repositoryRoot(), "bin", "ipref-coredns");
}

/** How the server is started. */
export interface DnsServerOptions {
  /** Path that the documented /run/ipref/mapper.sock leads to. */
  readonly mapperSocket?: string;
  readonly args?: readonly string[];
  /** Do not wait for the listening sockets. */
  readonly isStartAwaited?: boolean;
}

let serial = 0;

/** A folder of its own for files of one process. */
export function newFolder(namespaces: Namespaces, name: string): string {
  return namespaces.subdirectory(`${name}-${++serial}`);
}

/**
 * Starts the DNS server in `folder`. It sees an empty /run of its own, so that documented Corefiles
 * run as they are printed.
 */
export async function startDns(
  namespaces: Namespaces,
  namespace: string,
  folder: string,
  corefile: string,
  options: DnsServerOptions = {},
): Promise<DnsProcess> {
  writeFileSync(join(folder, "Corefile"), corefile);
  const link =
    options.mapperSocket === undefined
      ? ""
      : `ln -s ${options.mapperSocket} /run/ipref/mapper.sock &&`;
  const run = "mount -t tmpfs tmpfs /run && mkdir /run/ipref";
  const script = `${run} && ${link} cd ${folder} && exec "$0" "$@"`;
  const program = [dnsProgram(), "-conf", "Corefile", ...(options.args ?? [])];
  const started = spawnLogged(namespaces, namespace, folder, "sh", ["-c", script, ...program]);
  if (options.isStartAwaited !== false) await started.until("Listening on");
  return started;
}

function spawnLogged(
  namespaces: Namespaces,
  namespace: string,
  folder: string,
  command: string,
  args: readonly string[],
): DnsProcess {
  const logPath = join(folder, `log-${++serial}`);
  const child = namespaces.spawn(namespace, command, args, { logPath });
  const log = (): string => (existsSync(logPath) ? readFileSync(logPath, "utf8") : "");
  const until = async (text: string | RegExp, from = 0): Promise<void> => {
    const has = (found: string) =>
      typeof text === "string" ? found.includes(text) : text.test(found);
    const result = await waitFor(() => {
      if (has(log().slice(from))) return true;
      return child.exitCode === null ? undefined : false;
    }, START_TIMEOUT_MS);
    assert.ok(
      result === true || has(log().slice(from)),
      `no "${text}" in the log of ${command}:\n${log()}`,
    );
  };
  return { child, log, until, stop: (signal = "SIGTERM") => stopProcess(child, signal) };
}

/** Starts Knot DNS with zones as text; it answers on all addresses of the namespace. */
export async function startKnot(
  namespaces: Namespaces,
  namespace: string,
  zones: Readonly<Record<string, string>>,
  options: { readonly port?: number; readonly extra?: string; readonly zoneExtra?: string } = {},
): Promise<DnsProcess> {
  const folder = newFolder(namespaces, "knot");
  const port = options.port ?? 53;
  for (const [zone, text] of Object.entries(zones))
    writeFileSync(join(folder, `${zone}.zone`), text);
  const list = Object.keys(zones).map(
    (zone) => `  - domain: ${zone}\n    file: ${folder}/${zone}.zone\n${options.zoneExtra ?? ""}`,
  );
  writeFileSync(
    join(folder, "knot.conf"),
    `${knotServer(folder, [`0.0.0.0@${port}`, `::@${port}`])}${options.extra ?? ""}zone:
${list.join("")}`,
  );
  const knot = spawnLogged(namespaces, namespace, folder, "knotd", [
    "-c",
    join(folder, "knot.conf"),
  ]);
  await knot.until("server started");
  return knot;
}

/** Starts NSD as secondary of `zone`, fetched from `primary`. */
export async function startNsdSecondary(
  namespaces: Namespaces,
  namespace: string,
  zone: string,
  primary: string,
): Promise<DnsProcess> {
  const folder = newFolder(namespaces, "nsd");
  writeFileSync(
    join(folder, "nsd.conf"),
    `${nsdServer(folder)}zone:
  name: "${zone}"
  zonefile: "${folder}/${zone}.zone"
  request-xfr: AXFR ${primary} NOKEY
  allow-notify: ${primary} NOKEY
`,
  );
  return spawnLogged(namespaces, namespace, folder, "nsd", ["-d", "-c", join(folder, "nsd.conf")]);
}

/** Starts BIND as secondary of `zone`, fetched from `primary`. */
export async function startBindSecondary(
  namespaces: Namespaces,
  namespace: string,
  zone: string,
  primary: string,
): Promise<DnsProcess> {
  const folder = newFolder(namespaces, "bind");
  writeFileSync(
    join(folder, "named.conf"),
    `options {
  directory "${folder}";
  pid-file none;
  session-keyfile none;
  recursion no;
  listen-on { any; };
  listen-on-v6 { any; };
  dnssec-validation no;
};
controls { };
zone "${zone}" { type secondary; primaries { ${primary}; }; file "${zone}.zone"; masterfile-format text; };
`,
  );
  const args = ["-g", "-c", join(folder, "named.conf"), "-n", "1"];
  return spawnLogged(namespaces, namespace, folder, "named", args);
}

/** Runs dig(1) with short waiting times; `words` as on its command line. */
export function dig(
  namespaces: Namespaces,
  namespace: string,
  words: string,
): Promise<CommandResult> {
  const args = ["+time=3", "+tries=1", ...words.split(" ")];
  return namespaces.exec(namespace, "dig", args);
}

/** Lines of `dig +short`. */
export async function digShort(
  namespaces: Namespaces,
  namespace: string,
  words: string,
): Promise<string[]> {
  const { stdout } = await dig(namespaces, namespace, `+short ${words}`);
  return stdout.split("\n").filter((line) => line !== "");
}

/** Response code in the output of dig. */
export function statusOf(output: string): string {
  return /status: ([A-Z]+)/.exec(output)?.[1] ?? "no reply";
}

/** Gives a namespace its resolv.conf (ip-netns(8)); returns what takes it away. */
export function useResolver(namespace: string, lines: readonly string[]): () => void {
  const folder = join("/etc/netns", namespace);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "resolv.conf"), `${lines.join("\n")}\n`);
  return () => {
    rmSync(folder, { recursive: true, force: true });
    try {
      rmSync(dirname(folder), { recursive: false });
    } catch {
      // Others use it.
    }
  };
}

/** A small zone with an SOA of this serial in front of `records`. */
export function zoneText(zone: string, serialNumber: number, records: string): string {
  return `$ORIGIN ${zone}.
$TTL 3600
@ IN SOA ns.${zone}. admin.${zone}. ( ${serialNumber} 3600 600 86400 60 )
@ IN NS ns.${zone}.
${records}
`;
}
