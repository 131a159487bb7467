/**
 * Serves zones from files: the handler behind `file` and `auto`. Loads at start, looks for changes
 * every interval, replaces a zone in one step (spec/resolver.md 3.4).
 */

import { type Name, parentKey, parseName } from "../../wire/dns/name.js";
import { RCODE_SERVFAIL, TYPE_DS } from "../../wire/dns/numbers.js";
import { type ResourceRecord, sameData } from "../../wire/dns/record.js";
import {
  type Answer,
  answerOf,
  failure,
  NO_HANDLER,
  type RecordsAnswer,
  type Reply,
} from "../answer.js";
import { formatProblem } from "../corefile/structure.js";
import { type BuildContext, type Handler, type Next, whenAnswered } from "../plugin.js";
import type { AutoDirectory } from "../plugins/auto/setup.js";
import type { ZoneFileSettings } from "../plugins/file/setup.js";
import type { Query } from "../query.js";
import { lookup } from "./lookup.js";
import type { ZoneSource, ZoneVersion } from "./source.js";
import type { Zone } from "./zone.js";
import { ZoneFile } from "./zone-file.js";

const UNLOADED = failure(RCODE_SERVFAIL, "the zone is not loaded");

export class ZoneFilesHandler implements Handler {
  readonly name: string;
  readonly zoneSource: ZoneSource;
  readonly #context: BuildContext;
  readonly #directories: readonly AutoDirectory[];
  /** By origin key. */
  readonly #files = new Map<string, ZoneFile>();
  readonly #listeners: ((version: ZoneVersion) => void)[] = [];
  readonly #cancels = new Set<() => void>();
  #isStarted = false;

