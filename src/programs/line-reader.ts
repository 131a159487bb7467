/** Lines of a stream whose writer is not trusted: what is too long is cut, and never kept whole. */

import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";

/** Gives each line without its end; of a longer one its first `charactersMax` characters. */
export function readLines(
  stream: Readable,
  charactersMax: number,
  take: (line: string) => void,
): void {
  const decoder = new StringDecoder("utf8");
  let line = "";
  const add = (text: string): void => {
    const room = charactersMax - line.length;
    if (room > 0) line += text.slice(0, room);
  };
  const end = (): void => {
    const whole = line.endsWith("\r") ? line.slice(0, -1) : line;
    line = "";
    take(whole);
  };
  stream.on("data", (piece: Buffer) => {
    const [first = "", ...others] = decoder.write(piece).split("\n");
    add(first);
    for (const next of others) {
      end();
      add(next);
    }
  });
  stream.once("end", () => {
    if (line !== "") end();
  });
}
