/** `root PATH`: base of relative paths in the block (spec/resolver.md 2.6). */

import { expectCount, expectNoLines } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";

export const rootPlugin = definePlugin<string>({
  name: "root",
  isOnce: true,
  parse([directive], context) {
    const { args, name } = directive!;
    expectNoLines(directive!, context);
    return expectCount(args, name, 1, 1, context) ? args[0]!.text : undefined;
  },
});

/** `path` below `root` unless it is absolute. */
export function underRoot(root: string | undefined, path: string): string {
  if (root === undefined || path.startsWith("/")) return path;
  return root.endsWith("/") ? root + path : `${root}/${path}`;
}
