/** What a bundle contains, for its reader and for its sender. Pure. */

import { shellWord } from "../../control/doctor/finding.js";
import type { AnonymisedCounts } from "./anonymise.js";

/** One document. */
export interface ManifestEntry {
  readonly name: string;
  readonly what: string;
  readonly bytes: number;
  /** It was too long; an end of it is there. */
  readonly isCut: boolean;
}

/** The contents of a bundle. */
export interface Manifest {
  readonly entries: readonly ManifestEntry[];
  readonly missing: readonly { readonly name: string; readonly reason: string }[];
  /** Undefined: not anonymous. */
  readonly counts: AnonymisedCounts | undefined;
  /** Networks whose addresses stay. */
  readonly kept: string;
}

/** The list that goes into the bundle. It names no file of the machine: those could tell. */
export function manifestText(manifest: Manifest): string {
  const rows = manifest.entries.map(
    ({ name, bytes, isCut }) => `${name.padEnd(24)} ${sizeText(bytes)}${isCut ? "  cut" : ""}`,
  );
  const missing = manifest.missing.map(({ name }) => `${name.padEnd(24)} left out`);
  return `${[...rows, ...missing, "", ...privacyLines(manifest), ""].join("\n")}`;
}

/** The list for the sender; `file` is where the bundle is, undefined when none was written. */
export function reportText(manifest: Manifest, file: string | undefined): string {
  const rows = manifest.entries.map(
    ({ name, what, bytes, isCut }) =>
      `  ${name.padEnd(24)} ${sizeText(bytes)}  ${what}${isCut ? " (cut)" : ""}`,
  );
  const missing = manifest.missing.map(({ name, reason }) => `  ${name.padEnd(24)} ${reason}`);
  const head = file === undefined ? "A bundle would contain:" : `Written to ${file}. It contains:`;
  const look =
    file === undefined || file === "-"
      ? []
      : [
          "",
          "Please look through it before you send it:",
          `  tar -xzf ${shellWord(file)} && less ipref-bundle/*`,
        ];
  return [
    head,
    ...rows,
    ...(missing.length === 0 ? [] : ["", "Left out:", ...missing]),
    "",
    ...privacyLines(manifest),
    ...look,
    "",
  ].join("\n");
}

function privacyLines({ counts, kept }: Manifest): readonly string[] {
  if (counts === undefined) {
    return [
      "NOT anonymous: addresses and names of the machine and its peers are in it. Secrets are",
      "taken out as far as they can be recognised.",
    ];
  }
  const { addresses, names, macs, secrets } = counts;
  return [
    `Replaced: ${addresses} addresses, ${names} names, ${macs} MAC addresses; taken out: ${secrets} secrets.`,
    "Addresses with a common prefix still have one, private ones are still private, and equal",
    `ones are equal in all files. Loopback, documentation and encode net (${kept}) stay.`,
  ];
}

function sizeText(bytes: number): string {
  return `${(bytes / 1000).toFixed(1).padStart(8)} kB`;
}
