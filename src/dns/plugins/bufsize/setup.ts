/** `bufsize [512..4096]`: largest UDP reply of the block (spec/resolver.md 2.6). */

import { EDNS_SIZE_BYTES } from "../../../wire/dns/numbers.js";
import { expectCount, expectNoLines, numberOf } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";

export const bufsizePlugin = definePlugin<number>({
  name: "bufsize",
  isOnce: true,
  parse([directive], context) {
    const { args, name } = directive!;
    expectNoLines(directive!, context);
    if (!expectCount(args, name, 0, 1, context)) return undefined;
    return args[0] === undefined ? EDNS_SIZE_BYTES : numberOf(args[0], 512, 4096, context);
  },
});
