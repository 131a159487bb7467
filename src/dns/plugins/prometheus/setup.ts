/**
 * `prometheus [ADDR|none]` (spec/resolver.md 2.6): metrics over HTTP on /metrics. With `none` there
 * is no port of its own: the page is on the control socket.
 */

import { parseIp } from "../../../base/ip.js";
import { expectCount, expectNoLines } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";
import { type HttpAddress, httpAddressOf } from "../http-address.js";
import { PrometheusHandler } from "./handler.js";

export interface PrometheusSettings {
  /** Undefined: no port. */
  readonly listen: HttpAddress | undefined;
}

export const prometheusPlugin = definePlugin<PrometheusSettings>({
  name: "prometheus",
  isOnce: true,
  parse([directive], context) {
    const { args, name } = directive!;
    expectNoLines(directive!, context);
    if (!expectCount(args, name, 0, 1, context)) return undefined;
    if (args[0]?.text === "none") return { listen: undefined };
    const listen = httpAddressOf(args[0], { address: parseIp("127.0.0.1"), port: 9153 }, context);
    return listen && { listen };
  },
  build: (_settings, { environment, serverLabel, zones }) => {
    return new PrometheusHandler(serverLabel, String(zones[0] ?? "."), environment.metrics);
  },
});
