/**
 * `log [NAME...] [FORMAT] { class CLASS... }` (spec/resolver.md 2.6). May repeat; the first rule
 * whose name matches decides alone.
 */

import type { Name } from "../../../wire/dns/name.js";
import type { Word } from "../../corefile/structure.js";
import { choiceOf, readProperties, zoneListOf } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";
import { COMMON_FORMAT, expandFormat } from "./format.js";
import { LogHandler } from "./handler.js";

export type LogClass = "success" | "denial" | "error" | "all";

export interface LogRule {
  readonly names: readonly Name[];
  /** With `{common}` and `{combined}` written out. */
  readonly format: string;
  readonly classes: ReadonlySet<LogClass>;
}

export type LogSettings = readonly LogRule[];

const CLASSES: readonly LogClass[] = ["success", "denial", "error", "all"];

export const logPlugin = definePlugin<LogSettings>({
  name: "log",
  isOnce: false,
  parse(occurrences, context) {
    return occurrences.map((directive) => {
      const { args, lines } = directive;
      const last = args.at(-1);
      const hasFormat = args.length > 1 && last!.text.includes("{");
      const nameWords: readonly Word[] = hasFormat ? args.slice(0, -1) : args;
      const classes = new Set<LogClass>();
      readProperties(
        lines,
        {
          class: (words) => {
            for (const word of words) {
              const found = choiceOf(word, CLASSES, context);
              if (found !== undefined) classes.add(found);
            }
          },
        },
        context,
      );
      if (classes.size === 0) classes.add("all");
      const names = zoneListOf(nameWords, context.zones, context);
      return { names, classes, format: hasFormat ? expandFormat(last!.text) : COMMON_FORMAT };
    });
  },
  build: (settings, { environment }) => new LogHandler(settings, environment.log),
});
