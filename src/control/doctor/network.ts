/**
 * Judges of the kernel's network settings: forwarding, source validation, the TUN interface and
 * the routes around the encode net. Facts in, findings out. Pure.
 */

import {
  formatIp,
  formatPrefix,
  type IpAddress,
  type IpPrefix,
  type IpVersion,
  parseIp,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
  sameAddress,
} from "../../base/ip.js";
import { type Finding, type Fix, judgeOf, shellWord } from "./finding.js";

/** An interface with its addresses, of `ip -j -d address`. */
export interface Interface {
  readonly name: string;
  readonly isUp: boolean;
  /** Device type of the kernel, such as "tun", "bridge", "veth". */
  readonly kind: string;
  readonly mtuBytes: number;
  readonly addresses: readonly { readonly address: IpAddress; readonly bits: number }[];
}

/** A route of the tables main and default, of `ip -j route`. */
export interface Route {
  readonly prefix: IpPrefix;
  readonly device: string;
  readonly gateway: string | undefined;
  /** "kernel" for those of an interface's own addresses. */
  readonly protocol: string;
  readonly metric: number;
}

/** Forwarding of packets of one IP version. */
export interface ForwardingFacts {
  readonly version: IpVersion;
  /** Value of the machine-wide parameter; undefined when it cannot be read. */
  readonly value: string | undefined;
  /** Interfaces that carry local packets and have forwarding switched off by themselves. */
  readonly switchedOff: readonly string[];
  /** `ipref up` will switch it on. */
  readonly isSetAtStart: boolean;
}

/** Without forwarding only the gateway machine itself reaches remote networks. */
export function judgeForwarding(facts: ForwardingFacts): Finding {
  const { version, value, switchedOff, isSetAtStart } = facts;
  const name = version === 4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding";
  const judge = judgeOf("forwarding", name);
  if (value === undefined) return judge.skip(`cannot be read: mount /proc, or use IPv${version}`);
  if (value === "0") {
    if (isSetAtStart) return judge.pass("is 0 now; ipref up switches it on");
    return judge.fail("is 0: packets of other hosts are not passed on", `sysctl -w ${name}=1`);
  }
  if (switchedOff.length === 0) return judge.pass(`is ${value}`);
  const commands = switchedOff.map((device) => {
    return `sysctl -w ${shellWord(parameterName(version, device, "forwarding"))}=1`;
  });
  return judge.fail(`is on, but off for ${switchedOff.join(", ")}`, ...commands);
}

/** Name for sysctl(8); it takes `/` in place of dots in an interface's name. */
export function parameterName(version: IpVersion, device: string, key: string): string {
  return `net.ipv${version}.conf.${device.replaceAll(".", "/")}.${key}`;
}

/** Source validation on one interface (RFC 3704); IPv4 only. */
export interface ReversePathInterface {
  readonly name: string;
  /** The larger of the values for `all` and for the interface (ip-sysctl). */
  readonly effective: number;
  /** Addresses whose packets arrive here, and by which interface answers to them leave. */
  readonly sources: readonly { readonly address: string; readonly leavesBy: string | undefined }[];
}

const STRICT = 1;

/** Strict source validation where packets arrive by another way than answers leave. */
export function judgeReversePath(
  interfaces: readonly ReversePathInterface[],
  droppedCount: number | undefined,
): Finding {
  const judge = judgeOf("reverse-path", "rp_filter");
  const dropping = interfaces.flatMap(({ name, effective, sources }) => {
    const odd = sources.find(({ leavesBy }) => leavesBy !== name);
    return effective === STRICT && odd !== undefined ? [{ name, ...odd }] : [];
  });
  const loosen = (name: string) => `sysctl -w ${shellWord(parameterName(4, name, "rp_filter"))}=2`;
  if (dropping.length > 0) {
    const { name, address, leavesBy } = dropping[0]!;
    const way = leavesBy === undefined ? "there is no way back" : `answers leave by ${leavesBy}`;
    return judge.fail(
      `strict on ${name}: packets of ${address} that arrive there are dropped, since ${way}`,
      ...dropping.map((each) => loosen(each.name)),
    );
  }
  const strict = interfaces.filter(({ effective }) => effective === STRICT);
  if (strict.length === 0) return judge.pass("strict nowhere");
  const names = strict.map(({ name }) => name).join(", ");
  if ((droppedCount ?? 0) > 0) {
    return judge.warn(
      `strict on ${names}, and the kernel has dropped ${droppedCount} packets by it`,
      ...strict.map(({ name }) => loosen(name)),
    );
  }
  return judge.pass(`strict on ${names}, where packets come and go the same way`);
}

