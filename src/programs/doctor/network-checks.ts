/** Checks of the kernel's network: forwarding, source validation, routes, ports, firewall. */

import {
  formatIp,
  formatPrefix,
  type IpAddress,
  type IpVersion,
  isGlobalUnicast,
  isLoopback,
  isUnspecified,
  parseIp,
  zeroAddress,
} from "../../base/ip.js";
import { setSetting } from "../../control/doctor/configuration-fix.js";
import { type Finding, judgeOf } from "../../control/doctor/finding.js";
import { judgeFirewall } from "../../control/doctor/firewall.js";
import {
  judgeForwarding,
  judgeOverlap,
  judgeReversePath,
  judgeTunInterface,
  ownAddressOf,
  type ReversePathInterface,
  type Route,
} from "../../control/doctor/network.js";
import { readRuleset } from "../../control/doctor/nft-rules.js";
import {
  type BoundSocket,
  boundSockets,
  isInTheWay,
  judgePort,
  type PortFacts,
} from "../../control/doctor/sockets-table.js";
import { freeNetwork } from "../setup/free-network.js";
import type { Check } from "./check.js";
import type { DoctorContext } from "./context.js";
import {
  hasProgram,
  processName,
  processService,
  readText,
  runProgram,
  socketHolders,
} from "./tools.js";

const TIMEOUT_MS = 4000;
const CONFIGURATION = "/proc/sys/net";
/** An address outside of this network, of TEST-NET-1 and the documentation prefix. */
const FAR_ADDRESS = { 4: "192.0.2.1", 6: "2001:db8::1" } as const;

function check(
  id: string,
  looksAt: string,
  isQuick: boolean,
  examine: (context: DoctorContext) => Promise<readonly Finding[]>,
): Check {
  return { id, looksAt, isQuick, timeoutMs: TIMEOUT_MS, examine };
}

/** A check that cannot do without ip(8). */
function withRoutes(
  id: string,
  looksAt: string,
  examine: (context: DoctorContext) => Promise<readonly Finding[]>,
): Check {
  return check(id, looksAt, true, async (context) => {
    if (hasProgram("ip")) return examine(context);
    return [judgeOf(id, looksAt).skip("ip is not installed: apt-get install iproute2")];
  });
}

export const NETWORK_CHECKS: readonly Check[] = [
  check("forwarding", "forwarding of the local IP version", true, forwarding),
  withRoutes("reverse-path", "source validation, rp_filter", reversePath),
  withRoutes("tun-interface", "the gateway's interface and its route", tunInterface),
  withRoutes("route-overlap", "routes inside and around the encode net", routeOverlap),
  check("tunnel-port", "the UDP port of the tunnel", true, tunnelPort),
  check("dns-port", "the port of the DNS server", false, dnsPort),
  check("firewall", "nftables rules", true, firewall),
];

function parameter(version: IpVersion, device: string, key: string): string | undefined {
  return readText(`${CONFIGURATION}/ipv${version}/conf/${device}/${key}`)?.trim();
}

async function forwarding(context: DoctorContext): Promise<Finding[]> {
  const { gateway, configuration, gatewayProcess } = context;
  const version = gateway.localVersion;
  const path = version === 4 ? "ipv4/ip_forward" : "ipv6/conf/all/forwarding";
  const tun = (await context.tun())?.name;
  const devices = [...(await context.localDevices()), ...(tun === undefined ? [] : [tun])];
  return [
    judgeForwarding({
      version,
      value: readText(`${CONFIGURATION}/${path}`)?.trim(),
      switchedOff: devices.filter((device) => parameter(version, device, "forwarding") === "0"),
      isSetAtStart: gatewayProcess === undefined && configuration.gateway.forwarding,
    }),
  ];
}

async function reversePath(context: DoctorContext): Promise<Finding[]> {
  const all = Number(parameter(4, "all", "rp_filter") ?? 0);
  const interfaces = (await context.interfaces()).filter(({ name, isUp }) => isUp && name !== "lo");
  const watched = await Promise.all(
    interfaces.map(async ({ name }): Promise<ReversePathInterface> => {
      const effective = Math.max(all, Number(parameter(4, name, "rp_filter") ?? 0));
      const sources = effective === 1 ? await sourcesAt(context, name) : [];
      return { name, effective, sources };
    }),
  );
  return [judgeReversePath(watched, droppedByReversePath())];
}

