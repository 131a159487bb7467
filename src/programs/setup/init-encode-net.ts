/** What `ipref init` chooses as encode net. Pure. */

import {
  formatPrefix,
  type IpAddress,
  type IpPrefix,
  isLoopback,
  isUnspecified,
  parseIp,
  parsePrefix,
  prefixOf,
} from "../../base/ip.js";
import { collisions, freeNetwork, usualNetwork } from "./free-network.js";
import { CannotChoose, type Choice, type Wishes } from "./init-types.js";
import type { MachineFacts } from "./machine-facts.js";
import { localVersionOf, OWN_INTERFACE } from "./machine-view.js";

/** Overlapped networks that are named in a text. */
const NAMED_MAX = 3;

/** `gateway.encode-net`, apart from `servers`, which have to be reached; throws CannotChoose. */
export function chooseEncodeNet(
  facts: MachineFacts,
  wishes: Wishes,
  servers: readonly string[],
  notes: string[],
): { readonly choice: Choice; readonly prefix: IpPrefix } {
  const name = "gateway.encode-net";
  const used = usedNetworks(facts, servers);
  const wished = parsePrefix(wishes.settings.get("encode-net") ?? "");
  if (wished !== undefined) {
    const hit = collisions(wished, used);
    const text = formatPrefix(wished);
    if (hit.length > 0) {
      notes.push(`${text} overlaps ${listed(hit)}: while ipref up runs, one hides the other.`);
    }
    const reasons = ["As asked for with --encode-net."];
    return { choice: { name, value: text, reasons }, prefix: wished };
  }
  const version = wishes.local ?? localVersionOf(facts);
  const prefix = freeNetwork(version, used);
  if (prefix === undefined) {
    throw new CannotChoose(
      `Every private IPv${version} network overlaps a route of this machine; name the encode net ` +
        "with --encode-net PREFIX, 13 host bits or more",
      false,
    );
  }
  const usual = usualNetwork(version);
  const hit = collisions(usual, used);
  const why =
    hit.length === 0
      ? "The usual network: it overlaps no route, no interface and no DNS server of the machine."
      : `${formatPrefix(usual)}, the usual one, overlaps ${listed(hit)}; this one overlaps nothing.`;
  const reasons = [why, `IPv${version}, as the local network.`];
  return { choice: { name, value: formatPrefix(prefix), reasons }, prefix };
}

/** What an encode net must not overlap; what a running gateway has set up does not count. */
export function usedNetworks(facts: MachineFacts, servers: readonly string[]): readonly IpPrefix[] {
  const own = new Set([
    ...facts.routes
      .filter(({ interfaceName }) => OWN_INTERFACE.test(interfaceName))
      .map(({ prefix }) => formatPrefix(prefix)),
    ...facts.addresses
      .filter(({ interfaceName }) => OWN_INTERFACE.test(interfaceName))
      .flatMap(({ address, prefixBits }) => [prefixOf(address, prefixBits), hostOf(address)])
      .map(formatPrefix),
  ]);
  const hosts = [
    ...servers.map((text) => parseIp(text.replace(/^\[(.*)\](:\d+)?$|^([\d.]+):\d+$/, "$1$3"))),
    ...facts.routes.map(({ gateway }) => gateway),
  ].filter((address) => address !== undefined);
  return [
    ...facts.networks.filter((prefix) => !own.has(formatPrefix(prefix))),
    ...hosts.filter((address) => !isUnspecified(address) && !isLoopback(address)).map(hostOf),
  ];
}

function hostOf(address: IpAddress): IpPrefix {
  return prefixOf(address, 8 * address.bytes.length);
}

function listed(prefixes: readonly IpPrefix[]): string {
  return [...new Set(prefixes.map(formatPrefix))].slice(0, NAMED_MAX).join(", ");
}
