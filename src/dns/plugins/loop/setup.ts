/**
 * `loop`: no arguments. `forward` of the same block sends a random name once to each of its servers
 * (spec/resolver.md 1.15); this link of the chain recognises a name that comes back.
 */

import { expectCount, expectNoLines } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";
import { loopGuardOf } from "../../upstream/loop-guard.js";
import { LoopHandler } from "./handler.js";

export const loopPlugin = definePlugin<true>({
  name: "loop",
  isOnce: true,
  parse([directive], context) {
    expectCount(directive!.args, directive!.name, 0, 0, context);
    expectNoLines(directive!, context);
    return true;
  },
  build: (_settings, { environment }) => new LoopHandler(loopGuardOf(environment)),
});
