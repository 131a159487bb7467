/**
 * What `ipref bundle` collects: each source is asked by itself, and one that has nothing to say
 * leaves only its reason behind. Nothing is changed on the machine.
 */

import { readdirSync } from "node:fs";
import { arch, cpus, release, type as systemType, totalmem, version } from "node:os";
import { join } from "node:path";
import { parseIp } from "../../base/ip.js";
import type { UpConfiguration } from "../../control/config/settings.js";
import { repositoryRoot } from "../demo/gateway-process.js";
import { runProgram } from "../doctor/tools.js";
import { askPart, PART_NAMES, type PartName } from "../inspect/ask.js";
import { readTrusted } from "../trusted-file.js";
import { pathsOf } from "../up-plan.js";
import type { NamedText } from "./anonymise.js";

/** Mappings and remote gateways in a bundle: a summary, not the whole. */
const ENTRIES_MAX = 500;
const LOG_LINES_MAX = 2000;
/** A little more than a document may have, so that the cut falls on whole lines. */
const FILE_BYTES_MAX = 1_100_000;
/** The doctor asks DNS servers and peers, each with its own limit. */
const DOCTOR_TIMEOUT_MS = 60_000;
const PROGRAM_TIMEOUT_MS = 10_000;
const UNITS = ["ipref", "ipref-gateway", "ipref-resolver", "ipref-dns-agent"];
/** Names that the kernel, systemd and others give to interfaces; the rest is the user's. */
const COMMON_INTERFACE =
  /^(?:lo|[a-z]{2,7}\d{1,4}|en[ops]\w{1,12}|wl[ops]\w{1,12}|br-[0-9a-f]{12}|veth[0-9a-f]{4,8}|wan|lan)$/;
const COUNTER_FILES = ["dev", "snmp", "snmp6", "netstat", "softnet_stat", "sockstat", "sockstat6"];
const PARAMETERS = [
  ...["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/ip_no_pmtu_disc"],
  ...["net/core/rmem_max", "net/core/wmem_max", "net/core/netdev_max_backlog"],
  ...["net/ipv4/ping_group_range", "net/ipv4/ip_local_port_range"],
];

/** What a bundle is made of. */
export interface BundleOrder {
  /** The configuration in force; the defaults when there is none that can be used. */
  readonly configuration: UpConfiguration;
  /** Its file. */
  readonly configFile: string;
  readonly runFolder: string;
  /** Further log files. */
  readonly logFiles: readonly string[];
}

/** One document of a bundle. */
export interface BundleSource {
  readonly name: string;
  readonly what: string;
  readonly format: NamedText["format"];
  readonly hasNames: boolean;
  /** Which end stays when it is too long. */
  readonly keeps: "head" | "tail";
  /** Rejects when there is nothing; the message is the reason. */
  read(): Promise<string>;
}

type Details = Partial<Pick<BundleSource, "format" | "hasNames" | "keeps">>;

function source(
  name: string,
  what: string,
  read: () => string | Promise<string>,
  details: Details = {},
): BundleSource {
  const common = { format: "text", hasNames: true, keeps: "head" } as const;
  return { ...common, ...details, name, what, read: async () => await read() };
}

/** Everything that is asked for. */
export function bundleSources(order: BundleOrder): readonly BundleSource[] {
  return [
    source("versions.json", "versions of ipref, Node and the system", versions, {
      format: "json",
      hasNames: false,
    }),
    ...configurationSources(order),
    ...controlSources(order.runFolder),
    source("doctor.json", "ipref doctor --json", () => doctor(order), { format: "json" }),
    ...logSources(order),
    ...machineSources(),
  ];
}

