/**
 * What this machine's interfaces are called, which addresses they have and how large their
 * packets may be: os.networkInterfaces() and netdevice(7). Main thread, at start. The MTU comes
 * from an ioctl because /sys/class/net shows the network namespace that mounted it.
 */

import { networkInterfaces } from "node:os";
import { type IpAddress, parseIp, prefixContains, prefixOf, sameAddress } from "../base/ip.js";
import * as libc from "./libc.js";
import { allocateMemory, cStringInto } from "./memory.js";

const SIOCGIFMTU = 0x8921; // linux/sockios.h
const IFREQ_UNION = 16; // netdevice(7): after the name
const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 0o2000002;

/** One address of one interface. */
export interface InterfaceAddress {
  readonly interfaceName: string;
  readonly address: IpAddress;
  readonly prefixBits: number;
}

/** Addresses of all interfaces that are up, loopback included. */
export function listAddresses(): InterfaceAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([interfaceName, entries]) =>
    (entries ?? []).flatMap((entry) => {
      const address = parseIp(entry.address);
      const bits = entry.cidr?.split("/")[1];
      if (address === undefined || bits === undefined) return [];
      return [{ interfaceName, address, prefixBits: Number(bits) }];
    }),
  );
}

/** True when an interface of this machine has the address. */
export function isOwnAddress(address: IpAddress): boolean {
  return listAddresses().some((entry) => sameAddress(entry.address, address));
}

/**
 * MTU of the first interface with a prefix that contains the address (spec/mapper.md 7.1,
 * -gateway-ifc-mtu); an interface that has the very address goes first.
 */
export function interfaceMtu(address: IpAddress): number | undefined {
  const entries = listAddresses();
  const own = entries.find((entry) => sameAddress(entry.address, address));
  const near = entries.find((entry) =>
    prefixContains(prefixOf(entry.address, entry.prefixBits), address),
  );
  const found = own ?? near;
  return found && readMtu(found.interfaceName);
}

/** MTU of an interface by name; undefined when there is none of that name. */
export function readMtu(interfaceName: string): number | undefined {
  const fd = libc.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  if (fd < 0) return undefined;
  const request = allocateMemory(40);
  cStringInto(request, 0, interfaceName.slice(0, IFREQ_UNION - 1));
  const result = libc.ioctl(fd, SIOCGIFMTU, request.address);
  libc.close(fd);
  return result < 0 ? undefined : request.view.getInt32(IFREQ_UNION, true);
}
