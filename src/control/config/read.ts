/**
 * Reads the configuration of `ipref up`: TOML and flags, checked against the table of settings.
 * Every complaint has file, line and column, the value found and the value wanted. Pure.
 */

import { parse, TomlError } from "smol-toml";
import { isUnspecified, parseIp, parsePrefix, prefixContains } from "../../base/ip.js";
import { nearestWord } from "../../base/nearest-word.js";
import { nameOfSetting, SETTINGS, type Setting, type UpConfiguration } from "./settings.js";

/** A place in a text; both count from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Where a value comes from. A place belongs to the file. */
export type Origin =
  | { readonly kind: "default" }
  | { readonly kind: "flag"; readonly flag: string }
  | { readonly kind: "file"; readonly file: string; readonly place: Place };

export type ReadConfiguration =
  | {
      readonly ok: true;
      readonly configuration: UpConfiguration;
      /** Of every setting by its name `section.key`. */
      readonly origins: ReadonlyMap<string, Origin>;
    }
  | { readonly ok: false; readonly complaints: readonly string[] };

/** What a configuration is made of. */
export interface ConfigurationInput {
  /** Name of the file, for complaints. */
  readonly file: string;
  /** Its content; empty without a file. */
  readonly text: string;
  /** Values of flags by flag name; they go before the file. */
  readonly flags: ReadonlyMap<string, string>;
}

/** What has been read so far; all maps by `section.key`. */
interface Reading {
  readonly values: Map<string, unknown>;
  readonly origins: Map<string, Origin>;
  readonly complaints: string[];
}

/** Reads and checks everything; reports all mistakes together. */
export function readConfiguration(input: ConfigurationInput): ReadConfiguration {
  const complaints: string[] = [];
  const reading: Reading = {
    values: new Map(SETTINGS.map((setting) => [nameOfSetting(setting), setting.preset])),
    origins: new Map(SETTINGS.map((setting) => [nameOfSetting(setting), { kind: "default" }])),
    complaints,
  };
  readFile(input, reading);
  readFlags(input.flags, reading);
  const { values, origins } = reading;
  if (complaints.length > 0) return { ok: false, complaints };
  const configuration = assemble(values);
  for (const { names, text } of contradictions(configuration)) {
    complaints.push(`${placeOfOne(names, origins, input.file)}: ${text}`);
  }
  if (complaints.length > 0) return { ok: false, complaints };
  return { ok: true, configuration, origins };
}

/** Where the first of these settings that is in the file stands there. */
function placeOfOne(
  names: readonly string[],
  origins: ReadonlyMap<string, Origin>,
  file: string,
): string {
  for (const name of names) {
    const origin = origins.get(name);
    if (origin?.kind === "file") return formatOrigin(origin);
  }
  return file;
}

/** `default`, `--flag` or `file:line:column`. */
export function formatOrigin(origin: Origin): string {
  if (origin.kind === "default") return "default";
  if (origin.kind === "flag") return `--${origin.flag}`;
  return `${origin.file}:${origin.place.line}:${origin.place.column}`;
}

function readFile({ file, text }: ConfigurationInput, reading: Reading): void {
  const { complaints } = reading;
  let document: Record<string, unknown>;
  try {
    document = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [sentence] = error.message.replace(/^Invalid TOML document: /, "").split("\n");
    complaints.push(`${file}:${error.line}:${error.column}: Cannot read this as TOML: ${sentence}`);
    return;
  }
  const places = placesOf(text);
  const originOf = (name: string): Origin => {
    const place = places.get(name) ?? places.get(name.split(".")[0]!) ?? FIRST;
    return { kind: "file", file, place };
  };
  for (const [section, content] of Object.entries(document)) {
    const complaint = sectionComplaint(section, content);
    if (complaint !== undefined) {
      complaints.push(`${formatOrigin(originOf(section))}: ${complaint}`);
    } else readSection(section, content as Record<string, unknown>, originOf, reading);
  }
}

