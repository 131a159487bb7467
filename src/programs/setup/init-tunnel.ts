/** What `ipref init` chooses for the tunnel: version, way out, addresses and port. Pure. */

import { formatIp, type IpAddress, type IpVersion, parseIp } from "../../base/ip.js";
import { DEFAULT_PORT } from "../../control/gateway-flags.js";
import { addressKind } from "./address-kind.js";
import { CannotChoose, type Choice, type Uplink, type Wishes } from "./init-types.js";
import type { MachineFacts } from "./machine-facts.js";
import type { Route } from "./machine-texts.js";
import { addressOn, realAddresses, uplinksOf } from "./machine-view.js";

/** Ports to try when that of the tunnel is taken. */
const PORTS_TRIED = 100;

/** IP version of the tunnel with its reason. */
export interface TunnelVersion {
  readonly version: IpVersion;
  readonly reason: string;
}

/** Chooses the version; throws CannotChoose when wishes contradict each other. */
export function tunnelVersionOf(facts: MachineFacts, wishes: Wishes): TunnelVersion {
  const wished = ["bind", "public"]
    .map((flag) => parseIp(wishes.settings.get(flag) ?? ""))
    .find((address) => address !== undefined);
  const { tunnel } = wishes;
  if (tunnel !== undefined && wished !== undefined && wished.version !== tunnel) {
    const address = formatIp(wished);
    throw new CannotChoose(
      `Found --tunnel ${tunnel} and the address ${address}, expected one version`,
      true,
    );
  }
  if (tunnel !== undefined) return { version: tunnel, reason: "as asked for with --tunnel" };
  if (wished !== undefined) {
    return { version: wished.version, reason: `that of the address ${formatIp(wished)}` };
  }
  if (uplinksOf(facts, 4).length > 0) {
    return { version: 4, reason: "there is an IPv4 default route, and most networks use IPv4" };
  }
  if (uplinksOf(facts, 6).length > 0) {
    return { version: 6, reason: "the only default route is one of IPv6" };
  }
  const hasIpv4 = realAddresses(facts).some(({ address }) => address.version === 4);
  return { version: hasIpv4 ? 4 : 6, reason: "there is no default route to go by" };
}

/** The way out: the best default route, or the wished one; throws CannotChoose. */
export function chooseUplink(
  facts: MachineFacts,
  version: IpVersion,
  { uplink }: Wishes,
): Uplink | undefined {
  const routes = uplinksOf(facts, version);
  const route =
    uplink === undefined ? routes[0] : routes.find((each) => each.interfaceName === uplink);
  if (route === undefined) {
    if (uplink === undefined) return undefined;
    const names = routes.map(({ interfaceName }) => interfaceName).join(", ") || "there is none";
    throw new CannotChoose(
      `Found --uplink ${uplink}, expected an interface with an IPv${version} default route: ${names}`,
      true,
    );
  }
  const address = addressOn(facts, route);
  return { route, address, kind: address && addressKind(address) };
}

/** `gateway.bind`. */
export function chooseBind(
  facts: MachineFacts,
  { version, reason }: TunnelVersion,
  uplink: Uplink | undefined,
  { settings }: Wishes,
): Choice {
  const name = "gateway.bind";
  const wished = settings.get("bind");
  if (wished !== undefined) return { name, value: wished, reasons: ["As asked for with --bind."] };
  const versionText = `IPv${version} in the tunnel: ${reason}.`;
  const others = otherNames(uplinksOf(facts, version), uplink);
  if (others !== "" && uplink?.address !== undefined) {
    const why =
      `The address of ${uplink.route.interfaceName}, because there are other ways out ` +
      `(${others}) and other gateways know this one by the address that it sends from.`;
    return { name, value: formatIp(uplink.address), reasons: [versionText, why] };
  }
  const why = "Any address, so that a change of the machine's address does no harm.";
  return { name, value: version === 4 ? "0.0.0.0" : "::", reasons: [versionText, why] };
}

function otherNames(routes: readonly Route[], uplink: Uplink | undefined): string {
  return routes
    .map(({ interfaceName }) => interfaceName)
    .filter((name) => name !== uplink?.route.interfaceName)
    .join(", ");
}

/** `gateway.public`. */
export function choosePublic(
  facts: MachineFacts,
  uplink: Uplink | undefined,
  { settings }: Wishes,
  notes: string[],
): Choice {
  const name = "gateway.public";
  const own = uplink?.address;
  const wished = settings.get("public");
  if (wished !== undefined) {
    const isHere = facts.addresses.some(({ address }) => formatIp(address) === wished);
    if (!isHere && own !== undefined) {
      notes.push(
        `${wished} is no address of this machine: its router has to forward UDP port ` +
          `${DEFAULT_PORT} to ${formatIp(own)}.`,
      );
    }
    return { name, value: wished, reasons: ["As asked for with --public."] };
  }
  if (uplink === undefined || own === undefined) {
    const why = "Unknown, which is client mode: there is no default route to tell it by.";
    return { name, value: undefined, reasons: [why] };
  }
  const { interfaceName } = uplink.route;
  if (uplink.kind === "public") {
    const why = `The address of ${interfaceName}, where the default route leads; it is public.`;
    return { name, value: formatIp(own), reasons: [why] };
  }
  noteIpv6(facts, own, notes);
  return {
    name,
    value: undefined,
    reasons: [
      "Unknown, which is client mode: this network reaches others.",
      behindNat(uplink, own),
    ],
  };
}

function behindNat({ kind, route }: Uplink, own: IpAddress): string {
  const { interfaceName } = route;
  if (kind === "shared") {
    return (
      `${interfaceName} has the address ${formatIp(own)} behind a provider's NAT (RFC 6598), ` +
      "which forwards no port: others cannot reach this network first."
    );
  }
  return (
    `${interfaceName} has the private address ${formatIp(own)}, so there is a NAT on the way. To ` +
    `be reached first, forward UDP port ${DEFAULT_PORT} of the router to ${formatIp(own)} and set ` +
    "its public address here."
  );
}

/** A machine behind an IPv4 NAT may be reached over IPv6. */
function noteIpv6(facts: MachineFacts, own: IpAddress, notes: string[]): void {
  const [route] = uplinksOf(facts, 6);
  const address = route && addressOn(facts, route);
  if (own.version === 6 || address === undefined || addressKind(address) !== "public") return;
  notes.push(
    `${formatIp(address)} is a public IPv6 address of this machine. With --tunnel 6 networks whose ` +
      "tunnel uses IPv6 as well reach it without a forwarded port.",
  );
}

/** `gateway.port`. */
export function choosePort(facts: MachineFacts, notes: string[]): Choice {
  const name = "gateway.port";
  const isTaken = (port: number): boolean =>
    !facts.isRunning && facts.udpSockets.some((socket) => socket.port === port);
  if (!isTaken(DEFAULT_PORT)) return { name, value: undefined, reasons: [] };
  let port = DEFAULT_PORT + 1;
  while (isTaken(port) && port < DEFAULT_PORT + PORTS_TRIED) port++;
  notes.push(
    `UDP port ${DEFAULT_PORT} is taken by another program, and others look for a gateway at this ` +
      `port: end that program, or let the router forward ${DEFAULT_PORT} to ${port}.`,
  );
  return { name, value: port, reasons: [`UDP port ${DEFAULT_PORT} is taken by another program.`] };
}
