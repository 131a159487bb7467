/** `debug`: debug log for the whole process (spec/resolver.md 2.6). Crash recovery stays on. */

import { expectCount, expectNoLines } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";

export const debugPlugin = definePlugin<true>({
  name: "debug",
  isOnce: true,
  parse([directive], context) {
    expectCount(directive!.args, directive!.name, 0, 0, context);
    expectNoLines(directive!, context);
    return true;
  },
});
