/**
 * The data directory: created when missing, locked by one process at a time (spec/mapper.md 6.3:
 * take an exclusive lock first, touch nothing before). flock(2) on a file in it; the kernel
 * releases the lock when the process ends in any way, so a file left behind means nothing.
 */

import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import * as libc from "./libc.js";
import { processName, refused } from "./system-error.js";

const LOCK_EX = 2;
const LOCK_NB = 4;
const DIRECTORY_MODE = 0o770; // spec/mapper.md 6.1

/** Name of the lock file; it holds the process id of the owner. */
export const LOCK_FILE_NAME = "gateway.lock";

/** An exclusively locked directory. */
export interface DataDirectory {
  readonly path: string;
  release(): void;
}

/** Creates the directory if needed and locks it. Throws SystemCallError when it is taken. */
export function lockDataDirectory(path: string): DataDirectory {
  const action = `use the data directory ${path}`;
  const lockPath = join(path, LOCK_FILE_NAME);
  let fd: number;
  try {
    mkdirSync(path, { recursive: true, mode: DIRECTORY_MODE });
    fd = openSync(lockPath, "a+", 0o660);
  } catch (error) {
    throw fileRefusal(action, error);
  }
  if (libc.flock(fd, LOCK_EX | LOCK_NB) < 0) {
    closeSync(fd);
    const pid = readFileSync(lockPath, "utf8").trim();
    const holder = `another gateway has locked it: pid ${pid} (${processName(pid)})`;
    throw refused(action, "flock", "EBUSY", `${holder}; stop it or choose another directory`);
  }
  ftruncateSync(fd, 0);
  writeSync(fd, `${process.pid}\n`);
  return { path, release: () => closeSync(fd) };
}

/** Makes created, renamed and removed names of the directory durable. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** A file error as a refusal with advice; other errors as they are. */
export function fileRefusal(action: string, error: unknown): Error {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined) return error as Error;
  const advice =
    code === "EACCES" || code === "EPERM" || code === "EROFS"
      ? "make it readable and writable for the gateway's user, or choose another one"
      : "";
  return refused(action, syscall ?? "open", code, advice);
}
