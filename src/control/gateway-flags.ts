/**
 * Command line of the gateway (spec/mapper.md 7.1): flags, defaults, checks, usage text. Pure but
 * for the working directory, against which relative paths are made absolute, and the number of
 * processors, on which a default depends.
 */

import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import {
  formatIp,
  type IpAddress,
  type IpPrefix,
  type IpVersion,
  isGlobalUnicast,
  isUnspecified,
  parseIp,
  parsePrefix,
  zeroAddress,
} from "../base/ip.js";
import { parseReference, type Reference } from "../base/reference.js";
import { ALL_OFFLOADS, OFFLOAD_NAMES, type Offloads, parseOffloads } from "../forward/offloads.js";
import {
  type FlagError,
  type FlagSpec,
  parseGoBoolean,
  parseGoInteger,
  splitGoFlags,
} from "./go-flags.js";

import { LOG_FORMATS, type LogFormatChoice } from "./log-format.js";
import {
  LISTEN_ADDRESS_RULE,
  type ListenAddress,
  parseListenAddress,
} from "./metrics/listen-address.js";

/** UDP port of IPREF tunnels (spec/tunnel.md 7.1). */
export const DEFAULT_PORT = 1045;
/** Host bits that an encode net needs at least (spec/mapper.md 3.5). */
export const ENCODE_HOST_BITS_MIN = 13;
/** Largest interface MTU (spec/mapper.md 7.1). */
const INTERFACE_MTU_MAX = 65_534;
const PORT_MAX = 65_535;
/** `-max-buffers` is clamped to this range (spec/mapper.md 7.1). */
const BUFFERS_MIN = 16;
const BUFFERS_MAX = 1024;
const BUFFERS_DEFAULT = 64;
/** Own address in test mode (spec/mapper.md 7.1, -devmode). */
const DEVMODE_ADDRESS = "198.51.100.1";

/** sysexits(3) EX_CONFIG: the flags are well-formed and still cannot work together. */
const EXIT_CONFIGURATION = 78;
/** Go's exit status for a bad command line. */
const EXIT_USAGE = 2;

/** Inner loops of the forwarding workers: TypeScript, or WebAssembly where it can run. */
export const KERNEL_NAMES = ["wasm", "ts"] as const;
export type KernelName = (typeof KERNEL_NAMES)[number];

/** More pairs of workers than this have not been seen to help; each takes about 20 MB. */
export const LANES_MAX = 8;
/** Longest pause in which packets gather, microseconds: what a queue of 1,000 packets holds. */
export const COALESCE_US_MAX = 1_000;
/**
 * Preset of -coalesce-us. From 50 on UDP gains twice its throughput, up to 200 TCP gains some
 * (docs/PERFORMANCE.md).
 */
export const COALESCE_US_PRESET = 200;

/**
 * Pairs of forwarding workers of a machine: a pair and the main thread want three processors, so
 * one pair up to three of them, and one for every two processors beyond.
 */
export function defaultLanes(processors: number): number {
  return processors < 4 ? 1 : Math.min(LANES_MAX, processors >>> 1);
}

