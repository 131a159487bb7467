/**
 * Watches one file that others edit, replace, delete and make again (spec/mapper.md 5.4): the hosts
 * file. Main thread.
 *
 * The parent directory is watched and events are filtered by name, so that a file renamed over it
 * or made anew is noticed; fs.watch is inotify(7). A poll of inode, size and modification time
 * covers symbolic links, network file systems, and a parent directory that does not exist yet.
 * Each change restarts a pause; the callback comes after the pause, or at the ceiling when changes
 * do not stop. Reading the file is the callback's business.
 */

import { type FSWatcher, statSync, watch } from "node:fs";
import { basename, dirname } from "node:path";

/** Pause after the last change: spec/mapper.md 5.4. */
export const DEBOUNCE_MS = 4765;
/** Longest wait while changes go on: spec/mapper.md 5.4. */
export const DEBOUNCE_CEILING_MS = 30_000;
/** Time between two looks at the modification time: spec/mapper.md 5.4. */
export const POLL_MS = 60_000;

/** Timings; the defaults are those of the specification. */
export interface WatchTimings {
  readonly debounceMs?: number;
  readonly ceilingMs?: number;
  readonly pollMs?: number;
}

/** A watch on one path, present or not. */
export class FileWatch {
  private readonly path: string;
  private readonly onChange: () => void;
  private readonly debounceMs: number;
  private readonly ceilingMs: number;
  private readonly poll: NodeJS.Timeout;
  private watcher: FSWatcher | undefined;
  private watchedDirectory = "";
  private lastSeen: string;
  private timer: NodeJS.Timeout | undefined;
  private firstChangeMs = 0;

  /** Starts watching; `onChange` is called for changes after this moment only. */
  constructor(path: string, onChange: () => void, timings: WatchTimings = {}) {
    this.path = path;
    this.onChange = onChange;
    this.debounceMs = timings.debounceMs ?? DEBOUNCE_MS;
    this.ceilingMs = timings.ceilingMs ?? DEBOUNCE_CEILING_MS;
    this.lastSeen = fingerprint(path);
    this.watchDirectory();
    this.poll = setInterval(() => this.look(), timings.pollMs ?? POLL_MS);
    this.poll.unref();
  }

  /** Ends the watch; no callback follows. */
  close(): void {
    clearInterval(this.poll);
    clearTimeout(this.timer);
    this.watcher?.close();
    this.watcher = undefined;
  }

  /** Compares the file with what was seen last, and the directory with the one being watched. */
  private look(): void {
    if (fingerprint(dirname(this.path), true) !== this.watchedDirectory) this.watchDirectory();
    const seen = fingerprint(this.path);
    if (seen === this.lastSeen) return;
    this.lastSeen = seen;
    this.changed();
  }

  private watchDirectory(): void {
    this.watcher?.close();
    this.watcher = undefined;
    const directory = dirname(this.path);
    const identity = fingerprint(directory, true);
    try {
      const watcher = watch(directory, { persistent: false }, (_event, name) => {
        if (name === null || name === basename(this.path)) this.changed();
      });
      watcher.on("error", () => watcher.close()); // the poll opens it again
      this.watcher = watcher;
      this.watchedDirectory = identity;
    } catch {
      this.watchedDirectory = ""; // absent or not readable: the poll tries again
    }
  }

  private changed(): void {
    const now = performance.now();
    if (this.timer === undefined) this.firstChangeMs = now;
    clearTimeout(this.timer);
    const ceilingLeftMs = this.firstChangeMs + this.ceilingMs - now;
    const waitMs = Math.max(0, Math.min(this.debounceMs, ceilingLeftMs));
    this.timer = setTimeout(() => this.report(), waitMs);
    this.timer.unref();
  }

  private report(): void {
    this.timer = undefined;
    this.lastSeen = fingerprint(this.path);
    this.onChange();
  }
}

/** A text that changes with the file behind the path; for a directory only its identity. */
function fingerprint(path: string, identityOnly = false): string {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
    return identityOnly ? `${dev}/${ino}` : `${dev}/${ino}/${size}/${mtimeMs}/${ctimeMs}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "unknown";
  }
}