/** Addresses whose packets are known to arrive at an interface, with the way back. */
async function sourcesAt(
  context: DoctorContext,
  device: string,
): Promise<ReversePathInterface["sources"]> {
  const { gateway } = context;
  const addresses: { address: string; from: string | undefined }[] = [];
  if (gateway.tunnelVersion === 4 && device === (await context.publicDevice())) {
    const from = isUnspecified(gateway.bind) ? undefined : formatIp(gateway.bind);
    const peers = (await context.peers()).slice(0, 4).map(({ address }) => address);
    const asked = peers.length > 0 ? peers : [FAR_ADDRESS[4]];
    addresses.push(...asked.map((address) => ({ address, from })));
  }
  if (gateway.localVersion === 4 && device === (await context.tun())?.name) {
    const { bytes } = gateway.encodeNet.address;
    const encoded = Uint8Array.from(bytes, (byte, index) => (index === 3 ? 2 : byte));
    addresses.push({ address: formatIp({ version: 4, bytes: encoded }), from: undefined });
  }
  return Promise.all(
    addresses.map(async ({ address, from }) => ({
      address,
      leavesBy: await routeDevice(address, from),
    })),
  );
}

/** The interface by which packets to an address leave. */
async function routeDevice(address: string, from: string | undefined): Promise<string | undefined> {
  return (await routeTo(address, from)).dev;
}

/** The address that packets to an address come from. */
export async function routeSource(address: string): Promise<string | undefined> {
  return (await routeTo(address, undefined)).prefsrc;
}

async function routeTo(
  address: string,
  from: string | undefined,
): Promise<{ readonly dev?: string; readonly prefsrc?: string }> {
  const source = from === undefined ? [] : ["from", from];
  const { stdout } = await runProgram("ip", ["-j", "route", "get", address, ...source]);
  try {
    return (JSON.parse(stdout) as { dev?: string; prefsrc?: string }[])[0] ?? {};
  } catch {
    return {};
  }
}

/** TcpExt IPReversePathFilter of /proc/net/netstat. */
function droppedByReversePath(): number | undefined {
  const lines = (readText("/proc/net/netstat") ?? "").split("\n");
  const [names, values] = lines
    .filter((line) => line.startsWith("TcpExt:"))
    .map((line) => line.split(" "));
  const at = names?.indexOf("IPReversePathFilter") ?? -1;
  return at < 0 ? undefined : Number(values?.[at]);
}

async function tunInterface(context: DoctorContext): Promise<Finding[]> {
  const { gateway, gatewayProcess, restart } = context;
  if (gatewayProcess === undefined) return [];
  const { encodeNet } = gateway;
  const device = await context.tun();
  const routes = await context.routes(encodeNet.address.version);
  const hasRoute = routes.some(
    ({ prefix, device: leaves }) =>
      leaves === device?.name &&
      prefix.bits === encodeNet.bits &&
      formatIp(prefix.address) === formatIp(encodeNet.address),
  );
  const ownAddress = ownAddressOf(encodeNet);
  return [judgeTunInterface({ encodeNet, ownAddress, device, hasRoute, restart })];
}

async function routeOverlap(context: DoctorContext): Promise<Finding[]> {
  const { gateway, gatewayProcess } = context;
  const { encodeNet } = gateway;
  const routes = await context.routes(encodeNet.address.version);
  const tun = gatewayProcess === undefined ? undefined : await context.tun();
  return judgeOverlap({
    encodeNet,
    tunName: tun?.name,
    routes,
    interfaces: await context.interfaces(),
    otherNet: otherNetCommand(context, routes),
  });
}

/** The command that sets an encode net which no route meets; undefined when all are taken. */
function otherNetCommand(
  { gateway, request }: DoctorContext,
  routes: readonly Route[],
): string | undefined {
  const used = routes.map(({ prefix }) => prefix);
  const free = freeNetwork(gateway.localVersion, used);
  if (free === undefined) return undefined;
  const { file: path } = request;
  const value = `"${formatPrefix(free)}"`;
  return setSetting({ path, text: readText(path) }, "gateway", "encode-net", value);
}

