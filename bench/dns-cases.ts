// The cases of the DNS server benchmark: Corefile, names, and what the original did (CoreDNS 1.12.1
// with the IPREF plugin, two cores, figures of the specification of this server).

export const NAMES = 1000;
/** Where the upstream server listens. */
export const KNOT_PORT = 5353;

/** One row of the table. */
export interface Case {
  readonly key: string;
  readonly title: string;
  readonly corefile: string;
  readonly names: readonly string[];
  /** Queries a second and p99 at 1,000/s of the original. */
  readonly original: { readonly queries: number; readonly p99Ms: number };
  /** Wanted part of the original's queries a second. */
  readonly target: number;
}

export const IPREF = `ipref {
        upstream 127.0.0.1:${KNOT_PORT}
        mapper MAPPER
    }`;
export const FORWARD = `forward . 127.0.0.1:${KNOT_PORT}`;

export const block = (...lines: string[]) => `.:53 {\n    ${lines.join("\n    ")}\n}\n`;
export const many = (prefix: string) =>
  Array.from({ length: NAMES }, (_, index) => `${prefix}${index}.example.com`);

export const CASES: readonly Case[] = [
  {
    key: "aa",
    title: "AA name, no cache",
    corefile: block(IPREF),
    names: ["aa0.example.com"],
    original: { queries: 12_200, p99Ms: 0.78 },
    target: 1.5,
  },
  {
    key: "aa1000",
    title: "1,000 AA names, no cache",
    corefile: block(IPREF),
    names: many("aa"),
    original: { queries: 13_600, p99Ms: 1.01 },
    target: 1.5,
  },
  {
    key: "aaCache",
    title: "AA names, cache",
    corefile: block("cache", IPREF),
    names: many("aa"),
    original: { queries: 93_000, p99Ms: 0.33 },
    target: 1,
  },
  {
    key: "forward",
    title: "forwarded, no cache",
    corefile: block(FORWARD),
    names: many("plain"),
    original: { queries: 49_000, p99Ms: 0.36 },
    target: 0.8,
  },
  {
    key: "forwardCache",
    title: "forwarded, cache",
    corefile: block("cache", FORWARD),
    names: many("plain"),
    original: { queries: 90_000, p99Ms: 0.29 },
    target: 1,
  },
  {
    key: "noAa",
    title: "ipref, forward, no AA",
    corefile: block(IPREF, FORWARD),
    names: many("plain"),
    original: { queries: 21_900, p99Ms: 0.68 },
    target: 1.5,
  },
  {
    key: "file",
    title: "authoritative, file",
    corefile: "example.com:53 {\n    file example.com.zone\n}\n",
    names: many("plain"),
    original: { queries: 64_000, p99Ms: 0.3 },
    target: 1,
  },
];
