/** The age of the sources, for files that are made from them. */

import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("../", import.meta.url));

/** Seconds since 1970: SOURCE_DATE_EPOCH, or else the last commit, or else package.json. */
export function sourceDateSeconds() {
  const { SOURCE_DATE_EPOCH = "" } = process.env;
  if (/^[0-9]+$/.test(SOURCE_DATE_EPOCH)) return Number(SOURCE_DATE_EPOCH);
  try {
    const git = ["-c", "safe.directory=*", "-C", SOURCE, "log", "-1", "--format=%ct"];
    const options = { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] };
    return Number(execFileSync("git", git, options).trim());
  } catch {
    return Math.floor(statSync(join(SOURCE, "package.json")).mtimeMs / 1000);
  }
}