  private constructor(name: string, directories: readonly AutoDirectory[], context: BuildContext) {
    this.name = name;
    this.#context = context;
    this.#directories = directories;
    this.zoneSource = {
      version: (key) => this.#files.get(key)?.zone,
      versions: () => [...this.#files.values()].flatMap((file) => file.zone ?? []),
      onLoaded: (listener) => this.#listeners.push(listener),
    };
  }

  /** Handler of `file`; a zone named twice is read from the first file. */
  static forFiles(files: readonly ZoneFileSettings[], context: BuildContext): ZoneFilesHandler {
    const handler = new ZoneFilesHandler("file", [], context);
    for (const { path, zones, reloadMs } of files) {
      for (const zone of zones) handler.#addFile(path, zone, reloadMs);
    }
    return handler;
  }

  /** Handler of `auto`. */
  static forDirectories(
    directories: readonly AutoDirectory[],
    context: BuildContext,
  ): ZoneFilesHandler {
    return new ZoneFilesHandler("auto", directories, context);
  }

  async start(): Promise<string | undefined> {
    await this.#scanDirectories();
    const complaints: string[] = [];
    for (const file of this.#files.values()) {
      const complaint = await this.#load(file);
      if (complaint !== undefined) complaints.push(complaint);
    }
    this.#isStarted = true;
    for (const file of this.#files.values()) this.#watch(file);
    for (const directory of this.#directories) this.#watchDirectory(directory);
    // A broken file in a directory must not keep the others from being served.
    return this.name === "file" && complaints.length > 0 ? complaints.join("\n") : undefined;
  }

  stop(): void {
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }

  async reload(): Promise<void> {
    await this.#scanDirectories();
    for (const file of this.#files.values()) await this.#load(file);
  }

  isReady(): boolean {
    return this.#isStarted && [...this.#files.values()].every((file) => file.zone !== undefined);
  }

  handle(query: Query, next: Next): Reply {
    const file = this.#select(query.name.key, query.type);
    if (file === undefined) return next(query);
    if (file.zone === undefined) return UNLOADED;
    const { answer, target } = lookup(file.zone, query.name, query.type);
    return target === undefined ? answer : this.#continue(query, answer as RecordsAnswer, target);
  }

  /** The zone with the longest match; for DS at an apex the parent zone if it is served here. */
  #select(nameKey: string, type: number): ZoneFile | undefined {
    let own: ZoneFile | undefined;
    for (let key: string | undefined = nameKey; key !== undefined; key = parentKey(key)) {
      const file = this.#files.get(key);
      if (file === undefined) continue;
      if (type !== TYPE_DS || key !== nameKey) return file;
      own = file;
    }
    return own;
  }

  /** The chain leaves the zone: the rest comes from the server itself (spec/resolver.md 3.3). */
  #continue(query: Query, found: RecordsAnswer, target: Name): Reply {
    const reply = this.#context.resolve(query, target, query.type);
    if (reply === undefined) return found;
    return whenAnswered(reply, (rest) => joinAnswers(found, rest));
  }

  #addFile(path: string, zone: Name, reloadMs: number): void {
    if (this.#files.has(zone.key)) return;
    this.#files.set(zone.key, new ZoneFile(path, zone, reloadMs, this.#context.environment));
  }

  /** Loads one file; returns what must stop the start. */
  async #load(file: ZoneFile): Promise<string | undefined> {
    const result = await file.load();
    const { log } = this.#context.environment;
    for (const problem of result.problems) {
      const level = problem.severity === "error" ? "ERROR" : "WARNING";
      log.write(level, this.name, formatProblem(problem));
    }
    for (const note of result.notes) log.write(note.level, this.name, note.text);
    if (result.loaded !== undefined) this.#announce(result.loaded);
    return result.fatal;
  }

  #announce(zone: Zone): void {
    const { log } = this.#context.environment;
    const size = `${zone.recordCount} records`;
    const text = `Loaded zone ${zone.origin} with serial ${zone.serial}, ${size}`;
    log.write("INFO", this.name, text);
    for (const listener of this.#listeners) listener(zone);
  }

  #after(delayMs: number, action: () => Promise<void>): void {
    const cancel = this.#context.environment.timers.after(delayMs, () => {
      this.#cancels.delete(cancel);
      void action();
    });
    this.#cancels.add(cancel);
  }

  #watch(file: ZoneFile): void {
    if (file.reloadMs === 0) return;
    this.#after(file.reloadMs, async () => {
      if (this.#files.get(file.origin.key) !== file) return;
      await this.#load(file);
      this.#watch(file);
    });
  }

  #watchDirectory(directory: AutoDirectory): void {
    if (directory.reloadMs === 0) return;
    this.#after(directory.reloadMs, async () => {
      const added = await this.#scanDirectories();
      for (const file of added) {
        await this.#load(file);
        this.#watch(file);
      }
      this.#watchDirectory(directory);
    });
  }

  /** Adds zones of new files and removes those of files that are gone; returns the new ones. */
  async #scanDirectories(): Promise<readonly ZoneFile[]> {
    if (this.#directories.length === 0) return [];
    const wanted = new Map<string, { path: string; zone: Name; reloadMs: number }>();
    for (const directory of this.#directories) {
      for (const [path, zone] of await this.#zonesOf(directory)) {
        if (!wanted.has(zone.key))
          wanted.set(zone.key, { path, zone, reloadMs: directory.reloadMs });
      }
    }
    const added: ZoneFile[] = [];
    for (const key of [...this.#files.keys()]) if (!wanted.has(key)) this.#files.delete(key);
    for (const [key, { path, zone, reloadMs }] of wanted) {
      if (this.#files.has(key)) continue;
      this.#addFile(path, zone, reloadMs);
      added.push(this.#files.get(key)!);
    }
    return added;
  }

  /** Paths and origins of the files whose names match. */
  async #zonesOf(directory: AutoDirectory): Promise<readonly (readonly [string, Name])[]> {
    const { files, log } = this.#context.environment;
    const names = await files.list(directory.path);
    if (names === undefined) {
      log.write("WARNING", this.name, `Cannot read the directory ${directory.path}`);
      return [];
    }
    return names.flatMap((name) => {
      const match = directory.pattern.exec(name.slice(name.lastIndexOf("/") + 1));
      if (match === null) return [];
      const text = directory.origin.replace(/\{([0-9]+)\}/g, (_, index) => match[index] ?? "");
      const parsed = parseName(text);
      if (!parsed.ok || !directory.zones.some((zone) => parsed.name.isWithin(zone))) return [];
      return [[`${directory.path}/${name}`, parsed.name]];
    });
  }
}

/** Records found so far, then those of the target; the code is that of the last step (RFC 6604). */
function joinAnswers(found: RecordsAnswer, rest: Answer): Answer {
  if (rest === NO_HANDLER) return found;
  if (rest.kind !== "records") return found;
  const isNew = (record: ResourceRecord) => !found.answer.some((old) => sameRecord(old, record));
  return answerOf({
    ...rest,
    flags: found.flags,
    answer: [...found.answer, ...rest.answer.filter(isNew)],
  });
}

/** A chain that comes back to a name brings its records again. */
function sameRecord(a: ResourceRecord, b: ResourceRecord): boolean {
  return a.type === b.type && a.owner.equals(b.owner) && sameData(a.data, b.data);
}
