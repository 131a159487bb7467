/**
 * Who may ask (spec/resolver.md 5.1). Blocks that resolve for others or serve private names answer
 * local sources only; `acl` in a block replaces the rule.
 */

import {
  type IpAddress,
  type IpPrefix,
  parsePrefix,
  prefixContains,
  sameAddress,
} from "../../base/ip.js";
import { type Name, nameOf } from "../../wire/dns/name.js";
import type { BlockConfiguration } from "../configuration.js";
import { parseZone } from "../corefile/keys.js";
import type { TransferSettings } from "../plugins/transfer/setup.js";

/** Loopback, private, shared, link-local (spec/resolver.md 5.1). */
const LOCAL_SOURCES: readonly IpPrefix[] = [
  "127.0.0.0/8",
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "169.254.0.0/16",
  "::1/128",
  "fc00::/7",
  "fe80::/10",
].map((text) => parsePrefix(text)!);

/** Names for private use: RFC 9476, 8375, 6762, 6761, and reverse zones of private prefixes. */
const PRIVATE_ZONES: readonly Name[] = [
  ...["internal.", "home.arpa.", "local.", "test."].map(nameOf),
  ...[
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
  ].flatMap((text) => parseZone(text)!),
];

const FILTERED_DIRECTIVES = ["ipref", "forward", "hosts"];

/** The rule in force. The program keeps the prefixes of links up to date. */
export class SourceFilter {
  readonly #filtered = new WeakMap<BlockConfiguration, boolean>();
  /** Prefixes of interfaces that do not carry a default route. */
  onLinkPrefixes: readonly IpPrefix[] = [];

  /** True when this source may ask a block. */
  isAllowed(block: BlockConfiguration, source: IpAddress): boolean {
    let filtered = this.#filtered.get(block);
    if (filtered === undefined) {
      filtered = isFiltered(block);
      this.#filtered.set(block, filtered);
    }
    return !filtered || this.isLocal(source) || isSecondary(block, source);
  }

  /** True for the built-in local ranges and the prefixes on links. */
  isLocal(source: IpAddress): boolean {
    return (
      LOCAL_SOURCES.some((prefix) => prefixContains(prefix, source)) ||
      this.onLinkPrefixes.some((prefix) => prefixContains(prefix, source))
    );
  }
}

/** Addresses named by `transfer` ask for SOA and zone wherever they are (spec/resolver.md 3.5). */
function isSecondary({ settings }: BlockConfiguration, source: IpAddress): boolean {
  const rules = settings.get("transfer") as TransferSettings | undefined;
  return rules?.some(({ to }) => to.some(({ address }) => sameAddress(address, source))) ?? false;
}

/** True when a block answers local sources only. */
export function isFiltered({ settings, zones }: BlockConfiguration): boolean {
  if (settings.has("acl")) return false;
  if (FILTERED_DIRECTIVES.some((name) => settings.has(name))) return true;
  return zones.some(({ zone }) => PRIVATE_ZONES.some((name) => zone.isWithin(name)));
}
