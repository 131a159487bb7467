/**
 * Which addresses the server listens on, and which blocks answer there (spec/resolver.md 2.4, 2.5).
 * Without `bind` a block listens on every address of every interface; each has a socket of its own,
 * so that replies come from the address that was asked.
 */

import { addressKey, formatIp, type IpAddress, parseIp, sameAddress } from "../../base/ip.js";
import { nearestWord } from "../../base/nearest-word.js";
import type { Chain } from "../chain.js";
import type { Word } from "../corefile/structure.js";
import type { Complaints } from "../plugin.js";
import type { BindLine } from "../plugins/bind/setup.js";
import { Routes } from "./routes.js";

/** One address of an interface, as the system tells. */
export interface InterfaceAddress {
  readonly interfaceName: string;
  readonly address: IpAddress;
}

/** One pair of sockets (UDP and TCP) and the blocks behind it. */
export interface Listener {
  readonly address: IpAddress;
  readonly port: number;
  /** Interface of a link-local address. */
  readonly interfaceName: string | undefined;
  /** Some block asked for this very address: failing to open it is fatal for that block. */
  readonly isExplicit: boolean;
  readonly routes: Routes;
}

interface Draft {
  readonly where: InterfaceAddress;
  readonly port: number;
  isExplicit: boolean;
  readonly routes: Routes;
}

/** All listeners for these blocks; unknown names in `bind` go to `complaints`. */
export function planListeners(
  chains: readonly Chain[],
  interfaces: readonly InterfaceAddress[],
  complaints: Complaints,
): readonly Listener[] {
  const drafts = new Map<string, Draft>();
  for (const chain of chains) {
    const bind = chain.configuration.settings.get("bind") as readonly BindLine[] | undefined;
    const addresses = bind
      ? bind.flatMap((line) => addressesOfLine(line, interfaces, complaints))
      : interfaces;
    for (const where of addresses) {
      for (const { zone, port } of chain.configuration.zones) {
        const key = `${addressKey(where.address)}/${scopeOf(where)}/${port}`;
        const draft = drafts.get(key) ?? { where, port, isExplicit: false, routes: new Routes() };
        if (bind !== undefined) draft.isExplicit = true;
        if (!draft.routes.add(zone.key, chain)) {
          complaints.error(
            chain.configuration.block.position,
            `Found zone ${zone} on ${formatIp(where.address)} port ${port} again, expected it once`,
          );
        }
        drafts.set(key, draft);
      }
    }
  }
  return [...drafts.values()].map(({ where, port, isExplicit, routes }) => ({
    address: where.address,
    port,
    interfaceName: scopeOf(where) === "" ? undefined : where.interfaceName,
    isExplicit,
    routes,
  }));
}

/** Link-local IPv6 addresses exist once for each interface (RFC 4007). */
function scopeOf({ address, interfaceName }: InterfaceAddress): string {
  const [first, second] = address.bytes;
  const isLinkLocal = address.version === 6 && first === 0xfe && (second! & 0xc0) === 0x80;
  return isLinkLocal ? interfaceName : "";
}

function addressesOfLine(
  line: BindLine,
  interfaces: readonly InterfaceAddress[],
  complaints: Complaints,
): readonly InterfaceAddress[] {
  const wanted = line.listen.flatMap((word) => addressesOfWord(word, interfaces, complaints));
  const except = line.except.flatMap((word) => addressesOfWord(word, interfaces, complaints));
  return wanted.filter((one) => !except.some((other) => sameAddress(one.address, other.address)));
}

function addressesOfWord(
  word: Word,
  interfaces: readonly InterfaceAddress[],
  complaints: Complaints,
): readonly InterfaceAddress[] {
  const address = parseIp(word.text);
  if (address !== undefined) {
    if (address.bytes.every((octet) => octet === 0)) {
      return interfaces.filter((one) => one.address.version === address.version);
    }
    const known = interfaces.find((one) => sameAddress(one.address, address));
    return [{ interfaceName: known?.interfaceName ?? "", address }];
  }
  const found = interfaces.filter((one) => one.interfaceName === word.text);
  if (found.length > 0) return found;
  const names = [...new Set(interfaces.map((one) => one.interfaceName))];
  const near = nearestWord(word.text, names);
  const hint = near === undefined ? "" : `; did you mean '${near}'?`;
  complaints.error(
    word.position,
    `Found '${word.text}', expected an IP address or an interface with addresses${hint}`,
  );
  return [];
}
