/**
 * Reads and replaces files in folders where others than the caller may write, such as the service's
 * user, while the caller is root as a rule: a link of theirs must not bring in a file that they
 * cannot read, nor lead a new text elsewhere; a pipe must not wait; and no file is read beyond a
 * bound.
 */

import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";

const PIECE_BYTES = 65_536;
/** A local zone with 100,000 names has 6 MB. */
const FILE_BYTES_MAX = 64 * 2 ** 20;

/** A file that is not read; the message says why. */
export class FileUntrusted extends Error {
  override readonly name = "FileUntrusted";
}

/** The text of a file, or `bytesMax` octets of one end; throws with the reason. */
export function readTrusted(
  path: string,
  bytesMax = FILE_BYTES_MAX,
  keeps: "head" | "tail" = "head",
): string {
  const file = openTrusted(path);
  try {
    const facts = fstatSync(file);
    if (!facts.isFile()) throw new FileUntrusted(`${path} is no regular file`);
    // Files of /proc have size 0.
    const skipped = keeps === "tail" ? Math.max(0, facts.size - bytesMax) : 0;
    return readFrom(file, skipped, bytesMax).toString("utf8");
  } finally {
    closeSync(file);
  }
}

/**
 * Replaces a file as a whole: readers see the old text or the new one. What lies in the way of the
 * new file is removed, not written to.
 */
export function replaceFile(path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  const next = `${path}.new`;
  rmSync(next, { force: true });
  writeFileSync(next, text, { flag: "wx", mode });
  renameSync(next, path);
}

/** Does not wait for the writer of a pipe, and follows no link of another user but root. */
function openTrusted(path: string): number {
  const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;
  try {
    return openSync(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ELOOP") throw error;
  }
  const { uid } = lstatSync(path);
  if (uid !== 0 && uid !== process.geteuid?.()) {
    throw new FileUntrusted(`${path} is a link that belongs to user ${uid}`);
  }
  return openSync(path, O_RDONLY | O_NONBLOCK);
}

function readFrom(file: number, position: number, bytesMax: number): Buffer {
  const pieces: Buffer[] = [];
  let bytes = 0;
  while (bytes < bytesMax) {
    const piece = Buffer.alloc(Math.min(PIECE_BYTES, bytesMax - bytes));
    const length = readSync(file, piece, 0, piece.length, position + bytes);
    if (length === 0) break;
    pieces.push(piece.subarray(0, length));
    bytes += length;
  }
  return Buffer.concat(pieces);
}
