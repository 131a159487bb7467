/** `ready [ADDR]` (spec/resolver.md 2.6): HTTP 200 on /ready once everything is loaded. */

import { expectCount, expectNoLines } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";
import { type HttpAddress, httpAddressOf } from "../http-address.js";

export interface ReadySettings {
  readonly listen: HttpAddress;
}

export const readyPlugin = definePlugin<ReadySettings>({
  name: "ready",
  isOnce: true,
  parse([directive], context) {
    const { args, name } = directive!;
    expectNoLines(directive!, context);
    if (!expectCount(args, name, 0, 1, context)) return undefined;
    const listen = httpAddressOf(args[0], { address: undefined, port: 8181 }, context);
    return listen && { listen };
  },
});
