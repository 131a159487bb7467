/** What `ipref init` chooses for the DNS server: addresses, port and upstreams. Pure. */

import { formatIp, type IpAddress, isLoopback, isUnspecified, sameAddress } from "../../base/ip.js";
import { addressKind } from "./address-kind.js";
import type { Choice, Uplink, Wishes } from "./init-types.js";
import type { MachineFacts } from "./machine-facts.js";
import { realAddresses, uplinksOf } from "./machine-view.js";

const DNS_PORT = 53;
/** Where to go when port 53 is taken everywhere; 5353 is that of multicast DNS. */
const OTHER_DNS_PORT = 1053;
const PORTS_TRIED = 100;
/** A public server, for a machine that knows none and has no router to ask. */
const PUBLIC_SERVER = "9.9.9.9";

/** `resolver.listen` and `resolver.port`. */
export function chooseListening(
  facts: MachineFacts,
  uplink: Uplink | undefined,
  { settings }: Wishes,
  notes: string[],
): readonly Choice[] {
  const inside = uplink?.kind === "public" ? insideAddresses(facts) : undefined;
  const wanted = inside ?? facts.addresses.map(({ address }) => address).filter(isUsable);
  const free = wanted.filter((address) => !isTaken(facts, address, DNS_PORT));
  const port = free.length > 0 || wanted.length === 0 ? DNS_PORT : otherPort(facts, wanted);
  const listen = port === DNS_PORT ? free : wanted;
  const choices: Choice[] = [];
  if (!settings.has("listen")) {
    const value = inside === undefined ? undefined : listen.map(formatIp);
    choices.push({ name: "resolver.listen", value, reasons: listenReasons(facts, inside, wanted) });
  }
  if (!settings.has("dns-port") && port !== DNS_PORT) {
    const reason = `Port ${DNS_PORT} is taken by another DNS server.`;
    choices.push({ name: "resolver.port", value: port, reasons: [reason] });
    notes.push(
      `Port ${DNS_PORT} is taken by another DNS server, so this one answers at ${port}. The other ` +
        `one can forward to it; dnsmasq does so with server=127.0.0.1#${port}.`,
    );
  }
  return choices;
}

/** Addresses that are not in the Internet. */
function insideAddresses(facts: MachineFacts): readonly IpAddress[] {
  const addresses = facts.addresses.map(({ address }) => address);
  const local = realAddresses(facts)
    .map(({ address }) => address)
    .filter((address) => addressKind(address) !== "public");
  return [...local, ...addresses.filter(isLoopback)];
}

function isUsable(address: IpAddress): boolean {
  return addressKind(address) !== "link-local";
}

function listenReasons(
  facts: MachineFacts,
  inside: readonly IpAddress[] | undefined,
  wanted: readonly IpAddress[],
): readonly string[] {
  const taken = wanted.filter((address) => isTaken(facts, address, DNS_PORT));
  const left = taken.length === 0 || taken.length === wanted.length ? [] : taken;
  return [
    inside === undefined
      ? "All addresses of the machine; only directly connected networks are answered."
      : "Not at the public address: the DNS server is for the local network.",
    ...(left.length === 0
      ? []
      : [
          `Port ${DNS_PORT} of ${left.map(formatIp).join(", ")} is another program's and left out.`,
        ]),
  ];
}

/** True when another program has the port, over UDP or TCP; `::` takes IPv4 as well, ipv6(7). */
function isTaken(facts: MachineFacts, address: IpAddress, port: number): boolean {
  if (facts.isRunning) return false;
  return [...facts.udpSockets, ...facts.tcpSockets].some((socket) => {
    if (socket.port !== port) return false;
    const isAny = isUnspecified(socket.address) && socket.address.version >= address.version;
    return isAny || sameAddress(socket.address, address);
  });
}

function otherPort(facts: MachineFacts, wanted: readonly IpAddress[]): number {
  const isFree = (port: number) => wanted.every((address) => !isTaken(facts, address, port));
  let port = OTHER_DNS_PORT;
  while (!isFree(port) && port < OTHER_DNS_PORT + PORTS_TRIED) port++;
  return port;
}

/** `resolver.upstream`. */
export function chooseUpstream(
  facts: MachineFacts,
  { settings }: Wishes,
  notes: string[],
): Choice | undefined {
  const name = "resolver.upstream";
  if (settings.has("upstream")) return undefined;
  if (facts.resolvers.length > 0) {
    const from = facts.usesSystemdResolved ? "systemd-resolved" : "/etc/resolv.conf";
    const reason =
      `Left to the machine: ${facts.resolvers.join(", ")} now (${from}). A change there is ` +
      "followed at the next start.";
    return { name, value: undefined, reasons: [reason] };
  }
  const router = [...uplinksOf(facts, 4), ...uplinksOf(facts, 6)]
    .map(({ gateway }) => gateway)
    .find((gateway) => gateway !== undefined && addressKind(gateway) !== "link-local");
  const value = router === undefined ? PUBLIC_SERVER : formatIp(router);
  const what = router === undefined ? "a public one" : "the router, which often is one";
  notes.push(
    `The machine names no DNS server. The configuration has ${value}, ${what}; correct ` +
      "resolver.upstream when it does not answer.",
  );
  return { name, value: [value], reasons: [`The machine names no DNS server; this is ${what}.`] };
}
