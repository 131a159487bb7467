/**
 * Settings of `ipref up` as one table: the schema of the configuration file, the flags and
 * docs/CONFIGURATION.md come from it. Pure.
 */

import { z } from "zod";
import { isGlobalUnicast, isUnspecified, parseIp, parsePrefix } from "../../base/ip.js";
import { parseReference } from "../../base/reference.js";
import { OFFLOAD_NAMES, parseOffloads } from "../../forward/offloads.js";
import {
  COALESCE_US_MAX,
  COALESCE_US_PRESET,
  ENCODE_HOST_BITS_MIN,
  KERNEL_NAMES,
  LANES_MAX,
} from "../gateway-flags.js";
import { LISTEN_ADDRESS_RULE, parseListenAddress } from "../metrics/listen-address.js";

const PORT_MAX = 65_535;
const COALESCE_RULE = `expected a number of microseconds from 0 to ${COALESCE_US_MAX}`;
const LANES_RULE = `expected a number of lanes from 1 to ${LANES_MAX}, or 0`;

/** Whether SIGHUP applies a change: at once, or only after the end and a new start. */
export type Reload = "yes" | "restart";

/** One setting. */
export interface Setting {
  readonly section: string;
  readonly key: string;
  /** Flag of `ipref up` without dashes, when there is one. */
  readonly flag?: string;
  readonly valueName: string;
  readonly schema: z.ZodType;
  readonly preset: unknown;
  /** The default in words, where the preset says too little. */
  readonly presetText?: string;
  readonly reload: Reload;
  readonly meaning: string;
}

/**
 * A text with a rule. `pattern` is for editors (config/json-schema.ts): it matches every text that
 * the rule takes, and refuses what is plainly none.
 */
function text(
  rule: string,
  isRight: (value: string) => boolean,
  pattern: string,
): z.ZodType<string> {
  return z.string(`expected ${rule}`).refine(isRight, `expected ${rule}`).meta({ pattern });
}

function list(item: z.ZodType<string>, rule: string): z.ZodType<string[]> {
  return z.array(item, `expected a list of ${rule}`);
}

function isGatewayAddress(value: string): boolean {
  const address = parseIp(value);
  return address !== undefined && (isUnspecified(address) || isGlobalUnicast(address));
}

function isEncodeNet(value: string): boolean {
  const prefix = parsePrefix(value);
  if (prefix === undefined) return false;
  const bits = prefix.address.version === 4 ? 32 : 128;
  return bits - prefix.bits >= ENCODE_HOST_BITS_MIN;
}

function isReference(value: string): boolean {
  const parsed = parseReference(value);
  return parsed.ok && parsed.value !== 0n;
}

/** Address with or without port: `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]:53`. */
export function isServer(value: string): boolean {
  if (parseIp(value) !== undefined) return true;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?$/.exec(value);
  if (match === null || parseIp(match[1] ?? match[2]!) === undefined) return false;
  const port = Number(match[3] ?? 53);
  return port >= 1 && port <= PORT_MAX;
}

