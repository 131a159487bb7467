/** Files for the DNS server: zone and hosts files, the Corefile and its imports. */

import { readdir, readFile, stat } from "node:fs/promises";
import type { ImportSource } from "../dns/corefile/import.js";
import type { FileStamp, Files } from "../dns/ports.js";

/** errno(3) in plain words, for what happens to files. */
const MEANINGS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EISDIR: "it is a directory",
  ENOENT: "there is no such file",
  ENOTDIR: "a part of the path is not a directory",
};

/** Files of the machine. */
export const systemFiles: Files = {
  async read(path) {
    try {
      const [bytes, info] = await Promise.all([readFile(path), stat(path)]);
      return { ok: true, bytes, stamp: stampOf(info) };
    } catch (error) {
      return { ok: false, error: reasonOf(error) };
    }
  },
  async stamp(path) {
    try {
      return stampOf(await stat(path));
    } catch {
      return undefined;
    }
  },
  async list(directory) {
    try {
      const entries = await readdir(directory, { withFileTypes: true, recursive: true });
      const files = entries.filter((entry) => entry.isFile() || entry.isSymbolicLink());
      return files.map((entry) => relativeTo(directory, entry.path, entry.name)).sort();
    } catch {
      return undefined;
    }
  },
};

/** Imports of a Corefile. */
export const systemImports: ImportSource = {
  async read(path) {
    try {
      return { text: await readFile(path, "utf8") };
    } catch (error) {
      return { error: reasonOf(error) };
    }
  },
  async entries(directory) {
    try {
      return await readdir(directory);
    } catch {
      return undefined;
    }
  },
};

/** Everything that arrives on standard input (`-conf stdin`). */
export async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

/** Why a file operation failed, in plain words. */
export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  const meaning = MEANINGS[code];
  return meaning === undefined ? code : `${meaning} (${code})`;
}

function stampOf(info: { mtimeMs: number; size: number; ino: number }): FileStamp {
  return { modifiedMs: info.mtimeMs, sizeBytes: info.size, inode: info.ino };
}

function relativeTo(directory: string, parent: string, name: string): string {
  const base = directory.endsWith("/") ? directory : `${directory}/`;
  return parent.startsWith(base) ? `${parent.slice(base.length)}/${name}` : name;
}