function versions(): string {
  const package_ = JSON.parse(textOf(join(repositoryRoot(), "package.json"))) as {
    version: string;
  };
  const [first] = cpus();
  return JSON.stringify({
    ipref: package_.version,
    node: process.version,
    system: `${systemType()} ${release()} ${version()}`,
    distribution: /^PRETTY_NAME="?([^"\n]*)/m.exec(orEmpty("/etc/os-release"))?.[1] ?? null,
    architecture: arch(),
    processors: cpus().length,
    processor: first?.model ?? null,
    memoryBytes: totalmem(),
    locale: process.env.LC_ALL ?? process.env.LANG ?? null,
  });
}

function configurationSources({ configuration, configFile }: BundleOrder): BundleSource[] {
  const { corefile, localZone } = pathsOf(configuration);
  return [
    source("configuration.toml", configFile, () => textOf(configFile)),
    source("effective.json", "the configuration in force", () => JSON.stringify(configuration), {
      format: "json",
    }),
    source("Corefile", corefile, () => textOf(corefile)),
    source("local-zone.txt", localZone, () => textOf(localZone)),
    source("resolv.conf", "/etc/resolv.conf", () => textOf("/etc/resolv.conf")),
    source("nsswitch.conf", "/etc/nsswitch.conf", () => textOf("/etc/nsswitch.conf")),
  ];
}

function controlSources(runFolder: string): BundleSource[] {
  const ask =
    (part: PartName, path: string, query = {}) =>
    async (): Promise<string> =>
      await (await askPart(runFolder, part, { path, query })).text();
  const limit = { limit: String(ENTRIES_MAX) };
  return [
    ...PART_NAMES.flatMap((part) => [
      source(`status-${part}.json`, `GET /status of ${part}`, ask(part, "/status"), {
        format: "json",
      }),
      source(`metrics-${part}.txt`, `GET /metrics of ${part}`, ask(part, "/metrics")),
    ]),
    source(
      "peers.jsonl",
      `remote gateways, at most ${ENTRIES_MAX}`,
      ask("gateway", "/peers", limit),
      {
        format: "json-lines",
      },
    ),
    source("maps.jsonl", `mappings, at most ${ENTRIES_MAX}`, ask("gateway", "/maps", limit), {
      format: "json-lines",
    }),
  ];
}

async function doctor({ runFolder, configFile }: BundleOrder): Promise<string> {
  const program = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");
  const config = orEmpty(configFile) === "" ? [] : ["--config", configFile];
  const words = [program, "doctor", "--json", "--run", runFolder, ...config];
  const { stdout, stderr } = await runProgram(process.execPath, words, DOCTOR_TIMEOUT_MS);
  if (stdout.trim() === "") throw new Error(firstLine(stderr) || "it said nothing in time");
  return stdout;
}

function logSources({ logFiles }: BundleOrder): BundleSource[] {
  const units = UNITS.flatMap((unit) => ["-u", unit]);
  const words = [...units, "-n", String(LOG_LINES_MAX), "--no-pager", "-q", "-o", "short-iso"];
  return [
    source(
      "journal.txt",
      `the last ${LOG_LINES_MAX} lines of the journal`,
      () => output("journalctl", words),
      {
        keeps: "tail",
      },
    ),
    ...logFiles.map((path, index) =>
      source(`log-${index + 1}.txt`, path, () => readTrusted(path, FILE_BYTES_MAX, "tail"), {
        keeps: "tail",
      }),
    ),
  ];
}

/** The beginning of a text file; those that matter are far shorter. */
function textOf(path: string): string {
  return readTrusted(path, FILE_BYTES_MAX, "head");
}