const DOMAIN =
  /^(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;

/** A domain name without final dot. */
export function isDomain(value: string): boolean {
  return DOMAIN.test(value);
}

const port = z
  .int("expected a port from 1 to 65535")
  .min(1, "expected a port from 1 to 65535")
  .max(PORT_MAX, "expected a port from 1 to 65535");
const boolean = z.boolean("expected true or false");

/** Patterns of text(). */
const IPV4_PATTERN = "[0-9]{1,3}(\\.[0-9]{1,3}){3}";
const IPV6_PATTERN = "[0-9a-fA-F]{0,4}(:[0-9a-fA-F.]*){2,8}";
const ADDRESS_PATTERN = `${IPV4_PATTERN}|${IPV6_PATTERN}`;
const PORT_PATTERN = "(:[0-9]{1,5})?";
const SERVER_PATTERN = `(${IPV4_PATTERN}|\\[${IPV6_PATTERN}\\])${PORT_PATTERN}|${IPV6_PATTERN}`;
const DOMAIN_PATTERN = "[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?";
const NEW_ADDRESSES_PATTERN = "^(off|[0-9]{1,6}( [0-9]{1,6}){2})$";
const OFFLOAD_PATTERN = `\\s*(${OFFLOAD_NAMES.join("|")})\\s*`;
const PATH_PATTERN = "^/";
const OPTIONAL_PATH_PATTERN = "^(/|$)";

const address = text("an IPv4 or IPv6 address", isGatewayAddress, `^(${ADDRESS_PATTERN})$`);
const prefix = text(
  `a prefix with ${ENCODE_HOST_BITS_MIN} host bits or more`,
  isEncodeNet,
  `^((${IPV4_PATTERN})/1?[0-9]|(${IPV6_PATTERN})/1?[0-9]{1,2})$`,
);
const reference = text(
  "a reference other than 0, such as 1 or 12-3456",
  isReference,
  "^([0-9]{1,64}|[0-9a-fA-F-]{2,64})$",
);
const server = text("an IP address, with or without port", isServer, `^(${SERVER_PATTERN})$`);
const domain = text(
  "a domain name",
  (value) => value === "" || isDomain(value),
  `^(${DOMAIN_PATTERN})?$`,
);
const path = text("an absolute path", (value) => value.startsWith("/"), PATH_PATTERN);
const optionalPath = text(
  "an absolute path",
  (value) => value === "" || value.startsWith("/"),
  OPTIONAL_PATH_PATTERN,
);
const gatewayName = text(
  "an IP address or a domain name",
  (value) => value === "" || parseIp(value) !== undefined || isDomain(value),
  `^(${ADDRESS_PATTERN}|${DOMAIN_PATTERN})?$`,
);
const source = text(
  "an IP address or a domain name, with or without port",
  (value) => isServer(value) || /^[a-z0-9.-]+(:[0-9]{1,5})?$/i.test(value),
  `^(${SERVER_PATTERN}|[A-Za-z0-9.-]+${PORT_PATTERN})$`,
);

const FILES: readonly Setting[] = [
  {
    section: "files",
    key: "data",
    flag: "data",
    valueName: "DIRECTORY",
    schema: path,
    preset: "/var/lib/ipref",
    reload: "restart",
    meaning: "mappings of the gateway, zones, and what was seen of the machine's resolvers",
  },
  {
    section: "files",
    key: "run",
    flag: "run",
    valueName: "DIRECTORY",
    schema: path,
    preset: "/run/ipref",
    reload: "restart",
    meaning: "mapper socket and state of the running system",
  },
];

const GATEWAY: readonly Setting[] = [
  {
    section: "gateway",
    key: "bind",
    flag: "bind",
    valueName: "ADDRESS",
    schema: address,
    preset: "0.0.0.0",
    reload: "restart",
    meaning:
      "address of the tunnel socket; `0.0.0.0` or `::` for any. Its version is that of the tunnel",
  },
  {
    section: "gateway",
    key: "public",
    flag: "public",
    valueName: "ADDRESS",
    schema: address,
    preset: "",
    presetText: "unknown (client mode)",
    reload: "restart",
    meaning: "address under which other networks reach this one, that of the router behind a NAT",
  },
  {
    section: "gateway",
    key: "port",
    valueName: "PORT",
    schema: port,
    preset: 1045,
    reload: "restart",
    meaning: "UDP port of the tunnel",
  },
  {
    section: "gateway",
    key: "encode-net",
    flag: "encode-net",
    valueName: "PREFIX",
    schema: prefix,
    preset: "10.240.0.0/12",
    reload: "restart",
    meaning: "network of the encoded addresses. Its version is that of the local network",
  },
  {
    section: "gateway",
    key: "reference",
    valueName: "REFERENCE",
    schema: reference,
    preset: "1",
    reload: "restart",
    meaning: "the gateway's own reference",
  },
  {
    section: "gateway",
    key: "hosts",
    valueName: "FILE",
    schema: optionalPath,
    preset: "/etc/hosts",
    reload: "restart",
    meaning: "hosts file with `#=` records; empty for none. Its content is read again on SIGHUP",
  },
  {
    section: "gateway",
    key: "forwarding",
    valueName: "BOOLEAN",
    schema: boolean,
    preset: true,
    reload: "restart",
    meaning: "switch on the kernel's forwarding while the system runs",
  },
  {
    section: "gateway",
    key: "lanes",
    valueName: "N",
    schema: z.int(LANES_RULE).min(0, LANES_RULE).max(LANES_MAX, LANES_RULE),
    preset: 0,
    presetText: "0: by the number of processors",
    reload: "restart",
    meaning: "pairs of forwarding workers",
  },
  {
    section: "gateway",
    key: "coalesce-us",
    valueName: "N",
    schema: z.int(COALESCE_RULE).min(0, COALESCE_RULE).max(COALESCE_US_MAX, COALESCE_RULE),
    preset: COALESCE_US_PRESET,
    reload: "restart",
    meaning:
      "microseconds in which packets from the local network gather under load: more throughput, " +
      "more delay. 0: never",
  },
  {
    section: "gateway",
    key: "offload",
    valueName: "LIST",
    schema: text(
      `all, none, or some of ${OFFLOAD_NAMES.join(",")}`,
      (value) => parseOffloads(value) !== undefined,
      `^(all|none|${OFFLOAD_PATTERN}(,${OFFLOAD_PATTERN})*)$`,
    ),
    preset: "all",
    reload: "restart",
    meaning: "what the kernel does for many packets at once, where it can; for finding faults",
  },
  {
    section: "gateway",
    key: "kernel",
    valueName: "NAME",
    schema: text(
      KERNEL_NAMES.join(" or "),
      (value) => KERNEL_NAMES.some((name) => name === value),
      `^(${KERNEL_NAMES.join("|")})$`,
    ),
    preset: "wasm",
    reload: "restart",
    meaning: "inner loops of the gateway in WebAssembly or in TypeScript",
  },
];

const RESOLVER: readonly Setting[] = [
  {
    section: "resolver",
    key: "enabled",
    valueName: "BOOLEAN",
    schema: boolean,
    preset: true,
    reload: "restart",
    meaning: "run the DNS server",
  },
  {
    section: "resolver",
    key: "listen",
    flag: "listen",
    valueName: "ADDRESS,...",
    schema: list(
      text("an IP address", (value) => parseIp(value) !== undefined, `^(${ADDRESS_PATTERN})$`),
      "IP addresses",
    ),
    preset: [],
    presetText: "all addresses of the machine",
    reload: "yes",
    meaning:
      "addresses at which the DNS server answers; it answers directly connected networks only",
  },
  {
    section: "resolver",
    key: "port",
    flag: "dns-port",
    valueName: "PORT",
    schema: port,
    preset: 53,
    reload: "yes",
    meaning: "port of the DNS server",
  },
  {
    section: "resolver",
    key: "upstream",
    flag: "upstream",
    valueName: "ADDRESS,...",
    schema: list(server, "IP addresses, with or without port"),
    preset: [],
    presetText: "the machine's present resolvers",
    reload: "yes",
    meaning:
      "DNS servers that answer questions and know published records; never this server itself",
  },
  {
    section: "resolver",
    key: "new-addresses",
    valueName: "LIMITS",
    schema: text(
      "'off' or three numbers: of each client a minute, of each gateway a second, in all a second",
      (value) => new RegExp(NEW_ADDRESSES_PATTERN).test(value),
      NEW_ADDRESSES_PATTERN,
    ),
    preset: "60 10 100",
    reload: "yes",
    meaning:
      "addresses not asked for within four hours that may be mapped: of each client a minute, of " +
      "each gateway a second, in all a second; or `off`",
  },
];

const PUBLISH: readonly Setting[] = [
  {
    section: "publish",
    key: "domain",
    flag: "domain",
    valueName: "DOMAIN",
    schema: domain,
    preset: "",
    presetText: "none: nothing is published",
    reload: "yes",
    meaning: "public zone of the network, e.g. `home.example.com`",
  },
  {
    section: "publish",
    key: "local",
    valueName: "DOMAIN",
    schema: text("a domain name", isDomain, `^(${DOMAIN_PATTERN})$`),
    preset: "internal",
    reload: "yes",
    meaning: "local zone, in which the same hosts have their private addresses",
  },
  {
    section: "publish",
    key: "gateway",
    valueName: "NAME",
    schema: gatewayName,
    preset: "",
    presetText: "the value of `gateway.public`",
    reload: "yes",
    meaning:
      "how published records name this gateway: an address, or a name with an address record",
  },
  {
    section: "publish",
    key: "servers",
    valueName: "SERVER,...",
    schema: list(source, "name servers"),
    preset: [],
    presetText: "none: the records that `ipref publish` wrote",
    reload: "yes",
    meaning: "name servers of the public zone that allow its transfer",
  },
  {
    section: "publish",
    key: "interval",
    valueName: "MINUTES",
    schema: z.int("expected minutes from 1 to 10080").min(1).max(10_080),
    preset: 59,
    reload: "yes",
    meaning: "time between transfers, at most",
  },
  {
    section: "publish",
    key: "tsig-key",
    valueName: "FILE",
    schema: optionalPath,
    preset: "",
    presetText: "none",
    reload: "yes",
    meaning: "key file as `tsig-keygen` writes it, for transfers and updates",
  },
  {
    section: "publish",
    key: "update-server",
    valueName: "SERVER",
    schema: text(
      "an IP address, with or without port",
      (value) => value === "" || isServer(value),
      `^(${SERVER_PATTERN})?$`,
    ),
    preset: "",
    presetText: "none: records are only printed",
    reload: "yes",
    meaning: "server to which `ipref publish` sends DNS updates, signed with the key of `tsig-key`",
  },
];

const METRICS: readonly Setting[] = [
  {
    section: "metrics",
    key: "listen",
    valueName: "ADDRESS:PORT",
    schema: text(
      LISTEN_ADDRESS_RULE,
      (value) => value === "" || parseListenAddress(value) !== undefined,
      "^((\\[[0-9a-fA-F:.]+\\]|[0-9.]+|localhost)?:[0-9]{1,5})?$",
    ),
    preset: "127.0.0.1:9145",
    reload: "restart",
    meaning: "where metrics of all parts and their health are served over HTTP; empty for nowhere",
  },
];

/** All settings in the order of the documentation. */
export const SETTINGS: readonly Setting[] = [
  ...[...FILES, ...GATEWAY, ...RESOLVER],
  ...[...PUBLISH, ...METRICS],
];

/** Checked values of all settings. */
export interface UpConfiguration {
  readonly files: { readonly data: string; readonly run: string };
  readonly gateway: {
    readonly bind: string;
    /** Empty: unknown. */
    readonly public: string;
    readonly port: number;
    readonly "encode-net": string;
    readonly reference: string;
    readonly hosts: string;
    readonly forwarding: boolean;
    /** 0: by the number of processors. */
    readonly lanes: number;
    readonly "coalesce-us": number;
    readonly offload: string;
    readonly kernel: string;
  };
  readonly resolver: {
    readonly enabled: boolean;
    readonly listen: readonly string[];
    readonly port: number;
    readonly upstream: readonly string[];
    readonly "new-addresses": string;
  };
  readonly publish: {
    readonly domain: string;
    readonly local: string;
    readonly gateway: string;
    readonly servers: readonly string[];
    readonly interval: number;
    readonly "tsig-key": string;
    readonly "update-server": string;
  };
  readonly metrics: {
    /** Empty: nowhere. */
    readonly listen: string;
  };
}

/** `section.key`. */
export function nameOfSetting({ section, key }: Setting): string {
  return `${section}.${key}`;
}
