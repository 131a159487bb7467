/** Version of the program, as package.json says: the file lies beside `dist`. */

import { readFileSync } from "node:fs";

let version: string | undefined;

/** The version; read once. */
export function programVersion(): string {
  version ??= read();
  return version;
}

function read(): string {
  const file = new URL("../../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
