/**
 * Reads the configuration of `ipref up`: TOML and flags, checked against the table of settings.
 * Every complaint has file, line and column, the value found and the value wanted. Pure.
 */

import { parse, TomlError } from "smol-toml";
import { parseIp, parsePrefix } from "../../base/ip.js";
import { nearestWord } from "../go-flags.js";
import { nameOfSetting, SETTINGS, type Setting, type UpConfiguration } from "./settings.js";

/** A place in a text; both count from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export type ReadConfiguration =
  | { readonly ok: true; readonly configuration: UpConfiguration }
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

type Values = Map<string, unknown>;

/** Reads and checks everything; reports all mistakes together. */
export function readConfiguration(input: ConfigurationInput): ReadConfiguration {
  const complaints: string[] = [];
  const values: Values = new Map(
    SETTINGS.map((setting) => [nameOfSetting(setting), setting.preset]),
  );
  readFile(input, values, complaints);
  readFlags(input.flags, values, complaints);
  if (complaints.length > 0) return { ok: false, complaints };
  const configuration = assemble(values);
  complaints.push(...contradictions(configuration).map((text) => `${input.file}: ${text}`));
  return complaints.length > 0 ? { ok: false, complaints } : { ok: true, configuration };
}

function readFile({ file, text }: ConfigurationInput, values: Values, complaints: string[]): void {
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
  const at = (name: string): string => {
    const { line, column } = places.get(name) ?? places.get(name.split(".")[0]!) ?? FIRST;
    return `${file}:${line}:${column}: `;
  };
  for (const [section, content] of Object.entries(document)) {
    const complaint = sectionComplaint(section, content);
    if (complaint !== undefined) complaints.push(at(section) + complaint);
    else
      readSection(section, content as Record<string, unknown>, values, (name, text) => {
        complaints.push(at(name) + text);
      });
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
  values: Values,
  complain: (name: string, text: string) => void,
): void {
  const settings = SETTINGS.filter((setting) => setting.section === section);
  for (const [key, value] of Object.entries(content)) {
    const name = `${section}.${key}`;
    const setting = settings.find((each) => each.key === key);
    if (setting === undefined) {
      const hint = meant(
        key,
        settings.map((each) => each.key),
      );
      complain(name, `Found the setting '${key}', which does not exist in [${section}]${hint}`);
      continue;
    }
    const rule = ruleBroken(setting, value);
    if (rule === undefined) values.set(name, value);
    else complain(name, `Cannot use ${key} = ${inToml(value)}: ${rule}`);
  }
}

function readFlags(flags: ReadonlyMap<string, string>, values: Values, complaints: string[]): void {
  for (const setting of SETTINGS) {
    const found = setting.flag === undefined ? undefined : flags.get(setting.flag);
    if (found === undefined) continue;
    const value = fromFlag(setting, found);
    const rule = ruleBroken(setting, value);
    if (rule === undefined) values.set(nameOfSetting(setting), value);
    else complaints.push(`Cannot use --${setting.flag} ${found}: ${rule}`);
  }
}

/** A flag's text as the type of its preset. */
function fromFlag({ preset }: Setting, found: string): unknown {
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

function assemble(values: Values): UpConfiguration {
  const sections: Record<string, Record<string, unknown>> = {};
  for (const setting of SETTINGS) {
    sections[setting.section] ??= {};
    sections[setting.section]![setting.key] = values.get(nameOfSetting(setting));
  }
  return sections as unknown as UpConfiguration;
}

/** Values that are right by themselves and cannot stand together. */
function contradictions({ gateway, resolver, publish }: UpConfiguration): string[] {
  const found: string[] = [];
  const bind = parseIp(gateway.bind)!;
  const own = gateway.public === "" ? undefined : parseIp(gateway.public)!;
  if (own !== undefined && own.version !== bind.version) {
    found.push(
      `gateway.bind is IPv${bind.version} and gateway.public IPv${own.version}, ` +
        "expected one version: that of the tunnel",
    );
  }
  if (publish.domain !== "" && own === undefined && publish.gateway === "") {
    found.push("publish.domain needs gateway.public: others could not reach what is published");
  }
  if (publish.domain !== "" && publish.domain === publish.local) {
    found.push("publish.domain and publish.local are equal, expected two zones");
  }
  if (publish["update-server"] !== "" && publish["tsig-key"] === "") {
    found.push("publish.update-server needs publish.tsig-key: updates are always signed");
  }
  const isSelf = resolver.upstream.some((text) => resolver.listen.includes(text));
  if (isSelf) found.push("resolver.upstream names an address of resolver.listen, a circle");
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
