/**
 * `ipref publish NAME LOCAL_ADDRESS`: chooses a reference, writes the local zone, prints the record
 * for the public zone, and sends it there by DNS UPDATE when that is configured. A running
 * `ipref up` takes the change over at once.
 */

import { readFileSync } from "node:fs";
import type { Command } from "commander";
import {
  formatIp,
  type IpAddress,
  isGlobalUnicast,
  parseIp,
  parsePrefix,
  prefixContains,
} from "../base/ip.js";
import { printable } from "../base/printable.js";
import { parseReference, type Reference } from "../base/reference.js";
import { localVersion } from "../control/config/read.js";
import type { UpConfiguration } from "../control/config/settings.js";
import { newCommand, parseArguments } from "./command-line.js";
import {
  EXIT_FAILED,
  EXIT_NO_PERMISSION,
  EXIT_OK,
  EXIT_UNAVAILABLE,
  EXIT_USAGE,
} from "./exit-status.js";
import { type RecordChange, sendUpdate } from "./publish-update.js";
import {
  aaRecord,
  aaText,
  freeReference,
  lockZone,
  type PublishedName,
  prepareLocalZone,
  REFERENCE_MIN,
  readLocalZone,
  referenceRefusal,
  warningsOf,
  writeLocalZone,
  writeOwnNames,
  writePublicZone,
} from "./publish-zone.js";
import { FileUntrusted } from "./trusted-file.js";
import { addConfigurationFlags, loadConfiguration, settingFlags } from "./up.js";
import { isRunning, readState } from "./up-machine.js";
import { pathsOf } from "./up-plan.js";
import { ConfigurationRefused, REFUSED_STATUS } from "./up-system.js";

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
const TTL_SECONDS = 300;

/** What to do, apart from the configuration. */
interface Order {
  readonly name: string | undefined;
  readonly address: string | undefined;
  readonly ref: string | undefined;
  readonly from: string | undefined;
  readonly isList: boolean;
  readonly isRemove: boolean;
}

/** A request that cannot be met; the message is a sentence. */
class Refused extends Error {
  override readonly name = "Refused";
}

type Entry = Omit<PublishedName, "line">;

/** The command with its options. */
export function define(): Command {
  const command = newCommand("publish", "publish a local host under a name of the public zone")
    .argument("[name]", "name in the public zone, with or without the zone")
    .argument("[address]", "local address of the host")
    .option("--ref <reference>", "reference to use (default: the lowest free one)")
    .option("--from <file>", "publish many: lines with NAME ADDRESS [REFERENCE]")
    .option("--list", "list what is published")
    .option("--remove", "no longer publish NAME");
  return addConfigurationFlags(command);
}

/** Runs the command; resolves to the exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const { options, words } = parsed;
  try {
    const order: Order = {
      name: words[0],
      address: words[1],
      ref: options.ref as string | undefined,
      from: options.from as string | undefined,
      isList: options.list === true,
      isRemove: options.remove === true,
    };
    const flags = settingFlags(options);
    const configuration = loadConfiguration(options.config as string | undefined, flags);
    return await obey(configuration, order);
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") {
      process.stderr.write(`Cannot change ${path ?? "ipref up"}: ${code}; this needs root\n`);
      return EXIT_NO_PERMISSION;
    }
    if (error instanceof FileUntrusted) {
      process.stderr.write(`Cannot read the published names: ${printable(error.message)}\n`);
      return EXIT_FAILED;
    }
    if (!(error instanceof Refused || error instanceof ConfigurationRefused)) throw error;
    process.stderr.write(`${error.message}\n`);
    return error instanceof Refused ? EXIT_USAGE : REFUSED_STATUS;
  }
}

async function obey(configuration: UpConfiguration, order: Order): Promise<number> {
  if (configuration.publish.domain === "") {
    throw new ConfigurationRefused([
      'No public zone is configured: set publish.domain, e.g. domain = "home.example.com", or --domain',
    ]);
  }
  if (order.isList) return list(configuration);
  const release = await lockZone(configuration);
  try {
    if (order.isRemove) return await remove(configuration, order);
    const wanted = order.from === undefined ? [wantedOf(order)] : wantedIn(order.from);
    return await publish(configuration, wanted);
  } finally {
    release();
  }
}

/** One name to publish, as texts. */
interface Wanted {
  readonly name: string;
  readonly address: string;
  readonly ref: string | undefined;
}

function wantedOf({ name, address, ref }: Order): Wanted {
  if (name === undefined || address === undefined) {
    throw new Refused("Expected NAME and LOCAL_ADDRESS, or --list, or --remove NAME");
  }
  return { name, address, ref };
}

