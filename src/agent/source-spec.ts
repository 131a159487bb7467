/**
 * Source specifications of the command line (spec/dns-agent.md 2):
 *
 *   LOCAL:PUBLIC:SERVER[,SERVER]...     zone transfer; SERVER = host, host:port, v6 or [v6]:port
 *   LOCAL:PUBLIC:file:///PATH           a zone file, watched for changes
 *   LOCAL:PUBLIC:names:///PATH          a file with names that are asked for by TXT query
 *   LOCAL:PUBLIC:names:NAME[,NAME]...   the same, with the names in place
 *
 * The last three are for zones whose servers allow no transfer (spec/dns-agent.md 9, 18).
 */

import { formatIp, type IpAddress, parseIp } from "../base/ip.js";
import { type Name, parseName } from "../wire/dns/name.js";

const DNS_PORT = 53;
const PORT_MAX = 65_535;
/** Limits of the reference mapper (spec/dns-agent.md 2, spec/mapper.md 2.4). */
const PUBLIC_BYTES_MIN = 3;
const DOMAINS_BYTES_MAX = 254;

/** A name server as written: an address or a name. */
export interface ServerSpec {
  readonly host: IpAddress | string;
  readonly port: number;
  /** For logs and TSIG: `192.0.2.1:53`, `[2001:db8::1]:53`, `ns1.example.com:53`. */
  readonly text: string;
}

/** Where the content of the public zone comes from. */
export type Origin =
  | { readonly kind: "servers"; readonly servers: readonly ServerSpec[] }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "names"; readonly path: string }
  | { readonly kind: "names-inline"; readonly names: readonly string[] };

/** One source; domains in lower case without final dot. */
export interface SourceSpec {
  readonly local: string;
  readonly public: string;
  /** `LOCAL:PUBLIC`, the owner name in the mapper. */
  readonly name: string;
  readonly localZone: Name;
  readonly publicZone: Name;
  readonly origin: Origin;
}

export type ParsedSpec =
  | { readonly ok: true; readonly spec: SourceSpec }
  | { readonly ok: false; readonly error: string };

/** Reads one specification; the error is the end of a sentence. */
export function parseSourceSpec(text: string): ParsedSpec {
  const first = text.indexOf(":");
  const second = first < 0 ? -1 : text.indexOf(":", first + 1);
  if (second < 0) return failed("invalid source specification, expected LOCAL:PUBLIC:SERVERS");
  const local = plainDomain(text.slice(0, first));
  const publicDomain = plainDomain(text.slice(first + 1, second));
  if (local === "" || publicDomain === "") return failed("missing local or public domain");
  const localZone = zoneOf(local);
  if (typeof localZone === "string") return failed(`local domain '${local}': ${localZone}`);
  const publicZone = zoneOf(publicDomain);
  if (typeof publicZone === "string") return failed(`public domain: ${publicZone}`);
  if (publicDomain.length < PUBLIC_BYTES_MIN) {
    return failed(`public domain '${publicDomain}' is shorter than ${PUBLIC_BYTES_MIN} characters`);
  }
  if (local.length + publicDomain.length > DOMAINS_BYTES_MAX) {
    return failed(`both domains together are longer than ${DOMAINS_BYTES_MAX} characters`);
  }
  const origin = parseOrigin(text.slice(second + 1).trim());
  if (typeof origin === "string") return failed(origin);
  const name = `${local}:${publicDomain}`;
  return { ok: true, spec: { local, public: publicDomain, name, localZone, publicZone, origin } };
}

function failed(error: string): ParsedSpec {
  return { ok: false, error };
}

/** Trimmed, lower case, without one final dot (spec/dns-agent.md 2). */
function plainDomain(text: string): string {
  return text.trim().replace(/\.$/, "").toLowerCase();
}

function zoneOf(domain: string): Name | string {
  if (!/^[\x21-\x7e]+$/.test(domain)) return "found a character that is not printable ASCII";
  const parsed = parseName(`${domain}.`);
  return parsed.ok ? parsed.name : parsed.error;
}

function parseOrigin(text: string): Origin | string {
  const path = /^(file|names):\/\/(\/.+)$/.exec(text);
  if (path !== null) return { kind: path[1] as "file" | "names", path: path[2]! };
  const inline = /^names:(?!\/)(?![0-9]+(,|$))(.+)$/.exec(text);
  if (inline !== null) {
    const names = inline[2]!.split(",").map((name) => plainDomain(name));
    return names.includes("") ? "empty name in the list of names" : { kind: "names-inline", names };
  }
  return parseServers(text);
}

function parseServers(text: string): Origin | string {
  const servers = new Map<string, ServerSpec>();
  if (text === "") return "missing servers";
  for (const word of text.split(",")) {
    const server = parseServer(word.trim());
    if (typeof server === "string") return server;
    servers.set(server.text, server);
  }
  return { kind: "servers", servers: [...servers.values()] };
}

/** `host`, `host:port`, `v6`, `[v6]`, `[v6]:port`; an error as text. */
export function parseServer(text: string, defaultPort: number = DNS_PORT): ServerSpec | string {
  if (text === "") return "empty server";
  const bare = parseIp(text);
  if (bare !== undefined) return serverOf(bare, defaultPort);
  const match = /^(?:\[([^\]]*)\]|([^:[\]]+))(?::([0-9]{1,5}))?$/.exec(text);
  if (match === null) return `invalid server '${text}', expected HOST, HOST:PORT or [IPV6]:PORT`;
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (port < 1 || port > PORT_MAX) return `server '${text}': port ${port} is not 1 to 65535`;
  const literal = parseIp(match[1] ?? match[2]!);
  if (literal !== undefined) {
    const isBracketed = match[1] !== undefined;
    if (isBracketed === (literal.version === 6)) return serverOf(literal, port);
    return `invalid server '${text}': only IPv6 addresses stand in brackets`;
  }
  if (match[1] !== undefined) return `invalid server '${text}', expected an IPv6 address`;
  const host = plainDomain(match[2]!);
  if (/^[0-9.]+$/.test(host)) return `invalid server '${text}': not an IPv4 address`;
  return parseName(`${host}.`).ok ? serverOf(host, port) : `invalid server name '${host}'`;
}

function serverOf(host: IpAddress | string, port: number): ServerSpec {
  const plain = typeof host === "string" ? host : formatIp(host);
  return { host, port, text: `${plain.includes(":") ? `[${plain}]` : plain}:${port}` };
}
