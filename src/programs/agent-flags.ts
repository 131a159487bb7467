/**
 * Command line of the DNS agent (spec/dns-agent.md 1 and 2): flags of the original with their
 * defaults and checks, flags of its own, and the sources.
 */

import type { AgentSettings } from "../agent/agent.js";
import { type KeyRing, NO_KEYS } from "../agent/key-file.js";
import {
  parseServer,
  parseSourceSpec,
  type ServerSpec,
  type SourceSpec,
} from "../agent/source-spec.js";
import {
  type IpAddress,
  type IpPrefix,
  type IpVersion,
  isGlobalUnicast,
  parseIp,
  parsePrefix,
} from "../base/ip.js";
import {
  type FlagSpec,
  parseGoBoolean,
  parseGoInteger,
  type RawFlags,
  splitGoFlags,
} from "../control/go-flags.js";
import { LOG_FORMATS, type LogFormatChoice } from "../control/log-format.js";
import {
  LISTEN_ADDRESS_RULE,
  type ListenAddress,
  parseListenAddress,
} from "../control/metrics/listen-address.js";
import { EXIT_FAILED, EXIT_USAGE } from "./exit-status.js";
import type { PartControl } from "./part-control.js";

/** spec/dns-agent.md 1. */
const INTERVAL_DEFAULT_MINUTES = 59;
const INTERVAL_MAX_MINUTES = 10_080;
const SOCKET_PREFIX = "unix://";
/** The gateway's default encode net (spec/mapper.md 7.1). */
const ENCODE_NET_DEFAULT = "10.240.0.0/12";
const DNS_PORT = 53;
/** spec/dns-agent.md 1, -devmode. */
const DEVMODE_PAYLOAD_BYTES = 200;

/** Address and port. */
export interface SocketAddress {
  readonly address: IpAddress;
  readonly port: number;
}

/** Checked settings of the program. */
export interface AgentProgramSettings {
  readonly agent: AgentSettings;
  /** Absolute path of the mapper socket. */
  readonly mapperPath: string;
  /** Servers for gateways and name servers; empty: those of the system. */
  readonly resolvers: readonly SocketAddress[];
  /** Servers for local names; empty: those of the system. */
  readonly localResolvers: readonly SocketAddress[];
  readonly notify: SocketAddress | undefined;
  readonly keyFile: string | undefined;
  readonly control: PartControl;
  readonly isDebugged: boolean;
  readonly hasTimeStamps: boolean;
  readonly isDevmode: boolean;
  /** Where metrics can be read over HTTP; undefined = nowhere. */
  readonly metrics: ListenAddress | undefined;
  readonly logFormat: LogFormatChoice;
  /** What is worth a line at the start. */
  readonly notices: readonly string[];
}

export type ParsedAgentFlags =
  | { readonly kind: "settings"; readonly settings: AgentProgramSettings }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "errors"; readonly lines: readonly string[]; readonly exitStatus: number };

function flag(
  name: string,
  kind: FlagSpec["kind"],
  valueName: string,
  defaultText: string,
  meaning: string,
): FlagSpec {
  return { name, kind, valueName, defaultText, meaning };
}

/** All flags, for the usage text and the manual page. */
export const FLAGS: readonly FlagSpec[] = [
  flag("m", "text", "URL", "unix:///run/ipref/mapper.sock", "control socket of the gateway"),
  flag("t", "integer", "MINUTES", "59", "approximate interval between transfers, 1 to 10080"),
  flag("ea-ipver", "integer", "4|6", "4", "IP version of local addresses"),
  flag("gw-ipver", "integer", "4|6", "4", "IP version of gateway addresses"),
  flag("resolver", "text", "ADDRESS,...", "system", "DNS servers for gateways, never translating"),
  flag("local-resolver", "text", "ADDRESS,...", "system", "DNS servers for the local domain"),
  flag("encode-net", "text", "PREFIX", "10.240.0.0/12", "refuse addresses inside; empty for none"),
  flag("gateway-pub", "text", "ADDRESS", "", "publish only records of this gateway"),
  flag("tsig-key", "text", "FILE", "", "key file for signed transfers (key and server clauses)"),
  flag("notify", "text", "ADDRESS[:PORT]", "", "receive NOTIFY there"),
  flag("control", "text", "PATH", "", "socket for status and diagnosis"),
  flag("control-group", "text", "GROUP", "", "group that may use the control socket"),
  flag("debug", "boolean", "", "", "print debug information"),
  flag("time-stamps", "boolean", "", "", "put the time of day in front of each line"),
  flag("metrics", "text", "ADDRESS:PORT", "", "serve /metrics, /healthz and /readyz over HTTP"),
  flag("log-format", "text", LOG_FORMATS.join("|"), "auto", "auto: journal's form or text"),
  flag("devmode", "boolean", "", "", "no mapper; packets are acknowledged at random"),
];

