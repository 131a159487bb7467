/**
 * What `ipref up` starts: the command lines of the three programs and the Corefile, made from the
 * configuration. Pure. How the parts find each other:
 *
 *   resolver ── asks ──> upstreams             published records and everything else
 *   resolver ── asks ──> gateway               mapper socket, encoded addresses
 *   agent ──── asks ──> upstreams              names of gateways, past the translation
 *   agent ──── asks ──> resolver               names of the local zone only
 *
 * The agent never asks the resolver for a gateway: it would get an encoded address
 * (spec/dns-agent.md 5.1). The resolver answers names of the own network with their local
 * addresses, and the own gateway's name with its native one.
 */

import { join } from "node:path";
import { formatIp, parseIp, parsePrefix } from "../base/ip.js";
import { localVersion, tunnelVersion } from "../control/config/read.js";
import type { UpConfiguration } from "../control/config/settings.js";
import { ENCODED_NAME, PLAIN_ADDRESS, PLAIN_NAME, PROBE_ZONE } from "../control/doctor/names.js";
import { ownAddressOf } from "../control/doctor/network.js";

/** Seconds between looks at the files that `ipref publish` writes. */
const RELOAD_SECONDS = 2;
/** Time to live of local addresses of published names, in seconds. */
const OWN_NAMES_TTL_SECONDS = 60;

/** Queries are counted; `ipref up` has the port for the page. */
const COUNTED = ["prometheus none"];

/** Files of a running system. */
export interface UpPaths {
  readonly mapperSocket: string;
  readonly corefile: string;
  /** Control sockets of the parts. */
  readonly control: Readonly<Record<"gateway" | "resolver" | "agent" | "up", string>>;
  readonly state: string;
  /** Process id of `ipref up`, for kill(1). */
  readonly pidFile: string;
  readonly localZone: string;
  readonly publicZone: string;
  /** Hosts file: published names with their local addresses. */
  readonly ownNames: string;
  /** Resolvers of the machine when they were last seen. */
  readonly upstreams: string;
}

/** Command lines and Corefile. */
export interface UpPlan {
  readonly gateway: readonly string[];
  /** Undefined: the resolver is switched off. */
  readonly resolver: readonly string[] | undefined;
  readonly agent: readonly string[];
  readonly corefile: string;
}

/** Where the files of this configuration are. */
export function pathsOf({ files, publish }: UpConfiguration): UpPaths {
  const zones = join(files.data, "zones");
  return {
    mapperSocket: join(files.run, "mapper.sock"),
    corefile: join(files.run, "Corefile"),
    control: {
      gateway: join(files.run, "gateway.control"),
      resolver: join(files.run, "resolver.control"),
      agent: join(files.run, "agent.control"),
      up: join(files.run, "up.control"),
    },
    state: join(files.run, "up.json"),
    pidFile: join(files.run, "up.pid"),
    localZone: join(zones, `${publish.local.toLowerCase()}.db`),
    publicZone: join(zones, `${publish.domain.toLowerCase()}.db`),
    ownNames: join(zones, "own-names.hosts"),
    upstreams: join(files.data, "upstreams"),
  };
}

/** How published records name the own gateway. */
export function gatewayName({ gateway, publish }: UpConfiguration): string {
  return publish.gateway === "" ? gateway.public : publish.gateway;
}

/** Everything to start. `upstreams` are servers that do not translate. */
export function planOf(configuration: UpConfiguration, upstreams: readonly string[]): UpPlan {
  const { resolver } = configuration;
  return {
    gateway: gatewayArguments(configuration),
    resolver: resolver.enabled ? resolverArguments(configuration) : undefined,
    agent: agentArguments(configuration, upstreams),
    corefile: corefileOf(configuration, upstreams),
  };
}

function resolverArguments(configuration: UpConfiguration): string[] {
  const { corefile, control } = pathsOf(configuration);
  return ["-conf", corefile, "-control", control.resolver];
}

function gatewayArguments(configuration: UpConfiguration): string[] {
  const { gateway, files } = configuration;
  const unknown = tunnelVersion(configuration) === 4 ? "0.0.0.0" : "::";
  return [
    ...["-gateway-bind", gateway.bind],
    ...["-gateway-pub", gateway.public === "" ? unknown : gateway.public],
    ...["-gateway-port", String(gateway.port)],
    ...["-gateway-ref", gateway.reference],
    ...(gateway.lanes > 0 ? ["-lanes", String(gateway.lanes)] : []),
    ...["-coalesce-us", String(gateway["coalesce-us"])],
    ...["-offload", gateway.offload],
    ...["-kernel", gateway.kernel],
    ...["-encode-net", gateway["encode-net"]],
    ...["-hosts", gateway.hosts],
    ...["-data", files.data],
    ...["-mapper-socket", pathsOf(configuration).mapperSocket],
    ...["-control", pathsOf(configuration).control.gateway],
  ];
}

