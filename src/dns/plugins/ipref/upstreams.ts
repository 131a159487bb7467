/**
 * The servers that are asked for AA strings and gateway addresses (spec/resolver.md 1.15). Host
 * names are refused: the host's resolver would be asked for them, which may be this server.
 */

import type { Word } from "../../corefile/structure.js";
import { formatProblem } from "../../corefile/structure.js";
import type { Complaints } from "../../plugin.js";
import type { Files, UpstreamOptions, UpstreamServer } from "../../ports.js";
import { UPSTREAM_DEFAULTS } from "../forward/setup.js";
import { parseResolvConf, upstreamsOf } from "../upstream-servers.js";
import type { PlacedTarget } from "./settings.js";

/** Reads the arguments of `upstream`; complains about each that is none. */
export function readUpstreams(words: readonly Word[], complaints: Complaints): PlacedTarget[] {
  return words.flatMap((word) =>
    upstreamsOf([word], complaints).map((target) => ({ target, position: word.position })),
  );
}

/** All servers, those of resolv.conf files included; or why there are none. */
export async function openUpstreams(
  targets: readonly PlacedTarget[],
  files: Files,
): Promise<{ readonly servers: readonly UpstreamServer[] } | { readonly error: string }> {
  const servers: UpstreamServer[] = [];
  for (const { target, position } of targets) {
    if (target.kind === "server") {
      servers.push(target.server);
      continue;
    }
    const { path } = target;
    const complain = (message: string) => ({
      error: formatProblem({ severity: "error", position, message }),
    });
    const file = await files.read(path);
    if (!file.ok) return complain(`Cannot read the upstream servers in ${path}: ${file.error}`);
    const found = parseResolvConf(textOf(file.bytes));
    if (found.length === 0) return complain(`Found no nameserver in ${path}, expected one or more`);
    servers.push(...found);
  }
  return { servers };
}

/** In the order given; a server that refuses or fails is a reason to ask the next one (4.2). */
export const IPREF_UPSTREAM_OPTIONS: UpstreamOptions = {
  ...UPSTREAM_DEFAULTS,
  policy: "sequential",
  isRefusalRetried: true,
};

function textOf(bytes: Uint8Array): string {
  let text = "";
  for (const octet of bytes) text += String.fromCharCode(octet);
  return text;
}