/** Collects complaints about flag values and sources. */
class Checker {
  readonly lines: string[] = [];
  readonly #values: ReadonlyMap<string, string>;

  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values;
  }

  complain(name: string, rule: string): undefined {
    this.lines.push(`F invalid -${name} ${this.#values.get(name) ?? ""}: ${rule}`);
    return undefined;
  }

  text(name: string): string | undefined {
    return this.#values.get(name);
  }

  boolean(name: string): boolean {
    const value = this.#values.get(name);
    const parsed = value === undefined ? false : parseGoBoolean(value);
    if (parsed === undefined) this.complain(name, "expected true or false");
    return parsed ?? false;
  }

  version(name: string): IpVersion {
    const value = parseGoInteger(this.#values.get(name) ?? "4");
    if (value === 4 || value === 6) return value;
    this.complain(name, "expected 4 or 6");
    return 4;
  }

  servers(name: string): SocketAddress[] {
    const value = this.#values.get(name) ?? "";
    if (value === "") return [];
    return value.split(",").flatMap((word) => this.#server(name, word.trim()) ?? []);
  }

  listenAddress(name: string): ListenAddress | undefined {
    const value = this.#values.get(name) ?? "";
    if (value === "") return undefined;
    return parseListenAddress(value) ?? this.complain(name, `expected ${LISTEN_ADDRESS_RULE}`);
  }

  logFormat(name: string): LogFormatChoice {
    const value = this.#values.get(name) ?? "auto";
    const format = LOG_FORMATS.find((word) => word === value);
    if (format === undefined) this.complain(name, `expected ${LOG_FORMATS.join(", ")}`);
    return format ?? "auto";
  }

  #server(name: string, word: string): SocketAddress | undefined {
    const server: ServerSpec | string = parseServer(word, DNS_PORT);
    if (typeof server === "string") return this.complain(name, server);
    if (typeof server.host !== "string") return { address: server.host, port: server.port };
    return this.complain(name, `expected an IP address, found '${server.host}'`);
  }
}

/** Reads the arguments (without interpreter and script name). */
export function parseAgentFlags(args: readonly string[]): ParsedAgentFlags {
  const raw = splitGoFlags(args, FLAGS);
  if (raw.kind === "help") return { kind: "help", text: agentUsage() };
  if (raw.kind === "error") return usageError(raw);
  const checker = new Checker(raw.values);
  const notices: string[] = [];
  const specs = sourcesOf(sourceArguments(args), checker.lines, notices);
  const settings = settingsOf(checker, specs, notices);
  if (checker.lines.length > 0) {
    return { kind: "errors", lines: checker.lines, exitStatus: EXIT_FAILED };
  }
  return { kind: "settings", settings };
}

/** What follows the flags: `splitGoFlags` stops there as well. */
function sourceArguments(args: readonly string[]): readonly string[] {
  const kinds = new Map(FLAGS.map(({ name, kind }) => [name, kind]));
  let index = 0;
  for (; index < args.length; index++) {
    const arg = args[index]!;
    if (arg === "--") return args.slice(index + 1);
    if (!/^-./.test(arg)) break;
    const match = /^--?([^=]+)(=.*)?$/s.exec(arg)!;
    if (match[2] === undefined && kinds.get(match[1]!) !== "boolean") index++;
  }
  return args.slice(index);
}

function sourcesOf(
  texts: readonly string[],
  errors: string[],
  notices: string[],
): readonly SourceSpec[] {
  const specs = new Map<string, SourceSpec>();
  for (const text of texts) {
    const parsed = parseSourceSpec(text);
    if (!parsed.ok) {
      errors.push(`E source '${text}': ${parsed.error}`);
      continue;
    }
    const { name } = parsed.spec;
    if (specs.has(name)) notices.push(`source ${name} is given twice, the last one counts`);
    specs.set(name, parsed.spec);
  }
  if (errors.length > 0) errors.push("F invalid source specifications");
  return [...specs.values()];
}