/** The interface of a running gateway. */
export interface TunFacts {
  readonly encodeNet: IpPrefix;
  readonly ownAddress: IpAddress;
  /** The interface that has the own address, when one has. */
  readonly device: Interface | undefined;
  /** The route to the encode net by that interface is there. */
  readonly hasRoute: boolean;
  readonly restart: string;
}

/** The TUN interface is up, has its address, and the encode net leads to it. */
export function judgeTunInterface(facts: TunFacts): Finding {
  const { encodeNet, ownAddress, device, hasRoute, restart } = facts;
  const net = formatPrefix(encodeNet);
  if (device === undefined) {
    return judgeOf("tun-interface", net).fail(
      `no interface has ${formatIp(ownAddress)} though the gateway runs`,
      restart,
    );
  }
  const judge = judgeOf("tun-interface", device.name);
  const name = shellWord(device.name);
  const family = encodeNet.address.version === 6 ? "-6 " : "";
  const addRoute = `ip ${family}route replace ${net} dev ${name}`;
  if (!device.isUp) return judge.fail("is down", `ip link set ${name} up && ${addRoute}`);
  if (!hasRoute) return judge.fail(`no route leads ${net} to it`, addRoute);
  return judge.pass(`is up, has ${formatIp(ownAddress)}, MTU ${device.mtuBytes}`);
}

/** Everything near the encode net. */
export interface OverlapFacts {
  readonly encodeNet: IpPrefix;
  /** The gateway's own interface; undefined while it does not run. */
  readonly tunName: string | undefined;
  readonly routes: readonly Route[];
  readonly interfaces: readonly Interface[];
  /** Sets an encode net that is free; undefined when none was found. */
  readonly otherNet: string | undefined;
}

/** Other routes inside or around the encode net. */
export function judgeOverlap(facts: OverlapFacts): Finding[] {
  const { encodeNet, tunName, routes } = facts;
  const findings = routes
    .filter(({ device, prefix }) => device !== tunName && prefix.bits > 0)
    .filter(({ prefix }) => prefixesOverlap(prefix, encodeNet))
    .map((route) => overlapFinding(route, facts));
  if (findings.length > 0) return findings;
  const judge = judgeOf("route-overlap", formatPrefix(encodeNet));
  return [judge.pass("no other route overlaps the encode net")];
}

function overlapFinding(route: Route, facts: OverlapFacts): Finding {
  const { prefix, device, protocol } = route;
  const { encodeNet, interfaces, tunName, otherNet } = facts;
  const net = formatPrefix(encodeNet);
  const judge = judgeOf("route-overlap", `route ${formatPrefix(prefix)} dev ${device}`);
  const isTun = interfaces.some(({ name, kind }) => name === device && kind === "tun");
  const whose = isTun ? " and belongs to another program's TUN device" : "";
  const other: Fix[] =
    otherNet === undefined
      ? []
      : [{ command: otherNet, note: "another encode net, from the next start on" }];
  const isConnected = protocol === "kernel";
  if (prefix.bits < encodeNet.bits) {
    if (!isConnected) return judge.pass(`is around the encode net ${net}, which goes first`);
    const evidence = `is around the encode net ${net}: hosts there take it for their own link`;
    return other.length > 0 ? judge.warn(evidence, ...other) : judge.skip(evidence);
  }
  const evidence = `lies in the encode net ${net}${whose}: packets to its addresses go there`;
  const remove: Fix = isConnected
    ? { command: removeAddress(interfaces, route), note: "takes the address away" }
    : { command: deleteCommand(route) };
  const isStarted = tunName !== undefined;
  return judge.fail(
    evidence,
    ...(isConnected && !isStarted ? [...other, remove] : [remove, ...other]),
  );
}

