/**
 * `bind ADDR|IFACE... { except ADDR|IFACE... }` (spec/resolver.md 2.6): where a block listens.
 * Several lines add up; `except` belongs to its own line. Names of interfaces become addresses when
 * the listeners are opened (server/listeners.ts).
 */

import type { Word } from "../../corefile/structure.js";
import { expectCount, readProperties } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";

/** One line of `bind`. */
export interface BindLine {
  readonly listen: readonly Word[];
  readonly except: readonly Word[];
}

export type BindSettings = readonly BindLine[];

export const bindPlugin = definePlugin<BindSettings>({
  name: "bind",
  isOnce: false,
  parse(occurrences, context) {
    return occurrences.map((directive) => {
      expectCount(directive.args, directive.name, 1, Number.POSITIVE_INFINITY, context);
      const except: Word[] = [];
      readProperties(
        directive.lines,
        {
          except: (args, name) => {
            expectCount(args, name, 1, Number.POSITIVE_INFINITY, context);
            except.push(...args);
          },
        },
        context,
      );
      return { listen: directive.args, except };
    });
  },
});

/** Equal exactly for equal settings; "" without `bind`. */
export function bindKey(settings: unknown): string {
  if (settings === undefined) return "";
  const texts = (words: readonly Word[]) => words.map((word) => word.text).join(" ");
  return (settings as BindSettings)
    .map((line) => `${texts(line.listen)} ! ${texts(line.except)}`)
    .sort()
    .join(" / ");
}
