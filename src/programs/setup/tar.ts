/**
 * Writes tar archives, POSIX.1-1988 ustar: blocks of 512 octets, a header before each file, two
 * empty blocks at the end. Pure.
 *
 *   name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | checksum 8 | type 1 | link 100 |
 *   "ustar\0" 6 | "00" 2 | user 32 | group 32 | device 16 | prefix 155 | padding 12
 */

const BLOCK_BYTES = 512;
const NAME_BYTES_MAX = 100;
/** Largest size that eleven octal digits hold. */
const SIZE_MAX = 8 ** 11 - 1;
const CHECKSUM_OFFSET = 148;
const CHECKSUM_BYTES = 8;

/** One regular file. */
export interface ArchiveFile {
  /** At most 100 octets of ASCII, relative. */
  readonly name: string;
  readonly content: Uint8Array;
}

/** The archive; all files belong to root and have mode 0644. */
export function tarArchive(files: readonly ArchiveFile[], mtimeSeconds: number): Uint8Array {
  const pieces = files.flatMap(({ name, content }) => [
    header(name, content.length, mtimeSeconds),
    content,
    new Uint8Array((BLOCK_BYTES - (content.length % BLOCK_BYTES)) % BLOCK_BYTES),
  ]);
  pieces.push(new Uint8Array(2 * BLOCK_BYTES));
  const archive = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const piece of pieces) {
    archive.set(piece, offset);
    offset += piece.length;
  }
  return archive;
}

function header(name: string, size: number, mtimeSeconds: number): Uint8Array {
  if (name.length > NAME_BYTES_MAX || size > SIZE_MAX) throw new RangeError(`too large: ${name}`);
  const block = new Uint8Array(BLOCK_BYTES);
  const put = (offset: number, text: string): void => {
    block.set(new TextEncoder().encode(text), offset);
  };
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  put(0, name);
  put(100, octal(0o644, 7));
  put(108, octal(0, 7));
  put(116, octal(0, 7));
  put(124, octal(size, 11));
  put(136, octal(Math.floor(mtimeSeconds), 11));
  put(CHECKSUM_OFFSET, " ".repeat(CHECKSUM_BYTES));
  put(156, "0");
  put(257, "ustar\0" + "00");
  put(265, "root");
  put(297, "root");
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(CHECKSUM_OFFSET, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}
