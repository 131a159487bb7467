/**
 * Addresses to listen on and networks that count as ours (spec/resolver.md 2.5, 5.1):
 * os.networkInterfaces() and the routing tables of proc(5). Main thread.
 */

import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { type IpAddress, type IpPrefix, parseIp, prefixOf } from "../base/ip.js";

/** One address of one interface. */
export interface LocalAddress {
  readonly interfaceName: string;
  readonly address: IpAddress;
  readonly prefixBits: number;
  /** Interface number of a link-local IPv6 address, else 0. */
  readonly scope: number;
}

/** All addresses of interfaces that are up. */
export function localAddresses(): LocalAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([interfaceName, entries]) =>
    (entries ?? []).flatMap((entry) => {
      const address = parseIp(entry.address);
      if (address === undefined) return [];
      const prefixBits = Number(entry.cidr?.split("/")[1] ?? 8 * address.bytes.length);
      const scope = entry.family === "IPv6" ? (entry.scopeid ?? 0) : 0;
      return [{ interfaceName, address, prefixBits, scope }];
    }),
  );
}

/** Prefixes of interfaces that carry no default route (spec/resolver.md 5.1). */
export function onLinkPrefixes(addresses: readonly LocalAddress[]): IpPrefix[] {
  const outward = new Set([...defaultRoutes4(), ...defaultRoutes6()]);
  return addresses
    .filter(({ interfaceName }) => !outward.has(interfaceName))
    .map(({ address, prefixBits }) => prefixOf(address, prefixBits));
}

/** /proc/net/route: interface, destination, gateway, flags, ..., mask as eighth field. */
function defaultRoutes4(): string[] {
  const rows = tableRows("/proc/net/route").slice(1);
  return rows.filter((row) => row[1] === "00000000" && row[7] === "00000000").map((row) => row[0]!);
}

/** /proc/net/ipv6_route: destination, prefix length in hexadecimal, ..., interface last. */
function defaultRoutes6(): string[] {
  const rows = tableRows("/proc/net/ipv6_route");
  // The kernel keeps an unreachable default route on `lo`.
  return rows
    .filter((row) => /^0{32}$/.test(row[0] ?? "") && row[1] === "00" && row.at(-1) !== "lo")
    .map((row) => row.at(-1)!);
}

function tableRows(path: string): string[][] {
  try {
    const lines = readFileSync(path, "utf8").split("\n");
    return lines.filter((line) => line !== "").map((line) => line.trim().split(/\s+/));
  } catch {
    return [];
  }
}
