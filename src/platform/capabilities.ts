/** Privileges of this process: capabilities(7), without asking for a user. */

import { readFileSync } from "node:fs";

// linux/capability.h
export const CAP_NET_BIND_SERVICE = 10;
export const CAP_NET_ADMIN = 12;
export const CAP_NET_RAW = 13;

/** Names of the capabilities above, as programs and units write them. */
const NAMES: Readonly<Record<number, string>> = {
  [CAP_NET_BIND_SERVICE]: "CAP_NET_BIND_SERVICE",
  [CAP_NET_ADMIN]: "CAP_NET_ADMIN",
  [CAP_NET_RAW]: "CAP_NET_RAW",
};

/** The effective set of a process's status file, proc_pid_status(5); empty when it has none. */
export function effectiveCapabilities(status: string): bigint {
  const [, digits] = /^CapEff:\s*([0-9a-f]{1,16})$/m.exec(status) ?? [];
  return digits === undefined ? 0n : BigInt(`0x${digits}`);
}

/** Names of those of `wanted` that this process lacks. */
export function missingCapabilities(wanted: readonly number[]): string[] {
  const have = effectiveCapabilities(readFileSync("/proc/self/status", "utf8"));
  return wanted
    .filter((number) => ((have >> BigInt(number)) & 1n) === 0n)
    .map((number) => NAMES[number] ?? `capability ${number}`);
}
