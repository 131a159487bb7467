/** Clients for other DNS servers: joins the sockets to the groups of one site. */

import type { UpstreamWorld } from "../dns/upstream/group.js";
import { Upstreams } from "../dns/upstream/upstreams.js";
import { DnsDatagrams } from "../platform/dns-upstream-datagram.js";
import { DnsStreams } from "../platform/dns-upstream-stream.js";
import type { Reactor } from "../platform/reactor.js";

/** What the clients need besides sockets. */
export type UpstreamParts = Omit<UpstreamWorld, "datagrams" | "streams">;

/** Clients of one site and their sockets. */
export class UpstreamClients {
  readonly groups: Upstreams;
  readonly #datagrams: DnsDatagrams;

  constructor(reactor: Reactor, parts: UpstreamParts) {
    this.#datagrams = new DnsDatagrams(reactor);
    this.groups = new Upstreams({
      ...parts,
      datagrams: this.#datagrams,
      streams: new DnsStreams(),
    });
  }

  /** Ends everything that is in flight. */
  close(): void {
    this.groups.stop();
    this.#datagrams.close();
  }
}
