/** promtool of Debian's package prometheus, when it is installed. */

import { spawnSync } from "node:child_process";

const TIMEOUT_MS = 30_000;

/** True when promtool can be run. */
export const hasPromtool =
  spawnSync("promtool", ["--version"], { timeout: TIMEOUT_MS }).status === 0;

/** Reason to leave a test out, for node:test's `skip`. */
export const WITHOUT_PROMTOOL = hasPromtool ? false : "promtool is not installed";

/** Runs promtool; complaints, empty when it is content. */
export function promtool(args: readonly string[], input = ""): string {
  const result = spawnSync("promtool", [...args], { input, encoding: "utf8", timeout: TIMEOUT_MS });
  return result.status === 0 ? "" : `${result.stdout}${result.stderr}` || "failed";
}

/** What `promtool check metrics` has to say about a page. */
export function complaintsAboutPage(text: string): string {
  const result = spawnSync("promtool", ["check", "metrics"], {
    input: text,
    encoding: "utf8",
    timeout: TIMEOUT_MS,
  });
  return `${result.stdout}${result.stderr}`;
}
