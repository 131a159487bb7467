/**
 * One zone and the file it comes from: reads, checks and replaces (spec/resolver.md 2.7, 3.2, 3.4).
 * Parse errors keep the old zone; a file that cannot be opened is tried again.
 */

import type { Name } from "../../wire/dns/name.js";
import { ProblemList } from "../corefile/parser.js";
import { formatProblem, type Problem } from "../corefile/structure.js";
import type { Environment, FileStamp, LogLevel } from "../ports.js";
import { parseMasterFile } from "./master-file.js";
import { isSerialNewer } from "./serial.js";
import type { Zone } from "./zone.js";
import { buildZone } from "./zone-checks.js";

/** What became of one attempt to load. */
export interface LoadResult {
  /** The new version, when there is one. */
  readonly loaded: Zone | undefined;
  readonly problems: readonly Problem[];
  readonly notes: readonly { readonly level: LogLevel; readonly text: string }[];
  /** Why the server must not start with this zone. */
  readonly fatal: string | undefined;
}

const UNCHANGED: LoadResult = { loaded: undefined, problems: [], notes: [], fatal: undefined };

export class ZoneFile {
  readonly path: string;
  readonly origin: Name;
  /** 0: never. */
  readonly reloadMs: number;
  readonly #environment: Environment;
  #zone: Zone | undefined;
  #stamps = new Map<string, FileStamp>();

  constructor(path: string, origin: Name, reloadMs: number, environment: Environment) {
    this.path = path;
    this.origin = origin;
    this.reloadMs = reloadMs;
    this.#environment = environment;
  }

  /** The version in force; undefined: never loaded. */
  get zone(): Zone | undefined {
    return this.#zone;
  }

  /** Reads the file if it, or a file it includes, changed. */
  async load(): Promise<LoadResult> {
    if (this.#stamps.size > 0 && !(await this.#isChanged())) return UNCHANGED;
    const stamps = new Map<string, FileStamp>();
    const readFile = async (path: string) => {
      const result = await this.#environment.files.read(path);
      if (!result.ok) return { error: result.error };
      stamps.set(path, result.stamp);
      return { bytes: result.bytes };
    };
    const content = await readFile(this.path);
    if ("error" in content) return this.#unreadable(content.error);
    const list = new ProblemList();
    const records = await parseMasterFile(content.bytes, this.path, this.origin, readFile, list);
    const zone = list.hasErrors ? undefined : buildZone(this.origin, records, this.path, list);
    this.#stamps = stamps;
    if (zone !== undefined) return this.#replace(zone, list.problems);
    const errors = list.problems.filter((problem) => problem.severity === "error");
    const fatal = errors.map(formatProblem).join("\n");
    return { loaded: undefined, problems: list.problems, notes: [], fatal };
  }

  async #isChanged(): Promise<boolean> {
    for (const [path, old] of this.#stamps) {
      const stamp = await this.#environment.files.stamp(path);
      if (stamp === undefined) return true;
      if (stamp.modifiedMs !== old.modifiedMs || stamp.sizeBytes !== old.sizeBytes) return true;
      if (stamp.inode !== old.inode) return true;
    }
    return false;
  }

  /** A warning, and an error without `reload` (spec/resolver.md 2.7). */
  #unreadable(error: string): LoadResult {
    this.#stamps.clear();
    const text = `Cannot open the zone file ${this.path} of ${this.origin}: ${error}`;
    const fatal = this.reloadMs === 0 && this.#zone === undefined ? text : undefined;
    return { ...UNCHANGED, notes: [{ level: "WARNING", text }], fatal };
  }

  #replace(zone: Zone, problems: readonly Problem[]): LoadResult {
    const old = this.#zone;
    const notes: { level: LogLevel; text: string }[] = [];
    if (old !== undefined && old.serial === zone.serial) {
      const change = `The file of zone ${this.origin} changed but its serial is still`;
      const text = `${change} ${zone.serial}: the edit is not served`;
      return { ...UNCHANGED, problems, notes: [{ level: "WARNING", text }] };
    }
    if (old !== undefined && !isSerialNewer(zone.serial, old.serial)) {
      const change = `went back from ${old.serial} to ${zone.serial}`;
      const text = `The serial of zone ${this.origin} ${change}: secondaries will not follow`;
      notes.push({ level: "WARNING", text });
    }
    this.#zone = zone;
    return { loaded: zone, problems, notes, fatal: undefined };
  }
}
