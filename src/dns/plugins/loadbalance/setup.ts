/** `loadbalance [round_robin]`, as in CoreDNS (spec/resolver.md 2.6). */

import { choiceOf, expectCount, expectNoLines } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";
import { LoadbalanceHandler } from "./handler.js";

export const loadbalancePlugin = definePlugin<true>({
  name: "loadbalance",
  isOnce: true,
  parse([directive], context) {
    const { args, name } = directive!;
    expectNoLines(directive!, context);
    if (!expectCount(args, name, 0, 1, context)) return undefined;
    if (args[0] !== undefined) choiceOf(args[0], ["round_robin"], context);
    return true;
  },
  build: (_, context) => new LoadbalanceHandler(context.environment.random),
});