const FIRST: Place = { line: 1, column: 1 };
const SECTIONS = [...new Set(SETTINGS.map(({ section }) => section))];

function sectionComplaint(section: string, content: unknown): string | undefined {
  const isTable = typeof content === "object" && content !== null && !Array.isArray(content);
  if (SECTIONS.includes(section)) {
    return isTable ? undefined : `'${section}' is a section, expected [${section}]`;
  }
  if (!isTable) {
    const owner = SETTINGS.find(({ key }) => key === section);
    const hint = owner === undefined ? "" : `; it belongs below [${owner.section}]`;
    return `Found the setting '${section}' outside of a section${hint}`;
  }
  return `Found the section [${section}], which does not exist${meant(section, SECTIONS)}`;
}

function readSection(
  section: string,
  content: Readonly<Record<string, unknown>>,
  originOf: (name: string) => Origin,
  { values, origins, complaints }: Reading,
): void {
  const settings = SETTINGS.filter((setting) => setting.section === section);
  for (const [key, value] of Object.entries(content)) {
    const name = `${section}.${key}`;
    const origin = originOf(name);
    const setting = settings.find((each) => each.key === key);
    const complaint =
      setting === undefined ? unknownSetting(section, key) : wrongValue(setting, key, value);
    if (complaint !== undefined) complaints.push(`${formatOrigin(origin)}: ${complaint}`);
    else {
      values.set(name, value);
      origins.set(name, origin);
    }
  }
}

function unknownSetting(section: string, key: string): string {
  const keys = SETTINGS.filter((each) => each.section === section).map((each) => each.key);
  return `Found the setting '${key}', which does not exist in [${section}]${meant(key, keys)}`;
}

function wrongValue(setting: Setting, key: string, value: unknown): string | undefined {
  const rule = ruleBroken(setting, value);
  return rule === undefined ? undefined : `Cannot use ${key} = ${inToml(value)}: ${rule}`;
}

function readFlags(
  flags: ReadonlyMap<string, string>,
  { values, origins, complaints }: Reading,
): void {
  for (const setting of SETTINGS) {
    const { flag } = setting;
    const found = flag === undefined ? undefined : flags.get(flag);
    if (flag === undefined || found === undefined) continue;
    const value = valueOfFlag(setting, found);
    const rule = ruleBroken(setting, value);
    if (rule !== undefined) complaints.push(`Cannot use --${flag} ${found}: ${rule}`);
    else {
      values.set(nameOfSetting(setting), value);
      origins.set(nameOfSetting(setting), { kind: "flag", flag });
    }
  }
}

/** What is wrong with the values of flags, each by itself. */
export function flagComplaints(flags: ReadonlyMap<string, string>): readonly string[] {
  const reading: Reading = { values: new Map(), origins: new Map(), complaints: [] };
  readFlags(flags, reading);
  return reading.complaints;
}

/** A flag's text as the type of its setting; not checked. */
export function valueOfFlag({ preset }: Setting, found: string): unknown {
  if (Array.isArray(preset)) return found === "" ? [] : found.split(",").map((word) => word.trim());
  if (typeof preset === "number" && /^[0-9]+$/.test(found)) return Number(found);
  return found;
}

function ruleBroken({ schema }: Setting, value: unknown): string | undefined {
  const result = schema.safeParse(value);
  return result.success ? undefined : result.error.issues[0]!.message;
}

function meant(word: string, candidates: readonly string[]): string {
  const nearest = nearestWord(word, candidates);
  return nearest === undefined ? "" : `; did you mean '${nearest}'?`;
}

function inToml(value: unknown): string {
  return typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? String(value));
}

function assemble(values: ReadonlyMap<string, unknown>): UpConfiguration {
  const sections: Record<string, Record<string, unknown>> = {};
  for (const setting of SETTINGS) {
    sections[setting.section] ??= {};
    sections[setting.section]![setting.key] = values.get(nameOfSetting(setting));
  }
  return sections as unknown as UpConfiguration;
}

