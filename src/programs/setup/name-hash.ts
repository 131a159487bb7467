/**
 * Replaces names by hashes, label by label: `web.home.example.com` becomes `n5f0c1a2.n77d0e9b.
 * n0a1b2c3.com`. Equal labels stay equal within one bundle; the last label stays, and so do labels
 * of services such as _tcp. Pure but for the hash.
 */

import { createHmac } from "node:crypto";
import { SETTINGS } from "../../control/config/settings.js";

const HASH_DIGITS = 8;
/** Endings of file names that are no top-level domains. */
const FILE_ENDING =
  /\.(toml|json|sock|control|js|conf|log|db|pid|service|socket|hosts|txt|rules|key|pem|state|lock|mdb|yml|lua|gz|pcapng)$/i;
/** Kernel parameters and the like: words with dots that name nobody. */
const NOBODY = /^(?:net|kernel|vm|fs)\.(?:ipv4|ipv6|core|netfilter|unix)\b/;
/** Labels of services, RFC 6335 and RFC 8552. */
const SERVICE_LABEL =
  /^_(?:tcp|udp|dns|sip|sips|http|https|ssh|ldap|kerberos|ipref|acme-challenge)$/i;
/** A MAC address in an interface's name, systemd.net-naming-scheme(7), or in a bridge's number. */
const HARDWARE = /^(?:(?:en|wl|ww)x)?[0-9a-f]{12}$/i;
const SECTIONS = new Set(SETTINGS.map(({ section }) => section));
const KEYS = new Set(SETTINGS.map(({ key }) => key));
/** Words that say nothing about their owner, whoever uses them as a name. */
const COMMON = new Set([
  ...["localhost", "localdomain", "local", "internal", "home", "lan", "root", "nobody", "debian"],
  ...["ipref", "gateway", "resolver", "agent", "up", "mapper", "dns", "ns", "admin", "hosts"],
  ...["ip6-localhost", "ip6-loopback", "ip6-allnodes", "ip6-allrouters", "linux"],
  ...SECTIONS,
  ...KEYS,
]);

/** Hashes names with one key. */
export class NameHash {
  readonly #key: Uint8Array;
  readonly #words: ReadonlySet<string>;
  readonly #seen = new Set<string>();

  /** `words` are labels that are replaced wherever they stand alone. */
  constructor(key: Uint8Array, words: readonly string[]) {
    this.#key = key;
    this.#words = new Set(words.map((word) => word.toLowerCase()).filter(isTelling));
  }

  /** Different labels that were replaced. */
  get count(): number {
    return this.#seen.size;
  }

  /** A word of a text; only names change. */
  word(text: string): string {
    const [ending = ""] = FILE_ENDING.exec(text) ?? [];
    const stem = text.slice(0, text.length - ending.length);
    if (!this.#isName(stem)) {
      const labels = stem.split(".").map((label) => this.#known(label));
      return labels.join(".") + ending;
    }
    const labels = stem.split(".");
    const last = labels.length - 1;
    const hashed = labels.map((label, index) =>
      index === last && last > 0 ? this.#known(label) : this.label(label),
    );
    return hashed.join(".") + ending;
  }

  /** One label, replaced unless it is of a service. */
  label(text: string): string {
    if (text === "" || SERVICE_LABEL.test(text)) return text;
    const lower = text.toLowerCase();
    this.#seen.add(lower);
    const digest = createHmac("sha256", this.#key).update(lower).digest("hex");
    return `n${digest.slice(0, HASH_DIGITS)}`;
  }

  #known(label: string): string {
    const isKnown = this.#words.has(label.toLowerCase()) || HARDWARE.test(label);
    return isKnown ? this.label(label) : label;
  }

  /** Labels with dots between, the last of letters; but no setting and no kernel parameter. */
  #isName(text: string): boolean {
    const labels = text.split(".");
    if (labels.length < 2) return false;
    if (!/^(?:[a-z]{2,}|xn--[a-z0-9-]+)$/i.test(labels.at(-1)!)) return false;
    if (NOBODY.test(text)) return false;
    return !(labels.length === 2 && SECTIONS.has(labels[0]!) && KEYS.has(labels[1]!));
  }
}

/** Words that stand for somebody: neither common ones nor numbers nor single letters. */
function isTelling(word: string): boolean {
  return word.length > 1 && !COMMON.has(word) && !/^[0-9.:-]+$/.test(word);
}