function removeAddress(interfaces: readonly Interface[], { prefix, device }: Route): string {
  const address = addressOn(interfaces, device, prefix) ?? formatPrefix(prefix);
  return `ip address del ${address} dev ${shellWord(device)}`;
}

function deleteCommand({ prefix, device, gateway, metric }: Route): string {
  const family = prefix.address.version === 6 ? "-6 " : "";
  const via = gateway === undefined ? "" : ` via ${gateway}`;
  const weight = metric === 0 ? "" : ` metric ${metric}`;
  return `ip ${family}route del ${formatPrefix(prefix)}${via} dev ${shellWord(device)}${weight}`;
}

/** The address that makes a connected route, with its length. */
function addressOn(
  interfaces: readonly Interface[],
  device: string,
  prefix: IpPrefix,
): string | undefined {
  const found = interfaces
    .find(({ name }) => name === device)
    ?.addresses.find(
      ({ address, bits }) => bits === prefix.bits && prefixContains(prefix, address),
    );
  return found && `${formatIp(found.address)}/${found.bits}`;
}

/** The gateway's own address within the encode net: the last octet is 1 (spec/tunnel.md 5). */
export function ownAddressOf({ address }: IpPrefix): IpAddress {
  const bytes = Uint8Array.from(address.bytes);
  bytes[bytes.length - 1] = 1;
  return { version: address.version, bytes };
}

/** Interfaces in the output of `ip -j -d address`; what is not understood is left out. */
export function interfacesOf(json: unknown): Interface[] {
  return itemsOf(json).flatMap((item) => {
    const { ifname, flags, linkinfo, mtu, addr_info: list } = item;
    if (typeof ifname !== "string") return [];
    const kind = (linkinfo as { info_kind?: unknown } | undefined)?.info_kind;
    const addresses = itemsOf(list).flatMap(({ local, prefixlen }) => {
      const address = typeof local === "string" ? parseIp(local) : undefined;
      return address && typeof prefixlen === "number" ? [{ address, bits: prefixlen }] : [];
    });
    return [
      {
        name: ifname,
        isUp: Array.isArray(flags) && flags.includes("UP"),
        kind: typeof kind === "string" ? kind : "",
        mtuBytes: typeof mtu === "number" ? mtu : 0,
        addresses,
      },
    ];
  });
}

/** Routes in the output of `ip -j route`. */
export function routesOf(json: unknown, version: IpVersion): Route[] {
  return itemsOf(json).flatMap((item) => {
    const { dst, dev, gateway, protocol, metric, type } = item;
    if (typeof dst !== "string" || typeof dev !== "string") return [];
    if (type !== undefined && type !== "unicast") return [];
    const all = version === 4 ? "0.0.0.0/0" : "::/0";
    const bits = version === 4 ? 32 : 128;
    const text = dst === "default" ? all : dst.includes("/") ? dst : `${dst}/${bits}`;
    const prefix = parsePrefix(text);
    if (prefix === undefined) return [];
    return [
      {
        prefix,
        device: dev,
        gateway: typeof gateway === "string" ? gateway : undefined,
        protocol: typeof protocol === "string" ? protocol : "",
        metric: typeof metric === "number" ? metric : 0,
      },
    ];
  });
}

function itemsOf(json: unknown): Record<string, unknown>[] {
  return Array.isArray(json) ? json.filter((item) => typeof item === "object" && item) : [];
}

/** The interface that has an address. */
export function interfaceWith(
  interfaces: readonly Interface[],
  address: IpAddress,
): Interface | undefined {
  return interfaces.find(({ addresses }) =>
    addresses.some((each) => sameAddress(each.address, address)),
  );
}
