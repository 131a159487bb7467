/**
 * Does the server ask itself? An upstream of `ipref` that is one of our own sockets is an error,
 * because gateway names would recurse without end; for `forward` it is a warning
 * (spec/resolver.md 1.15).
 */

import { formatIp } from "../base/ip.js";
import type { BlockConfiguration } from "../dns/configuration.js";
import type { Problem } from "../dns/corefile/structure.js";
import type { ForwardSettings } from "../dns/plugins/forward/setup.js";
import type { IprefSettings } from "../dns/plugins/ipref/settings.js";
import type { UpstreamTarget } from "../dns/plugins/upstream-servers.js";
import type { Endpoint } from "../dns/query.js";
import type { Site } from "../dns/site.js";

/** Complaints about upstreams that `isOwn` recognises. */
export function selfProblems(site: Site, isOwn: (endpoint: Endpoint) => boolean): Problem[] {
  return site.configuration.blocks.flatMap((block) => {
    const ipref = block.settings.get("ipref") as IprefSettings | undefined;
    const forward = block.settings.get("forward") as ForwardSettings | undefined;
    const forwarders = forward?.flatMap(({ to }) => to) ?? [];
    return [
      ...ownTargets(ipref?.upstreams.map(({ target }) => target) ?? [], isOwn).map((target) =>
        problem(block, "ipref", "error", target),
      ),
      ...ownTargets(forwarders, isOwn).map((target) =>
        problem(block, "forward", "warning", target),
      ),
    ];
  });
}

function ownTargets(
  targets: readonly UpstreamTarget[],
  isOwn: (endpoint: Endpoint) => boolean,
): Endpoint[] {
  const servers = targets.flatMap((target) => (target.kind === "server" ? [target.server] : []));
  const plain = servers.filter(({ transport }) => transport === "dns");
  return plain.map(({ endpoint }) => endpoint).filter(isOwn);
}

function problem(
  { block }: BlockConfiguration,
  directive: string,
  severity: Problem["severity"],
  { address, port }: Endpoint,
): Problem {
  const found = block.directives.find(({ name }) => name.text === directive);
  return {
    severity,
    position: found?.name.position ?? block.position,
    message: `Found ${formatIp(address)} port ${port} in '${directive}', which is this server; expected another one`,
  };
}