function machineSources(): BundleSource[] {
  const program = (file: string, name: string, ...words: string[]): BundleSource =>
    source(file, [name, ...words].join(" "), () => output(name, words), { hasNames: false });
  return [
    program("ip-address.txt", "ip", "-details", "address"),
    program("ip-link.txt", "ip", "-statistics", "link"),
    program("ip-route-4.txt", "ip", "-4", "route", "show", "table", "all"),
    program("ip-route-6.txt", "ip", "-6", "route", "show", "table", "all"),
    program("ip-rule-4.txt", "ip", "-4", "rule"),
    program("ip-rule-6.txt", "ip", "-6", "rule"),
    program("sockets.txt", "ss", "-lnut"),
    source("nft.txt", "nft list ruleset, without comments", ruleset, { hasNames: false }),
    source("parameters.txt", "kernel parameters", parameters, { hasNames: false }),
    ...COUNTER_FILES.map((name) =>
      source(`proc-net-${name}.txt`, `/proc/net/${name}`, () => textOf(`/proc/net/${name}`), {
        hasNames: false,
      }),
    ),
  ];
}

/** Comments of firewall rules are in the words of people. */
async function ruleset(): Promise<string> {
  const text = await output("nft", ["list", "ruleset"]);
  return text.replace(/comment "[^"\n]*"/g, 'comment "..."');
}

/** The named parameters, and rp_filter and forwarding of each interface. */
function parameters(): string {
  const base = "/proc/sys/net/ipv4/conf";
  const each = namesIn(base).flatMap((name) =>
    ["rp_filter", "forwarding", "accept_local"].map((key) => `net/ipv4/conf/${name}/${key}`),
  );
  const lines = [...PARAMETERS, ...each].map((key) => {
    const value = orEmpty(`/proc/sys/${key}`).trim();
    return `${key} = ${value === "" ? "?" : value}`;
  });
  return `${lines.join("\n")}\n`;
}

async function output(name: string, words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await runProgram(name, words, PROGRAM_TIMEOUT_MS);
  if (stdout.trim() !== "") return stdout;
  if (status === 0) throw new Error("empty");
  throw new Error(firstLine(stderr) || `${name} is not installed or gave no answer in time`);
}

/**
 * Words that tell whose machine this is, where they stand alone: its name, its users, the labels of
 * the published zone and hosts, the names of hosts files and of keys.
 */
export function tellingWords({ configuration }: BundleOrder, hostName: string): readonly string[] {
  const { publish, gateway } = configuration;
  const zone = orEmpty(pathsOf(configuration).localZone);
  const users = [process.env.SUDO_USER, process.env.USER, process.env.LOGNAME];
  return [
    ...labelsOf(hostName, publish.domain, publish.local),
    ...(parseIp(publish.gateway) === undefined ? labelsOf(publish.gateway) : []),
    ...users.filter((user) => user !== undefined),
    ...namesIn("/home"),
    ...[...orEmpty("/proc/net/dev").matchAll(/^ *(\S+):/gm)]
      .map(([, name]) => name!)
      .filter((name) => !COMMON_INTERFACE.test(name)),
    ...[...zone.matchAll(/^(\S+)\s.*;\s*ipref\s/gim)].map(([, label]) => label!),
    ...hostNames(orEmpty("/etc/hosts")),
    ...hostNames(gateway.hosts === "" ? "" : orEmpty(gateway.hosts)),
    ...[...orEmpty(publish["tsig-key"]).matchAll(/^\s*key\s+"?([^"\s{]+)/gm)].flatMap(([, name]) =>
      labelsOf(name!),
    ),
  ];
}

/** Labels of names, without top-level domains. */
function labelsOf(...names: readonly string[]): readonly string[] {
  return names.flatMap((name) => {
    const labels = name.replace(/\.$/, "").split(".").filter(Boolean);
    return labels.length > 1 ? labels.slice(0, -1) : labels;
  });
}

/** Names in a hosts file. */
function hostNames(text: string): readonly string[] {
  return text.split("\n").flatMap((line) => {
    const [, ...names] = line.replace(/#.*$/, "").trim().split(/\s+/);
    return labelsOf(...names);
  });
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function orEmpty(path: string): string {
  try {
    return path === "" ? "" : textOf(path);
  } catch {
    return "";
  }
}

function firstLine(text: string): string {
  return text.trim().split("\n")[0] ?? "";
}
