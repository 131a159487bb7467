/**
 * Counts every query of its block under CoreDNS's metric names and label sets (spec/resolver.md
 * 2.6). The label `zone` is the block's first zone, `view` is empty.
 */

import { rcodeName, typeName } from "../../../wire/dns/numbers.js";
import type { Reply } from "../../answer.js";
import type { Handler, Next, Outcome } from "../../plugin.js";
import type { Metrics } from "../../ports.js";
import type { Query } from "../../query.js";

/** Types that have a label of their own in CoreDNS; the others are "other". */
const LABELLED_TYPES = new Set([
  ...["A", "AAAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NS", "NSEC", "NSEC3", "PTR", "RRSIG"],
  ...["SOA", "SRV", "SVCB", "TXT", "ANY", "AXFR", "IXFR"],
]);

/** Label sets are made once for each combination that occurs, so that counting makes no garbage. */
export class PrometheusHandler implements Handler {
  readonly name = "prometheus";
  readonly #metrics: Metrics;
  readonly #base: { readonly server: string; readonly zone: string; readonly view: string };
  readonly #requests = new Map<number, Readonly<Record<string, string>>>();
  readonly #responses = new Map<number, Readonly<Record<string, string>>>();
  readonly #sizes: Readonly<Record<"udp" | "tcp", Readonly<Record<string, string>>>>;

  constructor(server: string, zone: string, metrics: Metrics) {
    this.#metrics = metrics;
    this.#base = Object.freeze({ server, zone, view: "" });
    this.#sizes = {
      udp: Object.freeze({ ...this.#base, proto: "udp" }),
      tcp: Object.freeze({ ...this.#base, proto: "tcp" }),
    };
  }

  handle(query: Query, next: Next): Reply {
    return next(query);
  }

  finished(query: Query, outcome: Outcome): void {
    const metrics = this.#metrics;
    const sizes = this.#sizes[query.transport];
    metrics.count("coredns_dns_requests_total", this.#requestLabels(query));
    metrics.count("coredns_dns_responses_total", this.#responseLabels(outcome.rcode));
    metrics.observe("coredns_dns_request_duration_seconds", this.#base, outcome.durationMs / 1000);
    metrics.observe("coredns_dns_request_size_bytes", sizes, query.length);
    metrics.observe("coredns_dns_response_size_bytes", sizes, outcome.replyBytes);
  }

  #requestLabels(query: Query): Readonly<Record<string, string>> {
    const isTcp = query.transport === "tcp";
    const { version } = query.client.address;
    const key = query.type * 4 + (isTcp ? 2 : 0) + (version === 6 ? 1 : 0);
    let labels = this.#requests.get(key);
    if (labels === undefined) {
      const name = typeName(query.type);
      const type = LABELLED_TYPES.has(name) ? name : "other";
      const family = version === 6 ? "2" : "1";
      labels = Object.freeze({ ...this.#base, proto: query.transport, family, type });
      this.#requests.set(key, labels);
    }
    return labels;
  }

  #responseLabels(rcode: number): Readonly<Record<string, string>> {
    let labels = this.#responses.get(rcode);
    if (labels === undefined) {
      labels = Object.freeze({ ...this.#base, rcode: rcodeName(rcode), plugin: "" });
      this.#responses.set(rcode, labels);
    }
    return labels;
  }
}