async function tunnelPort(context: DoctorContext): Promise<Finding[]> {
  const { gateway, gatewayProcess } = context;
  const owners = gatewayProcess === undefined ? [] : [gatewayProcess.pid];
  const { bind, port } = gateway;
  return [portFinding(context, "tunnel-port", "udp", [bind], port, owners)];
}

async function dnsPort(context: DoctorContext): Promise<Finding[]> {
  const { resolver } = context.configuration;
  if (!resolver.enabled) return [];
  const chosen = resolver.listen.flatMap((text) => parseIp(text) ?? []);
  const addresses = chosen.length > 0 ? chosen : [zeroAddress(4), zeroAddress(6)];
  const owners = context.resolverProcess === undefined ? [] : [context.resolverProcess.pid];
  const avoid = chosen.length > 0 ? undefined : await listenInside(context);
  return (["udp", "tcp"] as const).map((protocol) =>
    portFinding(context, "dns-port", protocol, addresses, resolver.port, owners, avoid),
  );
}

/** Makes the DNS server answer at the addresses of the local network only. */
async function listenInside(context: DoctorContext): Promise<string | undefined> {
  const devices = await context.localDevices();
  const addresses = (await context.interfaces())
    .filter(({ name }) => devices.includes(name))
    .flatMap(({ addresses: list }) => list.map(({ address }) => address))
    .filter(isGlobalUnicast);
  if (addresses.length === 0) return undefined;
  const value = `[${addresses.map((address) => `"${formatIp(address)}"`).join(", ")}]`;
  const { file: path } = context.request;
  return setSetting({ path, text: readText(path) }, "resolver", "listen", value);
}

function portFinding(
  { restart }: DoctorContext,
  id: PortFacts["check"],
  protocol: "udp" | "tcp",
  addresses: readonly IpAddress[],
  port: number,
  owners: readonly number[],
  avoid?: string,
): Finding {
  const tables = [`/proc/net/${protocol}`, `/proc/net/${protocol}6`];
  const sockets = tables.flatMap((path) => boundSockets(readText(path) ?? "", protocol));
  const taken = sockets.filter(
    (socket) => socket.port === port && addresses.some((address) => isInTheWay(socket, address)),
  );
  const pid = holderOf(taken, owners);
  const holder =
    pid === undefined ? undefined : { pid, name: processName(pid), unit: processService(pid) };
  return judgePort({
    check: id,
    what: `${protocol.toUpperCase()} ${port}`,
    isBound: taken.length > 0,
    holder,
    owners,
    isPartRunning: owners.length > 0,
    avoid: taken.every(({ address }) => isLoopback(address)) ? avoid : undefined,
    restart,
  });
}

/** A stranger goes before ourselves: both can hold the port at different addresses. */
function holderOf(sockets: readonly BoundSocket[], owners: readonly number[]): number | undefined {
  const holders = [...socketHolders(new Set(sockets.map(({ inode }) => inode))).values()];
  return holders.find((pid) => !owners.includes(pid)) ?? holders[0];
}

async function firewall(context: DoctorContext): Promise<Finding[]> {
  const { gateway, configuration } = context;
  const isForRoot = process.geteuid?.() !== 0;
  const { status, stdout, stderr } = await runProgram("nft", ["-j", "list", "ruleset"]);
  const chains = status === 0 ? readRuleset(stdout === "" ? '{"nftables":[]}' : stdout) : undefined;
  const reason = !hasProgram("nft")
    ? "nft is not installed, so its rules cannot be read: apt-get install nftables"
    : isForRoot
      ? "only root may read the rules: run the doctor as root"
      : `nft list ruleset fails: ${stderr.split("\n")[0]}`;
  const { resolver } = configuration;
  const legacy = ["ip_tables_names", "ip6_tables_names"].map((name) =>
    readText(`/proc/net/${name}`),
  );
  return judgeFirewall({
    chains,
    reason,
    hasLegacyRules: legacy.some((text) => (text ?? "").trim() !== ""),
    tunnelVersion: gateway.tunnelVersion,
    localVersion: gateway.localVersion,
    tunnelPort: gateway.port,
    publicDevice: await context.publicDevice(),
    localDevices: await context.localDevices(),
    tunName: await context.tunName(),
    isPublic: !isUnspecified(gateway.publicAddress),
    dnsPort: resolver.enabled && context.resolverProcess !== undefined ? resolver.port : undefined,
  });
}
