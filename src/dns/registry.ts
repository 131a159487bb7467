/**
 * Every directive: those of the chain in chain order, those that only describe the block, and the
 * CoreDNS directives that are refused by name (spec/resolver.md 1.1, 2.6).
 */

import type { Plugin } from "./plugin.js";
import { aclPlugin } from "./plugins/acl/setup.js";
import { anyPlugin } from "./plugins/any/setup.js";
import { autoPlugin } from "./plugins/auto/setup.js";
import { bindPlugin } from "./plugins/bind/setup.js";
import { bufsizePlugin } from "./plugins/bufsize/setup.js";
import { cachePlugin } from "./plugins/cache/setup.js";
import { debugPlugin } from "./plugins/debug/setup.js";
import { errorsPlugin } from "./plugins/errors/setup.js";
import { filePlugin } from "./plugins/file/setup.js";
import { forwardPlugin } from "./plugins/forward/setup.js";
import { healthPlugin } from "./plugins/health/setup.js";
import { hostsPlugin } from "./plugins/hosts/setup.js";
import { iprefPlugin } from "./plugins/ipref/setup.js";
import { loadbalancePlugin } from "./plugins/loadbalance/setup.js";
import { logPlugin } from "./plugins/log/setup.js";
import { loopPlugin } from "./plugins/loop/setup.js";
import { minimalPlugin } from "./plugins/minimal/setup.js";
import { prometheusPlugin } from "./plugins/prometheus/setup.js";
import { readyPlugin } from "./plugins/ready/setup.js";
import { reloadPlugin } from "./plugins/reload/setup.js";
import { rootPlugin } from "./plugins/root/setup.js";
import { timeoutsPlugin } from "./plugins/timeouts/setup.js";
import { transferPlugin } from "./plugins/transfer/setup.js";
import { whoamiPlugin } from "./plugins/whoami/setup.js";

/** Links of the chain, first to last. */
export const CHAIN_PLUGINS: readonly Plugin[] = [
  prometheusPlugin,
  errorsPlugin,
  logPlugin,
  aclPlugin,
  anyPlugin,
  loadbalancePlugin,
  cachePlugin,
  minimalPlugin,
  transferPlugin,
  hostsPlugin,
  filePlugin,
  autoPlugin,
  iprefPlugin,
  loopPlugin,
  forwardPlugin,
  whoamiPlugin,
];

/** Directives that describe the block or the process. */
export const BLOCK_PLUGINS: readonly Plugin[] = [
  bindPlugin,
  bufsizePlugin,
  debugPlugin,
  healthPlugin,
  readyPlugin,
  reloadPlugin,
  rootPlugin,
  timeoutsPlugin,
];

export const PLUGINS: readonly Plugin[] = [...CHAIN_PLUGINS, ...BLOCK_PLUGINS];

/** Links that an AXFR or IXFR request passes (spec/resolver.md 1.2, 3.5). */
export const TRANSFER_CHAIN: ReadonlySet<string> = new Set(["errors", "log", "acl", "transfer"]);

/** CoreDNS directives that this server does not have, each with the way out. */
export const REFUSED_PLUGINS: ReadonlyMap<string, string> = new Map([
  ["template", "write the records into a zone served by 'file'"],
  ["rewrite", "use a CNAME in a zone served by 'file'"],
  ["dnssec", "sign the zone with another tool and serve the result by 'file'"],
  ["sign", "sign the zone with another tool and serve the result by 'file'"],
  ["secondary", "run a secondary server beside this one and 'forward' to it"],
  ["tsig", "limit transfers by address with 'transfer' and 'acl'"],
  ["view", "use 'bind' to serve different blocks on different addresses"],
  ["tls", "serve plain DNS and put a TLS proxy in front"],
  ["grpc", "use 'forward'"],
  ["dns64", "use a resolver with DNS64 as server of 'forward'"],
  ["autopath", "set the search list on the hosts"],
  ["chaos", "remove it; version queries are refused"],
  ["nsid", "remove it; the option is ignored"],
  ["metadata", "remove it"],
  ["geoip", "remove it"],
  ["trace", "use 'log' or 'debug'"],
  ["dnstap", "use 'log'"],
  ["pprof", "remove it; the Node inspector serves this purpose"],
  ["erratic", "remove it"],
  ["header", "remove it"],
  ["local", "remove it; local names are answered without it"],
  ["cancel", "remove it; queries end after 4 s"],
  ["multisocket", "remove it"],
  ["on", "use a service manager"],
  ["etcd", "write the records into a zone served by 'file'"],
  ["kubernetes", "run CoreDNS in the cluster and 'forward' to it"],
  ["k8s_external", "run CoreDNS in the cluster and 'forward' to it"],
  ["route53", "'forward' to the zone's name servers"],
  ["azure", "'forward' to the zone's name servers"],
  ["clouddns", "'forward' to the zone's name servers"],
]);
