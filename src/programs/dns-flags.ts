/** The command line of `ipref-coredns` (spec/resolver.md 2.1), in the syntax of Go's flags. */

import {
  type FlagSpec,
  parseGoBoolean,
  parseGoInteger,
  splitGoFlags,
} from "../control/go-flags.js";
import { LOG_FORMATS, type LogFormatChoice } from "../control/log-format.js";
import { DNS_PORT } from "../dns/configuration.js";
import type { PartControl } from "./part-control.js";

/** What the command line says. */
export interface DnsFlags {
  /** Path of the Corefile; `stdin` is standard input. */
  readonly corefile: string;
  /** Port for keys without one. */
  readonly port: number;
  readonly pidFile: string | undefined;
  readonly isQuiet: boolean;
  readonly isCheck: boolean;
  /** Questions a second of one source; 0: no limit. */
  readonly sourceRate: number;
  /** Name of the user that the process becomes once its sockets are open. */
  readonly user: string | undefined;
  readonly control: PartControl;
  readonly logFormat: LogFormatChoice;
}

export type DnsCommand =
  | { readonly kind: "run"; readonly flags: DnsFlags }
  | { readonly kind: "version" }
  | { readonly kind: "plugins" }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "error"; readonly text: string };

/** spec/resolver.md 5.2. */
const SOURCE_RATE = 200;
const SOURCE_RATE_MAX = 10_000_000;

/** All flags, for the usage text and the manual page. */
export const SPECS: readonly FlagSpec[] = [
  flag("conf", "text", "FILE", "Corefile", "configuration; stdin reads standard input"),
  flag("dns.port", "integer", "PORT", "53", "port of server blocks that name none"),
  flag("p", "integer", "PORT", "53", "the same as -dns.port"),
  flag("pidfile", "text", "FILE", "", "write the process id to this file"),
  flag("plugins", "boolean", "", "", "list the directives and exit"),
  flag("quiet", "boolean", "", "", "say nothing at start"),
  flag("version", "boolean", "", "", "print the version and exit"),
  flag("check", "boolean", "", "", "read the configuration and the zones, report all errors, exit"),
  flag("user", "text", "NAME", "", "become this user once the sockets are open (root only)"),
  flag("control", "text", "PATH", "", "socket for status and diagnosis"),
  flag("control-group", "text", "GROUP", "", "group that may use the control socket"),
  flag("log-format", "text", LOG_FORMATS.join("|"), "auto", "auto: journal's form or text"),
  flag("source-rate", "integer", "N", "200", "questions a second that one source may ask; 0: any"),
];

function flag(
  name: string,
  kind: FlagSpec["kind"],
  valueName: string,
  defaultText: string,
  meaning: string,
): FlagSpec {
  return { name, kind, valueName, defaultText, meaning };
}

/** Reads the arguments behind the program's name. */
export function parseDnsFlags(args: readonly string[]): DnsCommand {
  const raw = splitGoFlags(args, SPECS);
  if (raw.kind === "help") return { kind: "help", text: usage() };
  if (raw.kind === "error") {
    const { flag: name, value, rule } = raw.error;
    const found = value === undefined ? name : `${name} ${value}`;
    return { kind: "error", text: `Cannot use '${found}': ${rule}` };
  }
  const surplus = firstArgument(args);
  if (surplus !== undefined) {
    return { kind: "error", text: `Found the argument '${surplus}', expected only flags` };
  }
  return command(raw.values);
}

function command(values: ReadonlyMap<string, string>): DnsCommand {
  const booleans = new Map<string, boolean>();
  for (const name of ["plugins", "quiet", "version", "check"]) {
    const value = parseGoBoolean(values.get(name) ?? "false");
    if (value === undefined) return wrong(name, values, "expected true or false");
    booleans.set(name, value);
  }
  if (booleans.get("version")) return { kind: "version" };
  if (booleans.get("plugins")) return { kind: "plugins" };
  const portFlag = values.has("dns.port") ? "dns.port" : "p";
  const port = parseGoInteger(values.get(portFlag) ?? String(DNS_PORT));
  if (port === undefined || port < 1 || port > 65_535) {
    return wrong(portFlag, values, "expected a port from 1 to 65535");
  }
  const sourceRate = parseGoInteger(values.get("source-rate") ?? String(SOURCE_RATE));
  if (sourceRate === undefined || sourceRate < 0 || sourceRate > SOURCE_RATE_MAX) {
    return wrong("source-rate", values, "expected a number from 0 to 10000000");
  }
  const logFormat = LOG_FORMATS.find((word) => word === (values.get("log-format") ?? "auto"));
  if (logFormat === undefined) {
    return wrong("log-format", values, `expected ${LOG_FORMATS.join(", ")}`);
  }
  const flags: DnsFlags = {
    logFormat,
    corefile: values.get("conf") ?? "Corefile",
    port,
    pidFile: values.get("pidfile"),
    isQuiet: booleans.get("quiet")!,
    isCheck: booleans.get("check")!,
    sourceRate,
    user: values.get("user"),
    control: {
      path: values.get("control") || undefined,
      group: values.get("control-group") || undefined,
    },
  };
  return { kind: "run", flags };
}

function wrong(name: string, values: ReadonlyMap<string, string>, rule: string): DnsCommand {
  return { kind: "error", text: `Cannot use '-${name} ${values.get(name) ?? ""}': ${rule}` };
}

/** The first argument that is neither a flag nor the value of one. */
function firstArgument(args: readonly string[]): string | undefined {
  for (let index = 0; index < args.length; index++) {
    const match = /^--?([^-=][^=]*)(=.*)?$/s.exec(args[index]!);
    if (match === null) return args[index];
    const spec = SPECS.find(({ name }) => name === match[1]);
    if (spec?.kind !== "boolean" && match[2] === undefined) index++;
  }
  return undefined;
}

function usage(): string {
  const lines = SPECS.map(({ name, valueName, defaultText, meaning }) => {
    const value = valueName === "" ? "" : ` ${valueName}`;
    const preset = defaultText === "" ? "" : ` (default ${defaultText})`;
    return `  -${name}${value}\n        ${meaning}${preset}`;
  });
  return [
    "ipref-coredns: DNS server that resolves IPREF names, serves zones and forwards the rest",
    "",
    ...lines,
    "",
    "Signals: SIGTERM and SIGINT end the server, SIGHUP and SIGUSR1 reload everything.",
    "Exit status: 0 done, 2 bad command line, 69 an address is not available, 77 permission is",
    "missing, 78 the configuration or a zone is not usable.",
    "",
  ].join("\n");
}