function wantedIn(path: string): Wanted[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new Refused(`Cannot read ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
  return text.split("\n").flatMap((line, index) => {
    const [name, address, ref, surplus] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (name === undefined || name === "") return [];
    if (address === undefined || surplus !== undefined) {
      throw new Refused(`${path}:${index + 1}: expected NAME ADDRESS [REFERENCE]`);
    }
    return [{ name, address, ref }];
  });
}

function list(configuration: UpConfiguration): number {
  const { names } = readLocalZone(configuration);
  const { domain } = configuration.publish;
  for (const { label, address, reference } of names) {
    process.stdout.write(
      `${label}.${domain}  ${formatIp(address)}  ${aaText(configuration, reference)}\n`,
    );
  }
  if (names.length === 0) process.stdout.write(`Nothing is published in ${domain}\n`);
  warn(warningsOf(configuration, names));
  return EXIT_OK;
}

async function publish(configuration: UpConfiguration, wanted: readonly Wanted[]): Promise<number> {
  prepareLocalZone(configuration);
  const names = new Map<string, Entry>();
  for (const entry of readLocalZone(configuration).names) names.set(entry.label, entry);
  const taken = new Map([...names.values()].map(({ label, reference }) => [reference, label]));
  const changes: RecordChange[] = [];
  const lines: string[] = [];
  let chosen = REFERENCE_MIN; // in one run, so that many names take no longer than their number
  const choose = (): Reference => {
    const reference = freeReference(configuration, taken, chosen);
    if (reference === undefined) throw new Refused("No reference is free");
    chosen = reference;
    return reference;
  };
  for (const each of wanted) {
    const old = names.get(labelOf(configuration, each.name));
    const entry = entryOf(configuration, each, old, taken, choose);
    if (old !== undefined) taken.delete(old.reference);
    if (old !== undefined && old.reference !== entry.reference) {
      changes.push(changeOf(configuration, "remove", old));
    }
    changes.push(changeOf(configuration, "add", entry));
    taken.set(entry.reference, entry.label);
    names.set(entry.label, entry);
    lines.push(aaRecord(configuration, entry.label, entry.reference));
  }
  writeLocalZone(configuration, [...names.values()]);
  takeOver(configuration);
  process.stdout.write(`${lines.join("\n")}\n`);
  return await spread(configuration, changes, "Add the line above to the public zone");
}

async function remove(configuration: UpConfiguration, { name }: Order): Promise<number> {
  if (name === undefined) throw new Refused("Expected --remove NAME");
  const label = labelOf(configuration, name);
  const { names } = readLocalZone(configuration);
  const old = names.find((entry) => entry.label === label);
  if (old === undefined) {
    throw new Refused(`${label}.${configuration.publish.domain} is not published`);
  }
  const rest = names.filter((entry) => entry !== old);
  writeLocalZone(configuration, rest);
  takeOver(configuration);
  process.stdout.write(`${aaRecord(configuration, label, old.reference)}\n`);
  const change = changeOf(configuration, "remove", old);
  return await spread(configuration, [change], "Remove the line above from the public zone");
}

/** Sends the changes to the public zone, or says what is left to do. */
async function spread(
  { publish: settings }: UpConfiguration,
  changes: readonly RecordChange[],
  advice: string,
): Promise<number> {
  if (settings["update-server"] === "") {
    process.stderr.write(`${advice} ${settings.domain}\n`);
    return EXIT_OK;
  }
  const target = {
    server: settings["update-server"],
    keyFile: settings["tsig-key"],
    zone: settings.domain,
  };
  const refused = await sendUpdate(target, changes);
  if (refused !== undefined) {
    process.stderr.write(
      `The public zone is unchanged: ${refused}. ${advice} ${settings.domain}\n`,
    );
    return EXIT_UNAVAILABLE;
  }
  process.stderr.write(`The public zone ${settings.domain} has been updated\n`);
  return EXIT_OK;
}

/** A running `ipref up` reloads; without one the files are made here. */
function takeOver(configuration: UpConfiguration): void {
  const state = readState(pathsOf(configuration).state);
  writeOwnNames(configuration);
  if (state === undefined || !isRunning(state.supervisor)) {
    warn(writePublicZone(configuration));
    return;
  }
  warn(warningsOf(configuration, readLocalZone(configuration).names));
  process.kill(state.supervisor.pid, "SIGHUP");
}

function labelOf({ publish: { domain } }: UpConfiguration, name: string): string {
  const plain = name.toLowerCase().replace(/\.$/, "");
  const suffix = `.${domain.toLowerCase()}`;
  const label = plain.endsWith(suffix) ? plain.slice(0, -suffix.length) : plain;
  if (LABEL.test(label)) return label;
  throw new Refused(`Cannot publish '${name}': expected one label below ${domain}, such as web`);
}

function entryOf(
  configuration: UpConfiguration,
  { name, address: text, ref }: Wanted,
  old: Entry | undefined,
  taken: ReadonlyMap<Reference, string>,
  choose: () => Reference,
): Entry {
  const label = labelOf(configuration, name);
  const address = localAddress(configuration, text);
  if (ref === undefined) return { label, address, reference: old?.reference ?? choose() };
  const parsed = parseReference(ref);
  if (!parsed.ok) {
    throw new Refused(`Cannot use --ref ${ref}: expected a reference such as 1025 or 12-3456`);
  }
  const refusal = referenceRefusal(configuration, parsed.value);
  if (refusal !== undefined) throw new Refused(`Cannot publish ${label}: ${refusal}`);
  const owner = taken.get(parsed.value);
  if (owner !== undefined && owner !== label) {
    throw new Refused(`Cannot publish ${label}: reference ${ref} is that of ${owner}`);
  }
  if (parsed.value < REFERENCE_MIN) {
    warn([`${label}: references below ${REFERENCE_MIN} are reserved; gateways accept them`]);
  }
  return { label, address, reference: parsed.value };
}

function localAddress(configuration: UpConfiguration, text: string): IpAddress {
  const address = parseIp(text);
  const version = localVersion(configuration);
  const encodeNet = parsePrefix(configuration.gateway["encode-net"])!;
  if (address?.version !== version || !isGlobalUnicast(address)) {
    throw new Refused(
      `Cannot publish the address ${text}: expected a unicast IPv${version} address`,
    );
  }
  if (prefixContains(encodeNet, address)) {
    throw new Refused(`Cannot publish the address ${text}: it is inside of the encode net`);
  }
  return address;
}

function changeOf(
  configuration: UpConfiguration,
  kind: RecordChange["kind"],
  { label, reference }: Entry,
): RecordChange {
  const name = `${label}.${configuration.publish.domain}.`;
  return { kind, name, text: aaText(configuration, reference), ttlSeconds: TTL_SECONDS };
}

function warn(lines: readonly string[]): void {
  for (const line of lines) process.stderr.write(`Warning: ${line}\n`);
}
