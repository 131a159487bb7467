/** Machines for the tests of `ipref init`, made of a few words. */

import { type IpAddress, parseIp, parsePrefix, prefixOf } from "../../../src/base/ip.js";
import type { MachineFacts } from "../../../src/programs/setup/machine-facts.js";
import type { ListeningSocket, Route } from "../../../src/programs/setup/machine-texts.js";

/** A machine in words. */
export interface MachineWords {
  /** `eth0 10.1.0.2/24`. */
  readonly addresses?: readonly string[];
  /** `0.0.0.0/0 eth0 10.1.0.1 100`; gateway `-` for none. */
  readonly routes?: readonly string[];
  /** Networks that only other routing tables know. */
  readonly networks?: readonly string[];
  readonly passing?: readonly string[];
  readonly sources?: readonly string[];
  readonly resolvers?: readonly string[];
  /** `0.0.0.0 53`. */
  readonly udp?: readonly string[];
  readonly tcp?: readonly string[];
  readonly tunTrouble?: string;
  readonly isRunning?: boolean;
}

/** The facts that `ipref init` would find there; loopback is added. */
export function machineOf(words: MachineWords): MachineFacts {
  const addresses = ["lo 127.0.0.1/8", "lo ::1/128", ...(words.addresses ?? [])].map((line) => {
    const [interfaceName, text] = line.split(" ") as [string, string];
    const [address, bits] = text.split("/") as [string, string];
    return { interfaceName, address: parseIp(address)!, prefixBits: Number(bits) };
  });
  const routes = (words.routes ?? []).map(routeOf);
  const sources = (words.sources ?? []).map((text) => parseIp(text)!);
  const sourceOf = (version: 4 | 6): IpAddress | undefined =>
    sources.find((address) => address.version === version);
  return {
    addresses,
    routes,
    networks: [
      ...routes.map(({ prefix }) => prefix),
      ...addresses.map(({ address, prefixBits }) => prefixOf(address, prefixBits)),
      ...(words.networks ?? []).map((text) => parsePrefix(text)!),
    ],
    passing: (words.passing ?? []).map((text) => parseIp(text)!),
    sources: { 4: sourceOf(4), 6: sourceOf(6) },
    resolvers: words.resolvers ?? ["192.0.2.53"],
    usesSystemdResolved: false,
    udpSockets: (words.udp ?? []).map(socketOf),
    tcpSockets: (words.tcp ?? []).map(socketOf),
    tunTrouble: words.tunTrouble,
    isRunning: words.isRunning === true,
  };
}

function routeOf(line: string): Route {
  const [prefix, interfaceName, gateway, metric] = line.split(" ");
  return {
    prefix: parsePrefix(prefix!)!,
    interfaceName: interfaceName!,
    gateway: parseIp(gateway ?? "-"),
    metric: Number(metric ?? 0),
  };
}

function socketOf(line: string): ListeningSocket {
  const [address, port] = line.split(" ");
  return { address: parseIp(address!)!, port: Number(port) };
}
