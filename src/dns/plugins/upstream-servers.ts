/**
 * Addresses of other servers as `forward` and `ipref` write them (spec/resolver.md 1.15, 4.1):
 * IPv4, IPv6 (bare or in brackets), with port, `dns://`, `tls://`, or the path of a resolv.conf.
 */

import { parseIp } from "../../base/ip.js";
import type { Word } from "../corefile/structure.js";
import { parseEndpoint } from "../corefile/words.js";
import type { Complaints } from "../plugin.js";
import type { UpstreamServer } from "../ports.js";

const DNS_PORT = 53;
/** RFC 7858 3.1. */
const TLS_PORT = 853;

/** A server, or a file that names some. */
export type UpstreamTarget =
  | { readonly kind: "server"; readonly server: UpstreamServer }
  | { readonly kind: "file"; readonly path: string };

/** Reads one address; a host name is none. */
export function parseUpstream(text: string): UpstreamTarget | undefined {
  if (text.startsWith("/") || text.startsWith("./")) return { kind: "file", path: text };
  const scheme = /^([a-z]+):\/\//i.exec(text)?.[1]?.toLowerCase() ?? "dns";
  if (scheme !== "dns" && scheme !== "tls") return undefined;
  const rest = text.replace(/^[a-z]+:\/\//i, "");
  const [address, name] = rest.split("%", 2);
  const endpoint = parseEndpoint(address!, scheme === "tls" ? TLS_PORT : DNS_PORT);
  if (endpoint === undefined) return undefined;
  return { kind: "server", server: { endpoint, transport: scheme, tlsServerName: name } };
}

/** Targets of several words; complains about each that is none. */
export function upstreamsOf(words: readonly Word[], complaints: Complaints): UpstreamTarget[] {
  return words.flatMap((word) => {
    const target = parseUpstream(word.text);
    if (target !== undefined) return [target];
    complaints.error(
      word.position,
      `Found '${word.text}', expected an IP address, optionally with port, or a resolv.conf file`,
    );
    return [];
  });
}

/** Servers named by a resolv.conf (resolv.conf(5)); lines that do not parse are passed over. */
export function parseResolvConf(text: string): UpstreamServer[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*nameserver\s+(\S+)/.exec(line);
    const address = match && parseIp(match[1]!);
    if (!address) return [];
    const endpoint = { address, port: DNS_PORT };
    return [{ endpoint, transport: "dns" as const, tlsServerName: undefined }];
  });
}
