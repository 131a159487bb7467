/**
 * Domain names: wire form, keys, text form, order. RFC 1035 3.1 and 5.1, RFC 4343 (case).
 *
 * A name is held as its uncompressed wire octets, so a label may contain any octet. Its key, the
 * lower-cased octets as a string of the same length, is equal exactly for names that compare equal
 * and serves maps (spec/resolver.md 7.4). Text exists only in logs, zone files and configuration.
 */

/** RFC 1035 2.3.4. */
export const LABEL_MAX_BYTES = 63;
/** RFC 1035 2.3.4: length octets and the final zero included. */
export const NAME_MAX_BYTES = 255;

/** Lower case of ASCII letters, all other octets unchanged (RFC 4343 3). */
const LOWER = Uint8Array.from({ length: 256 }, (_, octet) =>
  octet >= 0x41 && octet <= 0x5a ? octet + 0x20 : octet,
);

/** One-character strings for all octets. */
const OCTET_TEXT: readonly string[] = Array.from({ length: 256 }, (_, octet) =>
  String.fromCharCode(octet),
);

const LOWER_TEXT: readonly string[] = Array.from(LOWER, (octet) => OCTET_TEXT[octet]!);

/** The key of the uncompressed name at bytes[start, end). */
export function nameKeyAt(bytes: Uint8Array, start: number, end: number): string {
  let key = "";
  for (let index = start; index < end; index++) key += LOWER_TEXT[bytes[index]!]!;
  return key;
}

/** An absolute domain name. Immutable; nobody changes `wire`. */
export class Name {
  /** Uncompressed octets, the final zero included; spelled as received or written. */
  readonly wire: Uint8Array;
  /** Lower-cased octets as characters 0 to 255. Equal names have equal keys. */
  readonly key: string;

  /** Takes valid wire octets; use the readers below for anything from outside. */
  constructor(wire: Uint8Array, key: string = nameKeyAt(wire, 0, wire.length)) {
    this.wire = wire;
    this.key = key;
  }

  static readonly ROOT: Name = new Name(new Uint8Array(1));

  /** The octets as characters, spelled as they are. */
  get spelling(): string {
    let text = "";
    for (const octet of this.wire) text += OCTET_TEXT[octet]!;
    return text;
  }

  get isRoot(): boolean {
    return this.wire.length === 1;
  }

  /** Labels without the root. */
  get labelCount(): number {
    let count = 0;
    for (let at = 0; this.wire[at] !== 0; at += 1 + this.wire[at]!) count++;
    return count;
  }

  /** The leftmost label in lower case as a string of octets; "" for the root. */
  get firstLabelKey(): string {
    return this.key.slice(1, 1 + this.wire[0]!);
  }

  /** The name without its first label; undefined for the root. */
  parent(): Name | undefined {
    if (this.isRoot) return undefined;
    const start = 1 + this.wire[0]!;
    return new Name(this.wire.subarray(start), this.key.slice(start));
  }

  equals(other: Name): boolean {
    return this.key === other.key;
  }

  /** True when this name equals `ancestor` or lies under it, compared by label. */
  isWithin(ancestor: Name): boolean {
    return isKeyWithin(this.key, ancestor.key);
  }

  /** `label` (at most 63 octets) in front of this name; undefined when that is too long. */
  prepend(label: Uint8Array): Name | undefined {
    return concatNames(Uint8Array.of(label.length, ...label), this);
  }

  /** `*` in front of this name; undefined when that is too long. */
  wildcard(): Name | undefined {
    return concatNames(WILDCARD_LABEL, this);
  }

  /** Text with a final dot, escaped. */
  toString(): string {
    return formatName(this);
  }
}

const WILDCARD_LABEL = Uint8Array.of(1, 0x2a);

/** Key of `*` directly below the name with this key. */
export function wildcardKey(key: string): string {
  return `\x01*${key}`;
}

/** Key without its first label; undefined for the root. */
export function parentKey(key: string): string | undefined {
  const length = key.charCodeAt(0);
  return length === 0 ? undefined : key.slice(1 + length);
}

/** True when `key` names `ancestorKey` or something below it. */
export function isKeyWithin(key: string, ancestorKey: string): boolean {
  if (!key.endsWith(ancestorKey)) return false;
  const boundary = key.length - ancestorKey.length;
  let at = 0;
  while (at < boundary) at += 1 + key.charCodeAt(at);
  return at === boundary;
}

/** `prefix` (whole labels without the root) in front of `suffix`; undefined above 255 octets. */
export function concatNames(prefix: Uint8Array, suffix: Name): Name | undefined {
  const length = prefix.length + suffix.wire.length;
  if (length > NAME_MAX_BYTES) return undefined;
  const wire = new Uint8Array(length);
  wire.set(prefix);
  wire.set(suffix.wire, prefix.length);
  return new Name(wire);
}

/**
 * Replaces the suffix `from` of `name` by `to`, as a DNAME does (RFC 6672 2.2); undefined above
 * 255 octets. `name` must lie within `from`.
 */
export function replaceSuffix(name: Name, from: Name, to: Name): Name | undefined {
  return concatNames(name.wire.subarray(0, name.wire.length - from.wire.length), to);
}