function agentArguments(configuration: UpConfiguration, upstreams: readonly string[]): string[] {
  const { gateway, publish, resolver } = configuration;
  const args = [
    ...["-m", `unix://${pathsOf(configuration).mapperSocket}`],
    ...["-control", pathsOf(configuration).control.agent],
    ...["-ea-ipver", String(localVersion(configuration))],
    ...["-gw-ipver", String(tunnelVersion(configuration))],
    ...["-encode-net", gateway["encode-net"]],
    ...["-t", String(publish.interval)],
    ...["-resolver", upstreams.join(",")],
  ];
  if (publish.domain === "") return args;
  if (resolver.enabled) args.push("-local-resolver", ownServer(configuration));
  if (gateway.public !== "") args.push("-gateway-pub", gateway.public);
  if (publish["tsig-key"] !== "") args.push("-tsig-key", publish["tsig-key"]);
  return [...args, sourceOf(configuration)];
}

/** The agent's source: the name servers, or what `ipref publish` wrote. */
function sourceOf(configuration: UpConfiguration): string {
  const { publish } = configuration;
  const origin =
    publish.servers.length > 0
      ? publish.servers.join(",")
      : `file://${pathsOf(configuration).publicZone}`;
  return `${publish.local}:${publish.domain}:${origin}`;
}

/** Address at which the machine itself reaches the DNS server. */
export function machineListenAddress({ resolver }: UpConfiguration): string {
  return resolver.listen[0] ?? "127.0.0.1";
}

/** Address and port at which the machine itself reaches the DNS server. */
export function ownServer(configuration: UpConfiguration): string {
  const host = machineListenAddress(configuration);
  const { resolver } = configuration;
  return host.includes(":") ? `[${host}]:${resolver.port}` : `${host}:${resolver.port}`;
}

function corefileOf(configuration: UpConfiguration, upstreams: readonly string[]): string {
  const { resolver, publish } = configuration;
  const bind = resolver.listen.length === 0 ? [] : [`bind ${resolver.listen.join(" ")}`];
  const local = [
    ...bind,
    `file ${quoted(pathsOf(configuration).localZone)} {`,
    `    reload ${RELOAD_SECONDS}s`,
    "}",
    ...COUNTED,
  ];
  const all = [
    ...bind,
    ...COUNTED,
    ...ownNames(configuration),
    ...iprefLines(configuration, upstreams),
    "cache",
    `forward . ${upstreams.join(" ")}`,
  ];
  const hasLocal = publish.domain !== "";
  const { port } = resolver;
  return [
    "# Written by ipref up at every start and reload.",
    ...(hasLocal ? block(`${publish.local}:${port}`, local) : []),
    ...block(`${PROBE_ZONE}:${port}`, [...bind, ...probeNames(configuration)]),
    ...block(`.:${port}`, all),
    "",
  ].join("\n");
}

/** Two names by which ipref doctor sees who asks this server, and who filters its answers. */
function probeNames({ gateway }: UpConfiguration): string[] {
  const own = ownAddressOf(parsePrefix(gateway["encode-net"])!);
  return [
    `hosts /dev/null ${PROBE_ZONE} {`,
    `    ${formatIp(own)} ${ENCODED_NAME}`,
    `    ${PLAIN_ADDRESS} ${PLAIN_NAME}`,
    "    ttl 1",
    "    no_reverse",
    "}",
  ];
}

/** Published names of the own network have their local addresses here. */
function ownNames(configuration: UpConfiguration): string[] {
  const { domain } = configuration.publish;
  if (domain === "") return [];
  return [
    `hosts ${quoted(pathsOf(configuration).ownNames)} ${domain} {`,
    `    ttl ${OWN_NAMES_TTL_SECONDS}`,
    `    reload ${RELOAD_SECONDS}s`,
    "    no_reverse",
    `    fallthrough ${domain}`,
    "}",
  ];
}

function iprefLines(configuration: UpConfiguration, upstreams: readonly string[]): string[] {
  const own = configuration.publish.gateway;
  const isName = own !== "" && parseIp(own) === undefined;
  return [
    "ipref {",
    ...(isName ? [`    except ${own}`] : []),
    `    upstream ${upstreams.join(" ")}`,
    `    ea-ipver ${localVersion(configuration)}`,
    `    gw-ipver ${tunnelVersion(configuration)}`,
    `    mapper ${quoted(pathsOf(configuration).mapperSocket)}`,
    `    encode-net ${configuration.gateway["encode-net"]}`,
    `    new-addresses ${configuration.resolver["new-addresses"]}`,
    "}",
  ];
}

function block(key: string, lines: readonly string[]): string[] {
  return [`${key} {`, ...lines.map((line) => `    ${line}`), "}"];
}

function quoted(path: string): string {
  return /[\s"{}#]/.test(path) ? `"${path.replaceAll('"', '\\"')}"` : path;
}
