/**
 * `ipref bundle`: collects what a report of a fault needs into one archive, takes secrets out,
 * makes it anonymous, and tells what is in it. Bounded in size and time.
 */

import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { gzipSync } from "node:zlib";
import type { Command } from "commander";
import { formatPrefix, parsePrefix } from "../../base/ip.js";
import { printable, printableJson, printableLines } from "../../base/printable.js";
import { readConfiguration } from "../../control/config/read.js";
import type { UpConfiguration } from "../../control/config/settings.js";
import { ControlUnavailable } from "../../platform/control-client.js";
import { newCommand, parseArguments } from "../command-line.js";
import { EXIT_FAILED, EXIT_NO_PERMISSION, EXIT_NOT_RUNNING, EXIT_OK } from "../exit-status.js";
import { CONFIGURATION_FILE, loadConfiguration } from "../up.js";
import { ConfigurationRefused } from "../up-system.js";
import { type AnonymisedCounts, anonymise, type NamedText } from "./anonymise.js";
import { type ManifestEntry, manifestText, reportText } from "./bundle-report.js";
import {
  type BundleOrder,
  type BundleSource,
  bundleSources,
  tellingWords,
} from "./bundle-sources.js";
import { withoutSecrets } from "./secrets.js";
import { tarArchive } from "./tar.js";

/** The whole bundle before compression; sums to 10 MB with the manifest and tar's blocks. */
const TOTAL_BYTES_MAX = 10_000_000 - 200_000;
const DOCUMENT_BYTES_MAX = 1_000_000;
const KEY_BYTES = 32;
const STANDARD_OUTPUT = "-";

/** The command with its options. */
export function define(): Command {
  return newCommand("bundle", "collect what a bug report needs, without names and addresses")
    .option("-o, --output <file>", "archive to write, .tar.gz; - for standard output")
    .option("--list", "print what it would contain, and write nothing")
    .option("--no-anonymise", "keep addresses and names; secrets are taken out all the same")
    .option("--log <file...>", "further log files to add")
    .option("--json", "print the list of contents as JSON")
    .option("--config <file>", `configuration (default: ${CONFIGURATION_FILE})`)
    .option("--run <dir>", "run folder of the system to ask (default: that of the configuration)");
}

/** Runs the command; resolves to the exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const { options } = parsed;
  const order = orderOf(options);
  const collected = await collect(bundleSources(order));
  const { texts, counts } = finish(collected.texts, order, options.anonymise !== false);
  const entries: ManifestEntry[] = texts.map((text) => {
    const found = collected.texts.find(({ name }) => name === text.name)!;
    return { name: text.name, what: found.what, bytes: byteLength(text.text), isCut: found.isCut };
  });
  const manifest = { entries, missing: collected.missing, counts, kept: keptNetworks(order) };
  const output = (options.output as string | undefined) ?? defaultName(new Date());
  if (options.list !== true) {
    const status = write(output, [
      { name: "MANIFEST.txt", text: manifestText(manifest) },
      ...texts,
    ]);
    if (status !== EXIT_OK) return status;
  }
  const file = options.list === true ? undefined : output;
  const say = output === STANDARD_OUTPUT && file !== undefined ? process.stderr : process.stdout;
  say.write(
    options.json === true
      ? `${printableJson(JSON.stringify({ file: file ?? null, ...manifest }, null, 2))}\n`
      : printableLines(reportText(manifest, file)),
  );
  return EXIT_OK;
}

/** A configuration that cannot be read is a part of the fault: the defaults stand in. */
function orderOf(options: Readonly<Record<string, unknown>>): BundleOrder {
  const config = options.config as string | undefined;
  let configuration: UpConfiguration;
  try {
    configuration = loadConfiguration(config, new Map());
  } catch (error) {
    if (!(error instanceof ConfigurationRefused)) throw error;
    process.stderr.write(`${error.message}\n`);
    const preset = readConfiguration({ file: "", text: "", flags: new Map() });
    if (!preset.ok) throw error;
    configuration = preset.configuration;
  }
  return {
    configuration,
    configFile: config ?? CONFIGURATION_FILE,
    runFolder: (options.run as string | undefined) ?? configuration.files.run,
    logFiles: (options.log as string[] | undefined) ?? [],
  };
}