/** Checked settings of one gateway. */
export interface GatewaySettings {
  /** Address of the tunnel socket; all-zero = any. */
  readonly bind: IpAddress;
  /** Own public address; all-zero = unknown. Same version as `bind`. */
  readonly publicAddress: IpAddress;
  readonly tunnelVersion: IpVersion;
  readonly localVersion: IpVersion;
  /** MTU of the public interface in bytes; 0 = find out. */
  readonly interfaceMtuBytes: number;
  readonly port: number;
  readonly remotePort: number;
  /** The gateway's own reference. */
  readonly gatewayReference: Reference;
  readonly encodeNet: IpPrefix;
  /** Absolute path of the data directory. */
  readonly dataFolder: string;
  /** Absolute path of the mapper socket. */
  readonly mapperSocket: string;
  /** Group that may use the mapper socket; undefined = that of the process. */
  readonly mapperGroup: string | undefined;
  /** Absolute path of the control socket; undefined = none. */
  readonly controlSocket: string | undefined;
  /** Group that may use the control socket; undefined = that of the process. */
  readonly controlGroup: string | undefined;
  /** Where metrics can be read over HTTP; undefined = nowhere. */
  readonly metrics: ListenAddress | undefined;
  readonly logFormat: LogFormatChoice;
  /** Absolute path of the hosts file; undefined = none is read. */
  readonly hostsFile: string | undefined;
  readonly buffersMax: number;
  /** Remote gateways tracked at once; undefined = as many as there is room for. */
  readonly remoteGatewaysMax: number | undefined;
  readonly localIpsMax: number;
  readonly decrementTtl: boolean;
  readonly kernel: KernelName;
  /** Pairs of forwarding workers. */
  readonly lanes: number;
  /** Microseconds in which packets from the local network gather under load; 0: never. */
  readonly coalesceUs: number;
  /** Offloads to ask the machine for. */
  readonly offloads: Offloads;
  readonly isDevmode: boolean;
  readonly debugModules: readonly string[];
  readonly isTraced: boolean;
  readonly hasTicks: boolean;
  readonly hasTimeStamps: boolean;
}

export type ParsedGatewayFlags =
  | { readonly kind: "settings"; readonly settings: GatewaySettings }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "errors"; readonly lines: readonly string[]; readonly exitStatus: number };

interface FlagGroup {
  readonly title: string;
  readonly flags: readonly FlagSpec[];
}

function text(name: string, valueName: string, defaultText: string, meaning: string): FlagSpec {
  return { name, kind: "text", valueName, defaultText, meaning };
}

function integer(name: string, defaultText: string, meaning: string): FlagSpec {
  return { name, kind: "integer", valueName: "NUMBER", defaultText, meaning };
}

function boolean(name: string, meaning: string): FlagSpec {
  return { name, kind: "boolean", valueName: "", defaultText: "", meaning };
}

const FLAG_GROUPS: readonly FlagGroup[] = [
  {
    title: "Tunnel",
    flags: [
      text("gateway", "ADDRESS", "", "bind address and public address in one"),
      text("gateway-bind", "ADDRESS", "-gateway", "address to bind; 0.0.0.0 or :: for any"),
      text("gateway-pub", "ADDRESS", "-gateway", "own public address; 0.0.0.0 or :: if unknown"),
      integer("gateway-port", "1045", "local UDP port"),
      integer("remote-gateway-port", "1045", "UDP port of remote gateways not heard from yet"),
      integer("gateway-ifc-mtu", "found", "MTU of the public interface"),
      text("gateway-ref", "REFERENCE", "1", "the gateway's own reference"),
      boolean("dec-ttl", "decrement the TTL when translating"),
    ],
  },
  {
    title: "Local network",
    flags: [
      text("encode-net", "PREFIX", "10.240.0.0/12", "network that stands for remote hosts"),
      text("hosts", "FILE", "/etc/hosts", 'hosts file with "#=" records; empty for none'),
      text("mapper-socket", "PATH", "/run/ipref/mapper.sock", "socket for resolver and DNS agent"),
      text("mapper-group", "GROUP", "", "name or number of the group that may use the socket"),
      text("control", "PATH", "beside it", "socket for status and diagnosis; empty for none"),
      text("control-group", "GROUP", "-mapper-group", "group that may use the control socket"),
      text("metrics", "ADDRESS:PORT", "", "serve /metrics, /healthz and /readyz over HTTP there"),
      text("data", "DIRECTORY", "/var/lib/ipref", "where mappings are kept"),
    ],
  },
  {
    title: "Limits",
    flags: [
      integer("max-remote-gateways", "1024", "remote gateways tracked at once; 0 for no limit"),
      integer("max-local-ips", "1024", "local addresses tracked for their path MTU"),
      integer("max-buffers", "64", "packets held for the slow path, 16 to 1024"),
    ],
  },
  {
    title: "Speed",
    flags: [
      text("kernel", "ts|wasm", "wasm", "inner loops in TypeScript or WebAssembly"),
      integer("lanes", "by cores", `pairs of forwarding workers, 1 to ${LANES_MAX}`),
      integer(
        "coalesce-us",
        String(COALESCE_US_PRESET),
        "under load, gather packets so many microseconds; 0: never",
      ),
      text("offload", "LIST", "all", `all, none, or some of ${OFFLOAD_NAMES.join(",")}`),
    ],
  },
  {
    title: "Log",
    flags: [
      text("debug", "MODULES", "", 'comma-separated modules with debug output, or "all"'),
      boolean("trace", "show packets"),
      boolean("ticks", "include ticks in debug output"),
      boolean("time-stamps", "put the time of day in front of each line"),
      text("log-format", LOG_FORMATS.join("|"), "auto", "form of the lines; auto: text or journal"),
      boolean("devmode", "mapper only, with random faults, to test DNS agents"),
    ],
  },
];

