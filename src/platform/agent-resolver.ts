/**
 * Name look-ups of the DNS agent: the system's way (hosts file, then the servers of resolv.conf),
 * or given servers only. Names are absolute, CNAMEs are followed. Main thread.
 *
 * Questions go through the resolver of Node (c-ares), which needs no thread of the pool, so that
 * thousands of names take no longer than their answers.
 */

import { Resolver as DnsResolver } from "node:dns/promises";
import { readFileSync } from "node:fs";
import type { AddressAnswer, Resolver, TextAnswer } from "../agent/ports.js";
import { formatIp, type IpAddress, type IpVersion, parseIp } from "../base/ip.js";

/** The reference waits as Go's resolver does, 5 s and twice; this is per try. */
const TRY_TIMEOUT_MS = 2000;
const TRIES = 2;

/** One server to ask. */
export interface ResolverServer {
  readonly address: IpAddress;
  readonly port: number;
}

/** A resolver with these servers only; neither hosts file nor search list counts. */
export function serverResolver(servers: readonly ResolverServer[]): Resolver {
  const resolver = newResolver();
  resolver.setServers(servers.map(({ address, port }) => serverText(address, port)));
  return resolverOf(resolver, () => []);
}

/** The resolver of this machine: hosts file first, then the servers of resolv.conf. */
export function systemResolver(hostsPath = "/etc/hosts"): Resolver {
  let resolver = newResolver();
  let configuration = readText("/etc/resolv.conf");
  const hosts = new HostsFile(hostsPath);
  const current = () => {
    const text = readText("/etc/resolv.conf");
    if (text !== configuration) resolver = newResolver(); // reads the file anew
    configuration = text;
    return resolver;
  };
  return {
    addresses: (name, version) =>
      resolverOf(current(), (...asked) => hosts.find(...asked)).addresses(name, version),
    texts: (name) => resolverOf(current(), () => []).texts(name),
  };
}

function newResolver(): DnsResolver {
  return new DnsResolver({ timeout: TRY_TIMEOUT_MS, tries: TRIES });
}

function serverText(address: IpAddress, port: number): string {
  const text = formatIp(address);
  return address.version === 4 ? `${text}:${port}` : `[${text}]:${port}`;
}

type FindInHosts = (name: string, version: IpVersion) => readonly IpAddress[];

function resolverOf(resolver: DnsResolver, findInHosts: FindInHosts): Resolver {
  return {
    async addresses(name, version) {
      const own = findInHosts(name, version);
      if (own.length > 0) return { kind: "found", addresses: own };
      try {
        const found = version === 4 ? await resolver.resolve4(name) : await resolver.resolve6(name);
        const addresses = found.flatMap((text) => parseIp(text) ?? []);
        if (addresses.length > 0) return { kind: "found", addresses };
        return { kind: "absent", reason: `it has no IPv${version} address` };
      } catch (error) {
        return failure(error, `it has no IPv${version} address`);
      }
    },
    async texts(name) {
      try {
        return { kind: "found", texts: (await resolver.resolveTxt(name)).map(octets) };
      } catch (error) {
        return failure(error, "it has no TXT record");
      }
    },
  };
}

/** Node decodes TXT as UTF-8; back to one character an octet. */
function octets(strings: string[]): string[] {
  return strings.map((text) => Buffer.from(text, "utf8").toString("latin1"));
}

/** ENOTFOUND: the name does not exist. ENODATA: it has no such record. */
function failure(error: unknown, noData: string): AddressAnswer & TextAnswer & { kind: string } {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  if (code === "ENOTFOUND") return { kind: "absent", reason: "it does not exist" };
  if (code === "ENODATA") return { kind: "absent", reason: noData };
  const texts: Readonly<Record<string, string>> = {
    ETIMEOUT: "the resolver does not answer",
    ECONNREFUSED: "no resolver answers at the configured address",
    ESERVFAIL: "the resolver answers SERVFAIL",
    EREFUSED: "the resolver answers REFUSED",
  };
  return { kind: "failed", reason: texts[code] ?? `the resolver fails with ${code}` };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** The hosts file (hosts(5)), read again when it may have changed. */
class HostsFile {
  readonly #path: string;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #byName = new Map<string, IpAddress[]>();

  constructor(path: string) {
    this.#path = path;
  }

  find(name: string, version: IpVersion): readonly IpAddress[] {
    const nowMs = performance.now();
    if (nowMs - this.#readAtMs > HOSTS_FRESH_MS) {
      this.#byName = parseHosts(readText(this.#path));
      this.#readAtMs = nowMs;
    }
    const addresses = this.#byName.get(name.toLowerCase().replace(/\.$/, "")) ?? [];
    return addresses.filter((address) => address.version === version);
  }
}

/** How long a reading of the hosts file serves. */
const HOSTS_FRESH_MS = 1000;

function parseHosts(text: string): Map<string, IpAddress[]> {
  const byName = new Map<string, IpAddress[]>();
  for (const line of text.split("\n")) {
    const [addressText, ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    const address = parseIp(addressText ?? "");
    if (address === undefined) continue;
    for (const name of names) {
      const key = name.toLowerCase().replace(/\.$/, "");
      const known = byName.get(key);
      if (known === undefined) byName.set(key, [address]);
      else known.push(address);
    }
  }
  return byName;
}