interface Collected extends NamedText {
  readonly what: string;
  readonly isCut: boolean;
}

/** Asks all sources at once; their order stays. */
async function collect(sources: readonly BundleSource[]): Promise<{
  readonly texts: readonly Collected[];
  readonly missing: readonly { readonly name: string; readonly reason: string }[];
}> {
  const results = await Promise.allSettled(sources.map((source) => source.read()));
  const texts: Collected[] = [];
  const missing: { name: string; reason: string }[] = [];
  let left = TOTAL_BYTES_MAX;
  for (const [index, result] of results.entries()) {
    const { name, what, format, hasNames, keeps } = sources[index]!;
    if (result.status === "rejected") {
      missing.push({ name, reason: reasonOf(result.reason) });
      continue;
    }
    const text = cut(result.value, Math.min(DOCUMENT_BYTES_MAX, left), keeps);
    left -= byteLength(text);
    texts.push({ name, what, format, hasNames, text, isCut: text !== result.value });
  }
  return { texts, missing };
}

function reasonOf(error: unknown): string {
  if (error instanceof ControlUnavailable && error.exitStatus === EXIT_NOT_RUNNING) {
    return "it does not run, or has another run folder (--run)";
  }
  const { code, message } = error as NodeJS.ErrnoException;
  const [line] = (message ?? String(error)).split("\n");
  return code === "ENOENT" ? "there is none" : printable(line!);
}

/** Whole lines of one end, at most `bytesMax` octets. */
function cut(text: string, bytesMax: number, keeps: "head" | "tail"): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= bytesMax) return text;
  const part = keeps === "head" ? bytes.subarray(0, bytesMax) : bytes.subarray(-bytesMax);
  const shown = part.toString();
  const line = keeps === "head" ? shown.lastIndexOf("\n") : shown.indexOf("\n");
  if (line < 0) return "";
  return keeps === "head" ? shown.slice(0, line + 1) : shown.slice(line + 1);
}

/** Without secrets, and anonymous unless that is switched off. */
function finish(
  texts: readonly Collected[],
  order: BundleOrder,
  isAnonymous: boolean,
): { readonly texts: readonly NamedText[]; readonly counts: AnonymisedCounts | undefined } {
  if (!isAnonymous) {
    const clean = texts.map((each) => ({ ...each, text: withoutSecrets(each.text).text }));
    return { texts: clean, counts: undefined };
  }
  return anonymise(texts, {
    drawKey: () => randomBytes(KEY_BYTES),
    kept: [parsePrefix(order.configuration.gateway["encode-net"])!],
    words: tellingWords(order, hostname()),
  });
}

function keptNetworks({ configuration }: BundleOrder): string {
  return formatPrefix(parsePrefix(configuration.gateway["encode-net"])!);
}

/** `ipref-bundle-20260131-120000.tar.gz`. */
function defaultName(now: Date): string {
  const digits = now.toISOString().replace(/\D/g, "");
  return `ipref-bundle-${digits.slice(0, 8)}-${digits.slice(8, 14)}.tar.gz`;
}

function write(
  output: string,
  documents: readonly { readonly name: string; readonly text: string }[],
): number {
  const files = documents.map(({ name, text }) => ({
    name: `ipref-bundle/${name}`,
    content: new TextEncoder().encode(text),
  }));
  const archive = gzipSync(tarArchive(files, Date.now() / 1000));
  if (output === STANDARD_OUTPUT) {
    if (process.stdout.isTTY === true) {
      process.stderr.write("An archive is nothing for a terminal: name a file with -o FILE\n");
      return EXIT_FAILED;
    }
    process.stdout.write(archive);
    return EXIT_OK;
  }
  try {
    writeFileSync(output, archive, { flag: "wx", mode: 0o600 });
    return EXIT_OK;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const fix =
      code === "EEXIST"
        ? "it exists; name another file with -o FILE"
        : `${code}; -o FILE writes elsewhere`;
    process.stderr.write(`Cannot write ${output}: ${fix}\n`);
    return code === "EACCES" || code === "EPERM" ? EXIT_NO_PERMISSION : EXIT_FAILED;
  }
}

function byteLength(text: string): number {
  return Buffer.byteLength(text);
}
