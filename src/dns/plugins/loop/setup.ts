/**
 * `loop`: no arguments. The probe belongs to the upstream client (spec/resolver.md 1.15), which
 * sends a random name once to each server; this directive only asks for it.
 */

import { expectCount, expectNoLines } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";

export const loopPlugin = definePlugin<true>({
  name: "loop",
  isOnce: true,
  parse([directive], context) {
    expectCount(directive!.args, directive!.name, 0, 0, context);
    expectNoLines(directive!, context);
    return true;
  },
});
