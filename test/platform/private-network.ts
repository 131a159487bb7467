/**
 * A network namespace for this test process alone: nothing here touches the machine's network, and
 * the kernel removes all of it when the process ends.
 */

import { execFileSync } from "node:child_process";
import koffi from "koffi";

const CLONE_NEWNET = 0x40000000; // sched.h

/** Why namespace tests cannot run here, or false. */
export const SKIP_WITHOUT_ROOT: string | false =
  process.getuid?.() === 0 ? false : "needs root for a network namespace";

/** Moves this process into a new namespace with only the loopback interface, brought up. */
export function enterPrivateNetwork(): void {
  const unshare = koffi.load("libc.so.6").func("int unshare(int)");
  if (unshare(CLONE_NEWNET) !== 0) throw new Error("unshare failed");
  run("ip", "link", "set", "lo", "up");
}

/** Runs a program in the namespace and returns its output. */
export function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: "utf8", timeout: 10_000, stdio: "pipe" });
}