/** All flags, for the usage text and the manual page. */
export const FLAGS: readonly FlagSpec[] = FLAG_GROUPS.flatMap((group) => group.flags);

/** Reads the gateway's arguments (without interpreter and script name). */
export function parseGatewayFlags(args: readonly string[]): ParsedGatewayFlags {
  const raw = splitGoFlags(args, FLAGS);
  if (raw.kind === "help") return { kind: "help", text: gatewayUsage() };
  if (raw.kind === "error") return refused([raw.error], EXIT_USAGE);
  const reader = new FlagReader(raw.values);
  const settings = readSettings(reader);
  if (reader.errors.length > 0) return refused(reader.errors, EXIT_USAGE);
  if (reader.conflicts.length > 0) return refused(reader.conflicts, EXIT_CONFIGURATION);
  return { kind: "settings", settings };
}

function refused(errors: readonly FlagError[], exitStatus: number): ParsedGatewayFlags {
  const lines = errors.map(describeFlagError);
  return { kind: "errors", lines: [...lines, "Try ipref-gw -h for all flags"], exitStatus };
}

/** One sentence: the flag, the value found, the rule. */
export function describeFlagError({ flag, value, rule }: FlagError): string {
  const found = value === undefined ? "" : ` found "${value}",`;
  return `Cannot use ${flag}:${found} ${rule}`;
}