/** RFC 4034 6.1: by labels from the right, each as lower-cased unsigned octets. */
export function compareNames(a: Name, b: Name): number {
  const left = labelKeys(a.key);
  const right = labelKeys(b.key);
  for (let back = 1; back <= Math.min(left.length, right.length); back++) {
    const one = left[left.length - back]!;
    const other = right[right.length - back]!;
    if (one !== other) return one < other ? -1 : 1;
  }
  return left.length - right.length;
}

function labelKeys(key: string): string[] {
  const labels: string[] = [];
  for (let at = 0; key.charCodeAt(at) !== 0; at += 1 + key.charCodeAt(at)) {
    labels.push(key.slice(at + 1, at + 1 + key.charCodeAt(at)));
  }
  return labels;
}

/** Why a text is not a name. */
export type NameTextError = "empty" | "empty label" | "label too long" | "name too long" | "escape";

export type ParsedName =
  | { readonly ok: true; readonly name: Name; readonly isAbsolute: boolean }
  | { readonly ok: false; readonly error: NameTextError };

/**
 * Reads a name in text form (RFC 1035 5.1). `\X` is X, `\DDD` an octet; characters above 127 stand
 * for their UTF-8 octets. Without final dot `origin` is appended. `@` is not special here.
 */
export function parseName(text: string, origin: Name = Name.ROOT): ParsedName {
  if (text === "") return { ok: false, error: "empty" };
  if (text === ".") return { ok: true, name: Name.ROOT, isAbsolute: true };
  const labels = new LabelCollector();
  let at = 0;
  let endsWithDot = false;
  while (at < text.length) {
    const char = text[at]!;
    endsWithDot = char === ".";
    if (endsWithDot) {
      if (!labels.endLabel()) return { ok: false, error: labels.error };
      at++;
      continue;
    }
    const step = char === "\\" ? labels.addEscape(text, at) : labels.addChar(text, at);
    if (step === 0) return { ok: false, error: "escape" };
    at += step;
  }
  if (!endsWithDot && !labels.endLabel()) return { ok: false, error: labels.error };
  const name = concatNames(Uint8Array.from(labels.octets), endsWithDot ? Name.ROOT : origin);
  if (name === undefined) return { ok: false, error: "name too long" };
  return { ok: true, name, isAbsolute: endsWithDot };
}

/** A name that is known to be valid text, such as a constant. */
export function nameOf(text: string): Name {
  const parsed = parseName(text);
  return parsed.ok ? parsed.name : Name.ROOT;
}

class LabelCollector {
  readonly octets: number[] = [];
  error: NameTextError = "empty label";
  #label: number[] = [];

  /** Moves the collected label over; false (see `error`) when it is empty or too long. */
  endLabel(): boolean {
    const length = this.#label.length;
    if (length === 0 || length > LABEL_MAX_BYTES) {
      this.error = length === 0 ? "empty label" : "label too long";
      return false;
    }
    this.octets.push(length, ...this.#label);
    this.#label = [];
    if (this.octets.length < NAME_MAX_BYTES) return true;
    this.error = "name too long";
    return false;
  }

  /** Adds the escape at `at`; returns its length in characters, 0 when malformed. */
  addEscape(text: string, at: number): number {
    const next = text[at + 1];
    if (next === undefined) return 0;
    if (!/[0-9]/.test(next)) return 1 + this.addChar(text, at + 1);
    const digits = text.slice(at + 1, at + 4);
    const octet = /^[0-9]{3}$/.test(digits) ? Number(digits) : 256;
    if (octet > 255) return 0;
    this.#label.push(octet);
    return 4;
  }

  /** Adds one character as UTF-8; returns its length in UTF-16 units. */
  addChar(text: string, at: number): number {
    const code = text.codePointAt(at)!;
    pushUtf8(this.#label, code);
    return code > 0xffff ? 2 : 1;
  }
}

/** Appends the UTF-8 octets of a code point (RFC 3629). */
export function pushUtf8(target: number[], code: number): void {
  if (code < 0x80) target.push(code);
  else if (code < 0x800) target.push(0xc0 | (code >> 6), 0x80 | (code & 0x3f));
  else if (code < 0x1_0000) {
    target.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
  } else {
    target.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 0x3f));
    target.push(0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
  }
}

/** Characters that mean something in a zone file and are therefore escaped (RFC 1035 5.1). */
const SPECIAL = new Set(['"', "(", ")", ".", ";", "\\", "@", "$"]);

/** Text with final dot; special characters as `\X`, others outside 33 to 126 as `\DDD`. */
export function formatName(name: Name): string {
  if (name.isRoot) return ".";
  let text = "";
  for (let at = 0; name.wire[at] !== 0; at += 1 + name.wire[at]!) {
    for (const octet of name.wire.subarray(at + 1, at + 1 + name.wire[at]!)) {
      text += escapeOctet(octet);
    }
    text += ".";
  }
  return text;
}

function escapeOctet(octet: number): string {
  if (octet < 0x21 || octet > 0x7e) return `\\${octet.toString().padStart(3, "0")}`;
  const char = OCTET_TEXT[octet]!;
  return SPECIAL.has(char) ? `\\${char}` : char;
}

/** Lower-case text of a name from its key, for logs and the mapper (spec/resolver.md 1.8). */
export function formatKey(key: string): string {
  return formatName(new Name(octetsOfKey(key), key));
}

/** The octets of a key. */
export function octetsOfKey(key: string): Uint8Array {
  const octets = new Uint8Array(key.length);
  for (let index = 0; index < key.length; index++) octets[index] = key.charCodeAt(index);
  return octets;
}
