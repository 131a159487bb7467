/**
 * Makes texts anonymous that belong together: addresses, names and MAC addresses are replaced in
 * the same way in all of them, so that relations stay visible; secrets are taken out. Keys are
 * drawn anew until no replaced address is one of the originals, and then forgotten.
 */

import {
  addressKey,
  formatIp,
  type IpAddress,
  type IpPrefix,
  isUnspecified,
  parseIp,
  prefixOf,
} from "../../base/ip.js";
import { addressKind } from "./address-kind.js";
import { NameHash } from "./name-hash.js";
import { PrefixPermutation } from "./prefix-permutation.js";
import { withoutSecrets } from "./secrets.js";

/** Draws of a key before addresses are accepted that coincide with others: a crowded network. */
const DRAWS_MAX = 32;
const REMOVED_MAC = "xx:xx:xx:xx:xx:xx";

/** A text to make anonymous. JSON is replaced value by value, so that it stays JSON. */
export interface NamedText {
  readonly name: string;
  readonly text: string;
  readonly format: "text" | "json" | "json-lines";
  /** Words with dots are names; otherwise only known words are. */
  readonly hasNames: boolean;
}

/** What to go by. */
export interface AnonymiserOptions {
  /** Random octets. */
  readonly drawKey: () => Uint8Array;
  /** Networks whose addresses stay. */
  readonly kept: readonly IpPrefix[];
  /** Names without dots: this machine, its users, published hosts. */
  readonly words: readonly string[];
}

/** How much was replaced. */
export interface AnonymisedCounts {
  readonly addresses: number;
  readonly names: number;
  readonly macs: number;
  readonly secrets: number;
}

/** `1:2:3:4:5:6:7::` has most colons of all IPv6 addresses. */
const IPV6_COLONS_MAX = 8;