/** Reads typed values, collecting what is wrong instead of stopping at the first mistake. */
class FlagReader {
  /** Malformed or out of range: exit 2. */
  readonly errors: FlagError[] = [];
  /** Well-formed, but a gateway cannot run with it: exit 78. */
  readonly conflicts: FlagError[] = [];
  readonly #values: ReadonlyMap<string, string>;

  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values;
  }

  has(name: string): boolean {
    return (this.#values.get(name) ?? "") !== "";
  }

  text(name: string, fallback: string): string {
    return this.#values.get(name) ?? fallback;
  }

  boolean(name: string): boolean {
    const value = this.#values.get(name);
    if (value === undefined) return false;
    const parsed = parseGoBoolean(value);
    if (parsed === undefined) this.#bad(name, "expected true or false");
    return parsed ?? false;
  }

  integer(name: string, fallback: number, min = Number.NEGATIVE_INFINITY, max = Infinity): number {
    const value = this.#values.get(name);
    if (value === undefined) return fallback;
    const parsed = parseGoInteger(value);
    if (parsed !== undefined && parsed >= min && parsed <= max) return parsed;
    const range = max === Infinity ? "" : ` from ${min} to ${max}`;
    this.#bad(name, `expected a whole number${range}`);
    return fallback;
  }

  /** 0 stands for the default port. */
  port(name: string): number {
    return this.integer(name, DEFAULT_PORT, 0, PORT_MAX) || DEFAULT_PORT;
  }

  /** An address for a tunnel socket: all-zero or unicast. Undefined when absent or wrong. */
  address(name: string): IpAddress | undefined {
    if (!this.has(name)) return undefined;
    const address = parseIp(this.#values.get(name)!);
    if (address === undefined) {
      this.#bad(name, "expected an IPv4 or IPv6 address without zone");
    } else if (!isUnspecified(address) && !isGlobalUnicast(address)) {
      this.#bad(name, "expected a unicast address, not loopback, link-local or multicast");
    } else return address;
    return undefined;
  }

  reference(name: string, fallback: Reference): Reference {
    const value = this.#values.get(name);
    if (value === undefined) return fallback;
    const parsed = parseReference(value);
    if (!parsed.ok) this.#bad(name, `expected a reference such as 1 or abcd-12 (${parsed.error})`);
    else return parsed.value;
    return fallback;
  }

  /** spec/mapper.md 3.5: at least 13 host bits, and the network address is unicast. */
  encodeNet(name: string, fallback: string): IpPrefix {
    const prefix = parsePrefix(this.text(name, fallback));
    if (prefix === undefined) this.#bad(name, "expected a prefix such as 10.240.0.0/12");
    else if (!isGlobalUnicast(prefix.address)) this.#bad(name, "expected a unicast network");
    else {
      const bitsMax = 8 * prefix.address.bytes.length - ENCODE_HOST_BITS_MIN;
      if (prefix.bits > bitsMax) {
        const rule = `the network is too small; use a prefix of /${bitsMax} or shorter`;
        this.conflicts.push({ flag: `-${name}`, value: this.text(name, fallback), rule });
      }
      return prefix;
    }
    return parsePrefix(fallback)!;
  }

  /** A path made absolute; must not be empty. */
  path(name: string, fallback: string): string {
    const value = this.text(name, fallback);
    if (value === "" || value.includes("\0")) this.#bad(name, "expected a path");
    return resolve(value);
  }

  /** One of a few words; the first is the default. */
  choice<Word extends string>(name: string, words: readonly [Word, ...Word[]]): Word {
    const value = this.text(name, words[0]);
    const chosen = words.find((word) => word === value);
    if (chosen === undefined) this.#bad(name, `expected ${words.join(" or ")}`);
    return chosen ?? words[0];
  }

  offloads(name: string): Offloads {
    const offloads = parseOffloads(this.text(name, "all"));
    const names = OFFLOAD_NAMES.join(", ");
    if (offloads === undefined) this.#bad(name, `expected all, none, or some of ${names}`);
    return offloads ?? ALL_OFFLOADS;
  }

  /** Undefined when absent, empty or wrong. */
  listenAddress(name: string): ListenAddress | undefined {
    if (!this.has(name)) return undefined;
    const found = parseListenAddress(this.#values.get(name)!);
    if (found === undefined) this.#bad(name, `expected ${LISTEN_ADDRESS_RULE}`);
    return found;
  }

  missing(name: string, rule: string): void {
    this.errors.push({ flag: `-${name}`, value: undefined, rule });
  }

  #bad(name: string, rule: string): void {
    this.errors.push({ flag: `-${name}`, value: this.#values.get(name), rule });
  }
}

function readSettings(reader: FlagReader): GatewaySettings {
  const isDevmode = reader.boolean("devmode");
  const { bind, publicAddress } = readAddresses(reader, isDevmode);
  const encodeNet = reader.encodeNet("encode-net", "10.240.0.0/12");
  const remoteGateways = reader.integer("max-remote-gateways", 1024);
  const buffers = reader.integer("max-buffers", BUFFERS_DEFAULT);
  const mapperSocket = reader.path("mapper-socket", "/run/ipref/mapper.sock");
  const mapperGroup = reader.text("mapper-group", "") || undefined;
  return {
    bind,
    publicAddress,
    tunnelVersion: publicAddress.version,
    localVersion: encodeNet.address.version,
    interfaceMtuBytes: reader.integer("gateway-ifc-mtu", 0, 0, INTERFACE_MTU_MAX),
    port: reader.port("gateway-port"),
    remotePort: reader.port("remote-gateway-port"),
    gatewayReference: reader.reference("gateway-ref", 1n),
    encodeNet,
    dataFolder: reader.path("data", "/var/lib/ipref"),
    mapperSocket,
    mapperGroup,
    controlSocket: controlPath(reader, mapperSocket),
    controlGroup: reader.text("control-group", "") || mapperGroup,
    metrics: reader.listenAddress("metrics"),
    logFormat: reader.choice("log-format", LOG_FORMATS),
    hostsFile: reader.text("hosts", "/etc/hosts") === "" ? undefined : hostsPath(reader),
    buffersMax: Math.min(BUFFERS_MAX, Math.max(BUFFERS_MIN, buffers)),
    remoteGatewaysMax: remoteGateways < 1 ? undefined : remoteGateways,
    localIpsMax: Math.max(1, reader.integer("max-local-ips", 1024)),
    decrementTtl: reader.boolean("dec-ttl"),
    kernel: reader.choice("kernel", KERNEL_NAMES),
    lanes: reader.integer("lanes", defaultLanes(availableParallelism()), 1, LANES_MAX),
    coalesceUs: reader.integer("coalesce-us", COALESCE_US_PRESET, 0, COALESCE_US_MAX),
    offloads: reader.offloads("offload"),
    isDevmode,
    debugModules: moduleNames(reader.text("debug", "")),
    isTraced: reader.boolean("trace"),
    hasTicks: reader.boolean("ticks"),
    hasTimeStamps: reader.boolean("time-stamps"),
  };
}

/** Beside the mapper socket when none is named. */
function controlPath(reader: FlagReader, mapperSocket: string): string | undefined {
  const path = join(dirname(mapperSocket), "gateway.control");
  return reader.text("control", path) === "" ? undefined : reader.path("control", path);
}

function hostsPath(reader: FlagReader): string {
  return reader.path("hosts", "/etc/hosts");
}

/** spec/mapper.md 7.1: -gateway fills both; one alone makes the other "any" or "unknown". */
function readAddresses(
  reader: FlagReader,
  isDevmode: boolean,
): { bind: IpAddress; publicAddress: IpAddress } {
  const both = reader.address("gateway");
  const bind = reader.address("gateway-bind") ?? both;
  const publicAddress = reader.address("gateway-pub") ?? both;
  const given = bind ?? publicAddress;
  if (given === undefined) {
    const own = parseIp(DEVMODE_ADDRESS)!;
    const hasAny = ["gateway", "gateway-bind", "gateway-pub"].some((name) => reader.has(name));
    if (!isDevmode && !hasAny) {
      reader.missing("gateway", "missing gateway IP address; give -gateway or -gateway-bind");
    }
    return { bind: own, publicAddress: own };
  }
  if (bind && publicAddress && bind.version !== publicAddress.version) {
    const rule = `expected IPv${bind.version} as in -gateway-bind ${formatIp(bind)}`;
    reader.errors.push({ flag: "-gateway-pub", value: formatIp(publicAddress), rule });
  }
  const zero = zeroAddress(given.version);
  return { bind: bind ?? zero, publicAddress: publicAddress ?? zero };
}

/** spec/mapper.md 7.4: directory and extension are stripped from each name. */
function moduleNames(list: string): readonly string[] {
  const names = list.split(",").map((name) => name.trim().replace(/^.*\//, ""));
  return names.map((name) => name.replace(/\.[^.]*$/, "")).filter((name) => name !== "");
}

/** The usage text, flags in groups. */
export function gatewayUsage(): string {
  const lines = [
    "Usage: ipref-gw -gateway ADDRESS [flags]",
    "",
    "The IPREF gateway: forwards packets between a local network and remote IPREF networks.",
    "Flags take one or two dashes, and their value behind a blank or an equals sign.",
  ];
  for (const { title, flags } of FLAG_GROUPS) {
    lines.push("", `${title}:`, ...flags.map(usageLine));
  }
  lines.push(
    "",
    "Signals: SIGHUP reads the hosts file again, SIGUSR1 writes counters to the log, SIGINT and",
    "SIGTERM stop the gateway.",
    "Exit status: 0 stopped on request, 2 bad flag, 69 a device or address is not to be had,",
    "74 the disk failed, 77 permission is missing, 78 the configuration cannot work, 1 others.",
  );
  return `${lines.join("\n")}\n`;
}

function usageLine({ name, valueName, defaultText, meaning }: FlagSpec): string {
  const left = `-${name}${valueName === "" ? "" : ` ${valueName}`}`;
  const fallback = defaultText === "" ? "" : ` (${defaultText})`;
  return `  ${left.padEnd(28)} ${meaning}${fallback}`;
}