function settingsOf(
  checker: Checker,
  specs: readonly SourceSpec[],
  notices: readonly string[],
): AgentProgramSettings {
  const localVersion = checker.version("ea-ipver");
  const gatewayVersion = checker.version("gw-ipver");
  const isDevmode = checker.boolean("devmode");
  const agent: AgentSettings = {
    specs,
    intervalSeconds: 60 * intervalMinutes(checker),
    localVersion,
    gatewayVersion,
    encodeNet: encodeNet(checker),
    ownGateway: ownGateway(checker, gatewayVersion),
    keys: NO_KEYS,
    ...(isDevmode ? { payloadBytesMax: DEVMODE_PAYLOAD_BYTES } : {}),
  };
  return {
    agent,
    mapperPath: mapperPath(checker),
    resolvers: checker.servers("resolver"),
    localResolvers: checker.servers("local-resolver"),
    notify: checker.servers("notify")[0],
    keyFile: checker.text("tsig-key") || undefined,
    control: {
      path: checker.text("control") || undefined,
      group: checker.text("control-group") || undefined,
    },
    isDebugged: checker.boolean("debug"),
    hasTimeStamps: checker.boolean("time-stamps"),
    isDevmode,
    metrics: checker.listenAddress("metrics"),
    logFormat: checker.logFormat("log-format"),
    notices,
  };
}

function intervalMinutes(checker: Checker): number {
  const minutes = parseGoInteger(checker.text("t") ?? String(INTERVAL_DEFAULT_MINUTES));
  if (minutes === undefined) checker.complain("t", "expected a number of minutes");
  return Math.min(INTERVAL_MAX_MINUTES, Math.max(1, minutes ?? INTERVAL_DEFAULT_MINUTES));
}

function mapperPath(checker: Checker): string {
  const url = checker.text("m") ?? "unix:///run/ipref/mapper.sock";
  if (/^unix:\/\/\/./.test(url)) return url.slice(SOCKET_PREFIX.length);
  checker.complain("m", "expected unix:///PATH");
  return "";
}

function encodeNet(checker: Checker): IpPrefix | undefined {
  const text = checker.text("encode-net") ?? ENCODE_NET_DEFAULT;
  if (text === "") return undefined;
  return parsePrefix(text) ?? checker.complain("encode-net", "expected a prefix or nothing");
}

function ownGateway(checker: Checker, version: IpVersion): IpAddress | undefined {
  const text = checker.text("gateway-pub");
  if (text === undefined || text === "") return undefined;
  const address = parseIp(text);
  if (address?.version === version && isGlobalUnicast(address)) return address;
  return checker.complain("gateway-pub", `expected a unicast IPv${version} address`);
}

function usageError(raw: RawFlags & { kind: "error" }): ParsedAgentFlags {
  const { flag: name, value, rule } = raw.error;
  const found = value === undefined ? "" : ` '${value}'`;
  const lines = [`Cannot use ${name}${found}: ${rule}`, "", agentUsage().trimEnd()];
  return { kind: "errors", lines, exitStatus: EXIT_USAGE };
}

/** The usage text. */
export function agentUsage(): string {
  const width = Math.max(...FLAGS.map((each) => heading(each).length));
  const lines = FLAGS.map((each) => {
    const byDefault = each.defaultText === "" ? "" : ` (default: ${each.defaultText})`;
    return `  ${heading(each).padEnd(width)}  ${each.meaning}${byDefault}`;
  });
  return [
    "Usage: dns-agent [FLAGS] LOCAL:PUBLIC:SERVERS ...",
    "",
    "Publishes local hosts: reads the AA records of the PUBLIC zone from its SERVERS, finds the",
    "addresses of the hosts in the LOCAL domain, and tells the gateway.",
    "",
    "  LOCAL:PUBLIC:SERVER[,SERVER]    transfer the zone from these servers",
    "  LOCAL:PUBLIC:file:///PATH       read the zone from a file, again when it changes",
    "  LOCAL:PUBLIC:names:///PATH      ask for the names of a file, one name a line",
    "  LOCAL:PUBLIC:names:NAME,...     ask for these names",
    "",
    "Flags:",
    ...lines,
    "",
  ].join("\n");
}

function heading({ name, valueName }: FlagSpec): string {
  return `-${name}${valueName === "" ? "" : ` ${valueName}`}`;
}

/** The settings with the keys of a key file. */
export function withKeys(settings: AgentProgramSettings, keys: KeyRing): AgentSettings {
  return { ...settings.agent, keys };
}
