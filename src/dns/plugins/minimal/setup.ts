/** `minimal`: no arguments, as in CoreDNS. */

import { expectCount, expectNoLines } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";
import { MinimalHandler } from "./handler.js";

export const minimalPlugin = definePlugin<true>({
  name: "minimal",
  isOnce: true,
  parse([directive], context) {
    expectCount(directive!.args, directive!.name, 0, 0, context);
    expectNoLines(directive!, context);
    return true;
  },
  build: () => new MinimalHandler(),
});
