/**
 * Loads the hosts file into the mapper, at start and after each change (spec/mapper.md 5.4). A
 * missing or unreadable file leaves the last good records in force. Complaints name file, line and
 * column; the other lines of the file stay in force.
 */

import { type Complaint, type HostsRecord, parseHosts } from "../mapper/hosts-file.js";
import type { HealthCheck } from "./health.js";
import type { Log } from "./log.js";
import type { Closable, FileText, Machine } from "./ports.js";

/** Complaints written in full; a file in another format must not fill the log. */
const COMPLAINTS_MAX = 50;
/** An unreadable file is tried again after this time. */
const RETRY_MS = 30_000;

/** Where records go; the mapper. Returns what is wrong with single records. */
export interface HostsTarget {
  installHosts(path: string, records: readonly HostsRecord[]): readonly Complaint[];
}

/** What the loader uses of the machine. */
export type HostsMachine = Pick<Machine, "readText" | "watchFile" | "every">;

/** Watches one hosts file. */
export class HostsLoader {
  readonly #path: string;
  readonly #target: HostsTarget;
  readonly #machine: HostsMachine;
  readonly #log: Log;
  #watch: Closable | undefined;
  #retry: Closable | undefined;
  #hasLoaded = false;
  #fault: string | undefined = "not loaded yet";

  constructor(path: string, target: HostsTarget, machine: HostsMachine, log: Log) {
    this.#path = path;
    this.#target = target;
    this.#machine = machine;
    this.#log = log;
  }

  /** What came of the last look at the file, for a health report. */
  get health(): HealthCheck {
    const name = `hosts file ${this.#path}`;
    if (this.#fault === undefined) return { name, state: "ok", detail: "loaded" };
    return { name, state: "degraded", detail: this.#fault };
  }

  /** Loads the file for the first time and watches it from now on. */
  start(): void {
    this.#watch = this.#machine.watchFile(this.#path, () => this.load());
    this.load();
  }

  /** Reads the file and installs its records. */
  load(): void {
    this.#retry?.close();
    this.#retry = undefined;
    const file = this.#machine.readText(this.#path);
    if (file.kind === "text") this.#install(file.text);
    else this.#keep(file);
  }

  close(): void {
    this.#watch?.close();
    this.#retry?.close();
  }

  #install(text: string): void {
    const { records, complaints } = parseHosts(text);
    const refused = this.#target.installHosts(this.#path, records);
    const all = [...complaints, ...refused].sort((a, b) => a.line - b.line);
    for (const complaint of all.slice(0, COMPLAINTS_MAX)) {
      this.#log.error(describeComplaint(this.#path, complaint), "hosts-mistake");
    }
    if (all.length > COMPLAINTS_MAX) {
      const text = `${this.#path}: ${all.length - COMPLAINTS_MAX} more lines with mistakes`;
      this.#log.error(text, "hosts-mistake");
    }
    const count = records.length - refused.length;
    this.#log.info(`loaded ${count} records of ${this.#path}`, "hosts-loaded");
    this.#hasLoaded = true;
    this.#fault = undefined;
  }

  /** Last good records stay; an unreadable file is tried again, a missing one is being watched. */
  #keep(file: Exclude<FileText, { kind: "text" }>): void {
    const kept = this.#hasLoaded ? "; its last records stay in force" : "; no records yet";
    const cause = file.kind === "missing" ? "does not exist" : `cannot be read (${file.reason})`;
    this.#fault = cause;
    this.#log.warning(`hosts file ${this.#path} ${cause}${kept}`, "hosts-unreadable");
    if (file.kind === "missing") return;
    this.#retry = this.#machine.every(RETRY_MS, () => this.load());
  }
}

/** `file:line:column: found ..., wanted ...`. */
export function describeComplaint(path: string, complaint: Complaint): string {
  const { line, column, found, wanted } = complaint;
  const place = `${path}:${line}${column === undefined ? "" : `:${column}`}`;
  return `${place}: found ${found}, wanted ${wanted}`;
}
