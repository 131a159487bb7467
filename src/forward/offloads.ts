/**
 * Offloads: work on several packets at once that the kernel and the gateway do for each other. A
 * plain value, handed to workers. What is asked for comes from the command line; what the machine
 * refuses is switched off one by one.
 */

/** All offloads, by the names of the command line. */
export const OFFLOAD_NAMES = ["csum", "tso", "uso", "gso", "gro"] as const;

export type OffloadName = (typeof OFFLOAD_NAMES)[number];

/** True for each offload in use. */
export interface Offloads extends Readonly<Record<OffloadName, boolean>> {
  /** TUN device: packets have a device header and may leave their checksum to the reader. */
  readonly csum: boolean;
  /** TUN device: super-packets of TCP, both ways. Needs `csum`. */
  readonly tso: boolean;
  /** TUN device: super-packets of UDP, both ways. Needs `csum`. */
  readonly uso: boolean;
  /** Tunnel socket: one message of many datagrams is sent (UDP_SEGMENT). */
  readonly gso: boolean;
  /** Tunnel socket: one message of many datagrams is received (UDP_GRO). */
  readonly gro: boolean;
}

export const ALL_OFFLOADS: Offloads = { csum: true, tso: true, uso: true, gso: true, gro: true };
export const NO_OFFLOADS: Offloads = {
  csum: false,
  tso: false,
  uso: false,
  gso: false,
  gro: false,
};

/** Reads "all", "none" or names separated by commas; undefined when it is something else. */
export function parseOffloads(text: string): Offloads | undefined {
  if (text === "all") return ALL_OFFLOADS;
  if (text === "none") return NO_OFFLOADS;
  const names = text.split(",").map((name) => name.trim());
  if (!names.every((name) => (OFFLOAD_NAMES as readonly string[]).includes(name))) return undefined;
  const has = (name: OffloadName): boolean => names.includes(name);
  const needsHeader = has("tso") || has("uso");
  return {
    csum: has("csum") || needsHeader,
    tso: has("tso"),
    uso: has("uso"),
    gso: has("gso"),
    gro: has("gro"),
  };
}

/** The names in use, or "none". */
export function formatOffloads(offloads: Offloads): string {
  return OFFLOAD_NAMES.filter((name) => offloads[name]).join(" ") || "none";
}
