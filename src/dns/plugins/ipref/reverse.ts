/**
 * Encoded addresses back to names (spec/resolver.md 1.11): a table fed by every answer with encoded
 * addresses, and names under in-addr.arpa (RFC 1035 3.5) and ip6.arpa (RFC 3596 2.5). Monotonic
 * clock.
 */

import {
  addressKey,
  type IpAddress,
  type IpPrefix,
  prefixContains,
  prefixOf,
} from "../../../base/ip.js";
import { isKeyWithin, type Name, nameOf } from "../../../wire/dns/name.js";
import { LruMap } from "./lru-map.js";
import { REVERSE_KEPT_MS, REVERSE_TABLE_BYTES_MAX, TABLE_ENTRIES_MAX } from "./settings.js";

const IN_ADDR_KEY = nameOf("in-addr.arpa.").key;
const IP6_KEY = nameOf("ip6.arpa.").key;

/** Cheap test before anything is parsed: every such name ends with the label `arpa`. */
export function isReverseName(name: Name): boolean {
  return isKeyWithin(name.key, IN_ADDR_KEY) || isKeyWithin(name.key, IP6_KEY);
}

/** The address or network that a reverse name stands for; undefined when it stands for none. */
export function reversePrefix(name: Name): IpPrefix | undefined {
  const isIpv4 = isKeyWithin(name.key, IN_ADDR_KEY);
  if (!isIpv4 && !isKeyWithin(name.key, IP6_KEY)) return undefined;
  const labels = labelsBefore(name.key, name.key.length - (isIpv4 ? IN_ADDR_KEY : IP6_KEY).length);
  labels.reverse();
  return isIpv4 ? prefix4(labels) : prefix6(labels);
}

function labelsBefore(key: string, end: number): string[] {
  const labels: string[] = [];
  for (let at = 0; at < end; at += 1 + key.charCodeAt(at)) {
    labels.push(key.slice(at + 1, at + 1 + key.charCodeAt(at)));
  }
  return labels;
}

function prefix4(labels: readonly string[]): IpPrefix | undefined {
  const isAddress = labels.every((label) => /^(0|[1-9][0-9]{0,2})$/.test(label));
  if (!isAddress || labels.length > 4 || labels.some((label) => Number(label) > 255)) {
    return undefined;
  }
  const bytes = new Uint8Array(4);
  for (const [index, label] of labels.entries()) bytes[index] = Number(label);
  return prefixOf({ version: 4, bytes }, 8 * labels.length);
}

function prefix6(labels: readonly string[]): IpPrefix | undefined {
  if (labels.length > 32 || !labels.every((label) => /^[0-9a-f]$/.test(label))) return undefined;
  const bytes = new Uint8Array(16);
  for (const [index, label] of labels.entries()) {
    const nibble = Number.parseInt(label, 16);
    bytes[index >> 1] = bytes[index >> 1]! | (index % 2 === 0 ? nibble << 4 : nibble);
  }
  return prefixOf({ version: 6, bytes }, 4 * labels.length);
}

/** True when the whole network lies in one of `nets`. */
export function isInside(nets: readonly IpPrefix[], prefix: IpPrefix): boolean {
  return nets.some((net) => prefix.bits >= net.bits && prefixContains(net, prefix.address));
}

/** True for a network of exactly one address. */
export function isOneAddress({ address, bits }: IpPrefix): boolean {
  return bits === 8 * address.bytes.length;
}

interface Learned {
  /** Name last asked for, as the client spelled it. */
  name: Name;
  usedAtMs: number;
}

/** EA to name; entries live four hours after their last use. */
export class ReverseTable {
  readonly #entries = new LruMap<Learned>(TABLE_ENTRIES_MAX, REVERSE_TABLE_BYTES_MAX);

  get size(): number {
    return this.#entries.size;
  }

  /** `name` was answered with this address. */
  learn(address: IpAddress, name: Name, nowMs: number): void {
    const key = addressKey(address);
    const known = this.#entries.get(key);
    if (known !== undefined && known.name.key.length === name.key.length) {
      known.name = name;
      known.usedAtMs = nowMs;
      return;
    }
    this.#entries.set(key, { name, usedAtMs: nowMs }, 3 * name.wire.length + 100);
  }

  /** The name of an address and how long it was still known before this use. */
  find(
    address: IpAddress,
    nowMs: number,
  ): { readonly name: Name; readonly leftMs: number } | undefined {
    const key = addressKey(address);
    const known = this.#entries.get(key);
    if (known === undefined) return undefined;
    const leftMs = known.usedAtMs + REVERSE_KEPT_MS - nowMs;
    if (leftMs <= 0) {
      this.#entries.delete(key);
      return undefined;
    }
    known.usedAtMs = nowMs;
    return { name: known.name, leftMs };
  }

  clear(): void {
    this.#entries.clear();
  }
}