/** Values that are right by themselves and cannot stand together. */
function contradictions({
  gateway,
  resolver,
  publish,
}: UpConfiguration): readonly { readonly names: readonly string[]; readonly text: string }[] {
  const found: { names: readonly string[]; text: string }[] = [];
  const add = (names: readonly string[], text: string) => found.push({ names, text });
  const bind = parseIp(gateway.bind)!;
  const own = gateway.public === "" ? undefined : parseIp(gateway.public)!;
  if (own !== undefined && own.version !== bind.version) {
    add(
      ["gateway.bind", "gateway.public"],
      `gateway.bind is IPv${bind.version} and gateway.public IPv${own.version}, ` +
        "expected one version: that of the tunnel",
    );
  }
  if (publish.domain !== "" && own === undefined && publish.gateway === "") {
    add(
      ["publish.domain"],
      "publish.domain needs gateway.public: others could not reach what is published",
    );
  }
  if (publish.domain !== "" && publish.domain === publish.local) {
    add(
      ["publish.local", "publish.domain"],
      "publish.domain and publish.local are equal, expected two zones",
    );
  }
  if (publish["update-server"] !== "" && publish["tsig-key"] === "") {
    add(
      ["publish.update-server"],
      "publish.update-server needs publish.tsig-key: updates are always signed",
    );
  }
  const encodeNet = parsePrefix(gateway["encode-net"])!;
  for (const [name, value] of [
    ["gateway.bind", gateway.bind],
    ["gateway.public", gateway.public],
    ...resolver.upstream.map((server) => ["resolver.upstream", server] as const),
  ] as const) {
    const address = parseIp(value);
    if (address === undefined || isUnspecified(address)) continue;
    if (!prefixContains(encodeNet, address)) continue;
    add(
      [name, "gateway.encode-net"],
      `${name} ${value} is inside of gateway.encode-net ${gateway["encode-net"]}, expected an ` +
        "encode net without any real address",
    );
  }
  if (resolver.upstream.some((text) => resolver.listen.includes(text))) {
    add(
      ["resolver.upstream", "resolver.listen"],
      "resolver.upstream names an address of resolver.listen, a circle",
    );
  }
  return found;
}

/** Where sections and settings stand: `section` and `section.key`. */
function placesOf(text: string): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  let section = "";
  for (const [index, line] of text.split("\n").entries()) {
    const header = /^\s*\[\s*"?([\w-]+)"?\s*\]/.exec(line);
    const setting = /^(\s*)((?:[\w-]+|"[^"]*")(?:\s*\.\s*[\w-]+)*)\s*=/.exec(line);
    if (header !== null) {
      section = header[1]!;
      if (!places.has(section)) {
        places.set(section, { line: index + 1, column: line.indexOf("[") + 1 });
      }
    } else if (setting !== null) {
      const key = setting[2]!.replace(/[\s"]/g, "");
      const name = section === "" ? key : `${section}.${key}`;
      places.set(name, { line: index + 1, column: setting[1]!.length + 1 });
    }
  }
  return places;
}

/** IP version of the local network: that of the encode net. */
export function localVersion({ gateway }: UpConfiguration): 4 | 6 {
  return parsePrefix(gateway["encode-net"])!.address.version;
}

/** IP version of the tunnel. */
export function tunnelVersion({ gateway }: UpConfiguration): 4 | 6 {
  return parseIp(gateway.bind)!.version;
}

/** Settings that differ; `name` is `section.key`. */
export function changedSettings(
  before: UpConfiguration,
  after: UpConfiguration,
): readonly { readonly name: string; readonly reload: Setting["reload"] }[] {
  const textOf = (configuration: UpConfiguration, { section, key }: Setting): string => {
    const sections = configuration as unknown as Record<string, Record<string, unknown>>;
    return JSON.stringify(sections[section]![key]);
  };
  return SETTINGS.filter((setting) => textOf(before, setting) !== textOf(after, setting)).map(
    (setting) => ({ name: nameOfSetting(setting), reload: setting.reload }),
  );
}
