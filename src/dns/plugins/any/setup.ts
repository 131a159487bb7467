/** `any`: no arguments (spec/resolver.md 2.6). */

import { expectCount, expectNoLines } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";
import { AnyHandler } from "./handler.js";

export const anyPlugin = definePlugin<true>({
  name: "any",
  isOnce: true,
  parse([directive], context) {
    expectCount(directive!.args, directive!.name, 0, 0, context);
    expectNoLines(directive!, context);
    return true;
  },
  build: () => new AnyHandler(),
});
