/** `prometheus [ADDR]` (spec/resolver.md 2.6): metrics over HTTP on /metrics. */

import { parseIp } from "../../../base/ip.js";
import { expectCount, expectNoLines } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";
import { type HttpAddress, httpAddressOf } from "../http-address.js";
import { PrometheusHandler } from "./handler.js";

export interface PrometheusSettings {
  readonly listen: HttpAddress;
}

export const prometheusPlugin = definePlugin<PrometheusSettings>({
  name: "prometheus",
  isOnce: true,
  parse([directive], context) {
    const { args, name } = directive!;
    expectNoLines(directive!, context);
    if (!expectCount(args, name, 0, 1, context)) return undefined;
    const listen = httpAddressOf(args[0], { address: parseIp("127.0.0.1"), port: 9153 }, context);
    return listen && { listen };
  },
  build: (_settings, { environment, serverLabel, zones }) => {
    return new PrometheusHandler(serverLabel, String(zones[0] ?? "."), environment.metrics);
  },
});
