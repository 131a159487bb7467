/** What `ipref init` learns of the machine. It only looks: nothing is changed and nothing sent. */

import { closeSync, openSync, readFileSync } from "node:fs";
import { type IpAddress, type IpPrefix, type IpVersion, parseIp, prefixOf } from "../../base/ip.js";
import { type InterfaceAddress, listAddresses } from "../../platform/network-interfaces.js";
import { sourceAddress } from "../../platform/source-address.js";
import { isRunning, machineResolvers, readState } from "../up-machine.js";
import {
  type ListeningSocket,
  parseFibTrie,
  parseIpv4Routes,
  parseIpv6Routes,
  parsePassingIpv6,
  parseSockets,
  type Route,
} from "./machine-texts.js";

/** Anycast addresses of the public Internet that belong to nobody in particular, RFC 7535. */
const INTERNET: Readonly<Record<IpVersion, string>> = { 4: "192.31.196.1", 6: "2001:4:112::1" };
const TUN_DEVICE = "/dev/net/tun";
/** Systemd-resolved's stub, systemd-resolved.service(8). */
const RESOLVED_STUB = /^\s*nameserver\s+127\.0\.0\.53\s*$/m;

/** The machine as it is now. */
export interface MachineFacts {
  readonly addresses: readonly InterfaceAddress[];
  /** Main table of IPv4, all tables of IPv6. */
  readonly routes: readonly Route[];
  /** Every network that some routing table knows. */
  readonly networks: readonly IpPrefix[];
  /** Temporary and deprecated addresses. */
  readonly passing: readonly IpAddress[];
  /** Source address towards the Internet. */
  readonly sources: Readonly<Record<IpVersion, IpAddress | undefined>>;
  /** DNS servers in use, outside of this machine. */
  readonly resolvers: readonly string[];
  readonly usesSystemdResolved: boolean;
  readonly udpSockets: readonly ListeningSocket[];
  readonly tcpSockets: readonly ListeningSocket[];
  /** Error of opening /dev/net/tun; undefined when nothing is known against it. */
  readonly tunTrouble: string | undefined;
  /** `ipref up` runs, and what it uses is free for its next start. */
  readonly isRunning: boolean;
}

/** Looks at the machine; `runState` is the state file of a running `ipref up`. */
export async function machineFacts(runState: string): Promise<MachineFacts> {
  const ipv4 = parseIpv4Routes(textOf("/proc/net/route"));
  const ipv6 = parseIpv6Routes(textOf("/proc/net/ipv6_route"));
  const addresses = listAddresses();
  const state = readState(runState);
  return {
    addresses,
    routes: [...ipv4, ...ipv6],
    networks: [
      ...parseFibTrie(textOf("/proc/net/fib_trie")),
      ...[...ipv4, ...ipv6].map(({ prefix }) => prefix),
      ...addresses.map(({ address, prefixBits }) => prefixOf(address, prefixBits)),
    ],
    passing: parsePassingIpv6(textOf("/proc/net/if_inet6")),
    sources: {
      4: await sourceAddress(parseIp(INTERNET[4])!),
      6: await sourceAddress(parseIp(INTERNET[6])!),
    },
    resolvers: machineResolvers(),
    usesSystemdResolved: RESOLVED_STUB.test(textOf("/etc/resolv.conf")),
    udpSockets: ["udp", "udp6"].flatMap((name) => parseSockets(textOf(`/proc/net/${name}`), "udp")),
    tcpSockets: ["tcp", "tcp6"].flatMap((name) => parseSockets(textOf(`/proc/net/${name}`), "tcp")),
    tunTrouble: tunTrouble(),
    isRunning: state !== undefined && isRunning(state.supervisor),
  };
}

function tunTrouble(): string | undefined {
  try {
    closeSync(openSync(TUN_DEVICE, "r+"));
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // An ordinary user cannot tell; ipref up has the right to open it.
    const isOrdinary = code === "EACCES" && process.geteuid?.() !== 0;
    return isOrdinary ? undefined : (code ?? "unknown");
  }
}

/** A file's text; empty when it cannot be read. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
