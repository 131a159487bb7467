/** `health [ADDR] { lameduck DUR }` (spec/resolver.md 2.6): HTTP 200 on /health. */

import { durationOf, expectCount, readProperties } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";
import { type HttpAddress, httpAddressOf } from "../http-address.js";

export interface HealthSettings {
  readonly listen: HttpAddress;
  /** The process goes on answering this long after SIGTERM. */
  readonly lameduckMs: number;
}

export const healthPlugin = definePlugin<HealthSettings>({
  name: "health",
  isOnce: true,
  parse([directive], context) {
    const { args, name, lines } = directive!;
    if (!expectCount(args, name, 0, 1, context)) return undefined;
    const listen = httpAddressOf(args[0], { address: undefined, port: 8080 }, context);
    let lameduckMs = 0;
    readProperties(
      lines,
      {
        lameduck: (values, word) => {
          if (expectCount(values, word, 1, 1, context)) {
            lameduckMs = durationOf(values[0]!, context) ?? 0;
          }
        },
      },
      context,
    );
    return listen && { listen, lameduckMs };
  },
});
