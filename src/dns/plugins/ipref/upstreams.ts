/**
 * The servers that are asked for AA strings and gateway addresses (spec/resolver.md 1.15): addresses
 * with or without port, `tls://` or `dns://`, or a resolv.conf file. Host names are refused: they
 * would be resolved by the host's resolver, which may be this server.
 */

import { parseIp } from "../../../base/ip.js";
import { Name } from "../../../wire/dns/name.js";
import { formatProblem, type Word } from "../../corefile/structure.js";
import { parseEndpoint } from "../../corefile/words.js";
import type { Files, UpstreamOptions, UpstreamServer } from "../../ports.js";
import type { UpstreamTarget } from "./settings.js";

const PORT_DNS = 53;
const PORT_TLS = 853;

/** spec/resolver.md 4.1: defaults of `forward`, which this client shares. */
const MAX_FAILS = 2;
const EXPIRE_MS = 10_000;
const HEALTH_CHECK_MS = 500;
const CONCURRENT_MAX = 1024;

/** Reads one argument of `upstream`. A path is recognised by its slash. */
export function parseUpstream(word: Word): UpstreamTarget | undefined {
  const { text, position } = word;
  const scheme = /^(dns|tls):\/\//.exec(text)?.[1];
  const isTls = scheme === "tls";
  const rest = scheme === undefined ? text : text.slice(6);
  const endpoint = parseEndpoint(rest, isTls ? PORT_TLS : PORT_DNS);
  if (endpoint !== undefined) {
    const transport = isTls ? "tls" : "dns";
    return { kind: "server", server: { endpoint, transport, tlsServerName: undefined } };
  }
  const isPath = scheme === undefined && text.includes("/");
  return isPath ? { kind: "file", path: text, position } : undefined;
}

/** All servers, those of resolv.conf files included; or why there are none. */
export async function openUpstream(
  targets: readonly UpstreamTarget[],
  files: Files,
): Promise<{ readonly servers: readonly UpstreamServer[] } | { readonly error: string }> {
  const servers: UpstreamServer[] = [];
  for (const target of targets) {
    if (target.kind === "server") {
      servers.push(target.server);
      continue;
    }
    const { path, position } = target;
    const complain = (message: string) => ({
      error: formatProblem({ severity: "error", position, message }),
    });
    const file = await files.read(path);
    if (!file.ok) return complain(`Cannot read the upstream servers in ${path}: ${file.error}`);
    const found = nameServers(file.bytes);
    if (found.length === 0) return complain(`Found no nameserver in ${path}, expected one or more`);
    servers.push(...found);
  }
  return { servers };
}

/** `nameserver ADDRESS` lines of a resolv.conf (resolv.conf(5)). */
function nameServers(bytes: Uint8Array): UpstreamServer[] {
  let text = "";
  for (const octet of bytes) text += String.fromCharCode(octet);
  return text.split("\n").flatMap((line) => {
    const match = /^\s*nameserver\s+([^\s#;]+)/.exec(line);
    const address = match === null ? undefined : parseIp(match[1]!);
    if (address === undefined) return [];
    const endpoint = { address, port: PORT_DNS };
    return [{ endpoint, transport: "dns", tlsServerName: undefined } as const];
  });
}

/** In the order given; a server that refuses or fails is a reason to ask the next one (4.2). */
export function upstreamOptions(): UpstreamOptions {
  return {
    policy: "sequential",
    isTcpForced: false,
    maxFails: MAX_FAILS,
    expireMs: EXPIRE_MS,
    healthCheckMs: HEALTH_CHECK_MS,
    healthCheckName: Name.ROOT,
    isHealthCheckRecursive: true,
    concurrentMax: CONCURRENT_MAX,
    isFailfast: false,
    isRefusalRetried: true,
    tls: undefined,
  };
}
