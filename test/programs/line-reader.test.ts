/** Lines of parts, whole and far too long. */

import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { seededRandom } from "../../src/base/random.js";
import { readLines } from "../../src/programs/line-reader.js";

async function linesOf(pieces: Iterable<Buffer>, charactersMax: number): Promise<string[]> {
  const lines: string[] = [];
  const stream = Readable.from(pieces);
  readLines(stream, charactersMax, (line) => lines.push(line));
  await new Promise((resolve) => stream.once("close", resolve));
  return lines;
}

test("lines are the same however their octets arrive", async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = seededRandom(seed);
  const text = "one\n\nzwölf ☃\r\n𝄞 last";
  const bytes = Buffer.from(text);
  for (let round = 0; round < 200; round++) {
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = 1 + (random.word() % 5);
      pieces.push(bytes.subarray(at, at + length));
      at += length;
    }
    const lines = await linesOf(pieces, 100);
    assert.deepEqual(lines, ["one", "", "zwölf ☃", "𝄞 last"], `seed ${seed}`);
  }
});

test("a line is cut at the bound, and the next one is whole", async () => {
  const long = Buffer.from(`${"x".repeat(50)}\nnext\n`);
  assert.deepEqual(await linesOf([long], 10), ["x".repeat(10), "next"]);
});

test("a line without end takes no memory", async () => {
  const piece = Buffer.alloc(2 ** 20, 0x61);
  function* pieces(): Generator<Buffer> {
    for (let count = 0; count < 600; count++) yield piece;
    yield Buffer.from("\nshort\n");
  }
  const lines = await linesOf(pieces(), 16_384);
  assert.deepEqual(
    lines.map(({ length }) => length),
    [16_384, 5],
  );
});