const MAC = "(?<mac>(?<![0-9a-f:])[0-9a-f]{2}(?::[0-9a-f]{2}){5}(?![0-9a-f:]))";
/** Behind a letter or three numbers with dots nothing begins that has colons. */
const BEFORE_COLONS = "(?<![0-9a-z_]|(?:[0-9]{1,3}\\.){3})";
const GROUP = "[0-9a-f]{0,4}";
const MIXED = `${GROUP}(?::${GROUP})*:[0-9]{1,3}(?:\\.[0-9]{1,3}){3}`;
const COLONS = `(?<colons>${BEFORE_COLONS}(?:${MIXED}|${GROUP}(?::${GROUP}){2,})(?![0-9a-z_]))`;
const ADDRESS = new RegExp(`${MAC}|${COLONS}`, "gi");
const USER = "(?<user>[a-z0-9_][a-z0-9_.+-]*(?=@(?:[[a-z0-9]|$)))";
const WORD = "(?<word>[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)";
const TOKEN = new RegExp(`${USER}|${WORD}`, "gi");
/** Numbers with dots: an IPv4 address, and perhaps a port behind another dot, as in tcpdump. */
const NUMBERS = /([0-9]+(?:\.[0-9]+){3,})/;
const IPV4_LABELS = 4;
const IPV4_MAPPED = /^(::ffff:)([0-9.]+)$/i;
/** An escaped character, as in JSON within a log line: its letter is no part of the next word. */
const ESCAPE = /(\\(?:u[0-9a-f]{4}|x[0-9a-f]{2}|[nrtbf"\\/]))/i;
const REVERSE = /^([0-9a-f.]+)\.(in-addr|ip6)\.arpa$/i;

/** Replaces in all texts; the result has the same order. */
export function anonymise(
  texts: readonly NamedText[],
  options: AnonymiserOptions,
): { readonly texts: readonly NamedText[]; readonly counts: AnonymisedCounts } {
  const clean = texts.map((each) => ({ ...each, ...withoutSecrets(each.text) }));
  const secrets = clean.reduce((sum, { count }) => sum + count, 0);
  const originals = new Map<string, IpAddress>();
  const collect = (address: IpAddress): IpAddress => {
    originals.set(addressKey(address), address);
    return address;
  };
  const quiet = new Replacer(collect, new NameHash(options.drawKey(), []));
  for (const each of clean) quiet.text(each);
  const permutation = goodPermutation([...originals.values()], options);
  const names = new NameHash(options.drawKey(), options.words);
  const replacer = new Replacer((address) => permutation.map(address), names);
  const done = clean.map((each) => ({ ...each, text: replacer.text(each) }));
  const changed = [...originals.values()].filter((address) => !permutation.isKept(address));
  return {
    texts: done.map(({ name, text, format, hasNames }) => ({ name, text, format, hasNames })),
    counts: { addresses: changed.length, names: names.count, macs: replacer.macs, secrets },
  };
}

/** A permutation that gives no original again and keeps the kinds. */
function goodPermutation(
  originals: readonly IpAddress[],
  { drawKey, kept }: AnonymiserOptions,
): PrefixPermutation {
  const keys = new Set(originals.map(addressKey));
  let permutation = new PrefixPermutation(drawKey(), kept);
  for (let draw = 1; draw < DRAWS_MAX; draw++) {
    const isGood = originals.every((address) => {
      if (permutation.isKept(address)) return true;
      const mapped = permutation.map(address);
      const isOfKind = addressKind(mapped) === addressKind(address) && !permutation.isKept(mapped);
      return isOfKind && !keys.has(addressKey(mapped));
    });
    if (isGood) return permutation;
    permutation = new PrefixPermutation(drawKey(), kept);
  }
  return permutation;
}

/** Walks over a text and replaces what it finds. */
class Replacer {
  readonly #map: (address: IpAddress) => IpAddress;
  readonly #names: NameHash;
  readonly #macs = new Set<string>();

  constructor(map: (address: IpAddress) => IpAddress, names: NameHash) {
    this.#map = map;
    this.#names = names;
  }

  get macs(): number {
    return this.#macs.size;
  }

  text({ text, format, hasNames }: NamedText): string {
    if (format === "text") return this.#plain(text, hasNames);
    if (format === "json") return this.#json(text, hasNames, 2);
    return text
      .split("\n")
      .map((line) => (line === "" ? "" : this.#json(line, hasNames, 0)))
      .join("\n");
  }

  #json(text: string, hasNames: boolean, indent: number): string {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return this.#plain(text, hasNames);
    }
    return JSON.stringify(this.#value(value, hasNames), null, indent);
  }

  #value(value: unknown, hasNames: boolean): unknown {
    if (typeof value === "string") return this.#plain(value, hasNames);
    if (Array.isArray(value)) return value.map((each) => this.#value(each, hasNames));
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).map(([key, each]) => [
      this.#plain(key, hasNames),
      this.#value(each, hasNames),
    ]);
    return Object.fromEntries(entries);
  }

  #plain(text: string, hasNames: boolean): string {
    const parts = text.split(ESCAPE);
    return parts
      .map((part, index) => (index % 2 === 1 ? part : this.#part(part, hasNames)))
      .join("");
  }

  /** Addresses with colons first: a word may end where one begins. */
  #part(text: string, hasNames: boolean): string {
    let [result, last] = ["", 0];
    for (const match of text.matchAll(ADDRESS)) {
      const [token] = match;
      const end = match.index + token.length;
      result += this.#words(text.slice(last, match.index), hasNames);
      result +=
        match.groups?.mac === undefined
          ? this.#colons(token, bitsBehind(text, end), hasNames)
          : this.#mac(token);
      last = end;
    }
    return result + this.#words(text.slice(last), hasNames);
  }

  #words(text: string, hasNames: boolean): string {
    return text.replace(TOKEN, (token: string, user: string | undefined, ...rest: unknown[]) => {
      const end = (rest.at(-3) as number) + token.length;
      if (user === undefined || NUMBERS.test(token)) {
        return this.#word(token, hasNames, bitsBehind(text, end));
      }
      return hasNames ? this.#names.label(token) : this.#word(token, false);
    });
  }

  /** All zeros and all ones are nobody's. */
  #mac(token: string): string {
    if (/^(00:){5}00$|^(ff:){5}ff$/i.test(token)) return token;
    this.#macs.add(token.toLowerCase());
    return REMOVED_MAC;
  }

  /** Parts between colons that are IPv6 addresses; a port or a colon may stand beside them. */
  #colons(token: string, bits: number | undefined, hasNames: boolean): string {
    const mapped = IPV4_MAPPED.exec(token);
    if (mapped !== null) return mapped[1]! + this.#numbers(mapped[2]!, bits);
    const places = [...token.matchAll(/:/g)].map(({ index }) => index);
    let [result, last] = ["", 0];
    for (const [index, start] of [0, ...places.map((place) => place + 1)].entries()) {
      if (start < last) continue;
      const near = places.slice(index, index + IPV6_COLONS_MAX + 1);
      const ends = index + near.length === places.length ? [...near, token.length] : near;
      const found = addressIn(token, start, ends);
      if (found === undefined) continue;
      result += this.#words(token.slice(last, start), hasNames);
      result += this.#address(found.address, found.end === token.length ? bits : undefined);
      last = found.end;
    }
    return result + this.#words(token.slice(last), hasNames);
  }

  #word(token: string, hasNames: boolean, bits?: number): string {
    const reverse = REVERSE.exec(token);
    if (reverse !== null) return this.#reverse(reverse[1]!, reverse[2]!);
    const parts = token.split(NUMBERS);
    if (parts.length === 1) return hasNames ? this.#names.word(token) : this.#lone(token);
    const isAtEnd = parts.at(-1) === "";
    return parts
      .map((part, index) => {
        if (index % 2 === 1) {
          return this.#numbers(part, isAtEnd && index === parts.length - 2 ? bits : undefined);
        }
        const [, before, word, behind] = /^([.-]*)(.*?)([.-]*)$/s.exec(part)!;
        return `${before}${word === "" ? "" : this.#word(word!, hasNames)}${behind}`;
      })
      .join("");
  }

  /** The first four that are an address, and so on. */
  #numbers(text: string, bits: number | undefined): string {
    const labels = text.split(".");
    const shown: string[] = [];
    for (let index = 0; index < labels.length; ) {
      const end = index + IPV4_LABELS;
      const part = end <= labels.length ? labels.slice(index, end).join(".") : "";
      // A leading zero is the end of something else, as in eth0.192.0.2.1.
      const isAddress = labels.length === IPV4_LABELS || labels[index] !== "0";
      const address = isAddress ? parseIp(part) : undefined;
      if (address === undefined) shown.push(labels[index++]!);
      else {
        shown.push(this.#address(address, end === labels.length ? bits : undefined));
        index = end;
      }
    }
    return shown.join(".");
  }

  /** A word in a text whose words with dots are no names. */
  #lone(token: string): string {
    return token.includes(".")
      ? token
          .split(".")
          .map((label) => this.#names.word(label))
          .join(".")
      : this.#names.word(token);
  }

  /** A network, its host bits zero, becomes a network. */
  #address(address: IpAddress, bits: number | undefined): string {
    const mapped = this.#map(address);
    if (bits === undefined || bits > 8 * address.bytes.length) return formatIp(mapped);
    const isNetwork = formatIp(prefixOf(address, bits).address) === formatIp(address);
    return formatIp(isNetwork ? prefixOf(mapped, bits).address : mapped);
  }

  /** A name of the reverse tree; shorter ones are those of networks (RFC 1035 3.5, RFC 3596 2.5). */
  #reverse(labels: string, tree: string): string {
    const isIpv4 = tree.toLowerCase() === "in-addr";
    const digits = labels.split(".").reverse();
    const bytes = new Uint8Array(isIpv4 ? 4 : 16);
    for (const [index, digit] of digits.entries()) {
      if (isIpv4) bytes[index] = Number(digit);
      else bytes[index >> 1]! |= Number.parseInt(digit, 16) << (index % 2 === 0 ? 4 : 0);
    }
    const mapped = this.#map({ version: isIpv4 ? 4 : 6, bytes }).bytes;
    const shown = digits.map((_, index) => {
      if (isIpv4) return String(mapped[index] ?? 0);
      return ((mapped[index >> 1]! >> (index % 2 === 0 ? 4 : 0)) & 15).toString(16);
    });
    return `${shown.reverse().join(".")}.${tree}.arpa`;
  }
}

/** The longest IPv6 address from `start` to one of `ends`; the unspecified one does not count. */
function addressIn(
  token: string,
  start: number,
  ends: readonly number[],
): { readonly address: IpAddress; readonly end: number } | undefined {
  for (const end of ends.toReversed()) {
    const address = end - start > 2 ? parseIp(token.slice(start, end)) : undefined;
    if (address?.version === 6 && !isUnspecified(address)) return { address, end };
  }
  return undefined;
}

/** The prefix length that follows an address, such as /24. */
function bitsBehind(text: string, end: number): number | undefined {
  const match = /^\/([0-9]{1,3})(?![0-9.])/.exec(text.slice(end, end + 5));
  return match === null ? undefined : Number(match[1]);
}
