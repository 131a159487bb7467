/** Addresses of `health`, `ready` and `prometheus`: `HOST:PORT`, `:PORT`, `localhost:PORT`. */

import { type IpAddress, parseIp } from "../../base/ip.js";
import type { Word } from "../corefile/structure.js";
import { parseEndpoint } from "../corefile/words.js";
import type { Complaints } from "../plugin.js";

/** Where an HTTP endpoint listens. */
export interface HttpAddress {
  /** Undefined: everywhere, answering the sources of spec/resolver.md 5.1 only. */
  readonly address: IpAddress | undefined;
  readonly port: number;
}

/** Reads `:PORT`, `localhost:PORT` or an address with a port. */
export function parseHttpAddress(text: string): HttpAddress | undefined {
  const match = /^(localhost)?:([0-9]{1,5})$/.exec(text);
  if (match === null) {
    const hasPort = /(\]|\.[0-9]+):[0-9]+$/.test(text);
    return hasPort ? parseEndpoint(text, 0) : undefined;
  }
  const port = Number(match[2]);
  if (port < 1 || port > 65_535) return undefined;
  return { address: match[1] === undefined ? undefined : parseIp("127.0.0.1"), port };
}

/** The address of a word, or `fallback` without one. */
export function httpAddressOf(
  word: Word | undefined,
  fallback: HttpAddress,
  complaints: Complaints,
): HttpAddress | undefined {
  if (word === undefined) return fallback;
  const address = parseHttpAddress(word.text);
  if (address === undefined) {
    complaints.error(word.position, `Found '${word.text}', expected an address such as :8080`);
  }
  return address;
}
