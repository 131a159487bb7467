/**
 * `auto [ZONE...] { directory DIR [REGEXP ORIGIN]; reload DURATION }` (spec/resolver.md 2.6): a
 * zone for every file of a directory whose name matches. `{1}` in ORIGIN is the first group.
 */

import type { Name } from "../../../wire/dns/name.js";
import { durationOf, expectCount, readProperties, zoneListOf } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";
import { ZoneFilesHandler } from "../../zone/handler.js";
import { regExpOf } from "../errors/setup.js";
import { ZONE_RELOAD_MS } from "../file/setup.js";

/** One directory of zone files. */
export interface AutoDirectory {
  readonly path: string;
  /** Matches a whole file name. */
  readonly pattern: RegExp;
  /** With `{1}` and so on for groups. */
  readonly origin: string;
  /** Only zones within these are served. */
  readonly zones: readonly Name[];
  /** 0: looked at once. */
  readonly reloadMs: number;
}

export type AutoSettings = readonly AutoDirectory[];

const DEFAULT_PATTERN = /db\.(.*)/u;
const DEFAULT_ORIGIN = "{1}";

export const autoPlugin = definePlugin<AutoSettings>({
  name: "auto",
  isOnce: false,
  parse(occurrences, context) {
    return occurrences.flatMap(({ args, name, lines }) => {
      let path: string | undefined;
      let pattern = DEFAULT_PATTERN;
      let origin = DEFAULT_ORIGIN;
      let reloadMs = ZONE_RELOAD_MS;
      readProperties(
        lines,
        {
          directory: (words, word) => {
            const count = words.length === 2 ? 3 : 1;
            if (!expectCount(words, word, count, 3, context)) return;
            path = words[0]!.text;
            if (words[1] === undefined) return;
            pattern = regExpOf(words[1], context) ?? pattern;
            // Go writes groups as ${1} as well.
            origin = words[2]!.text.replace(/\$\{([0-9]+)\}/g, "{$1}");
          },
          reload: (words, word) => {
            if (expectCount(words, word, 1, 1, context)) {
              reloadMs = durationOf(words[0]!, context) ?? reloadMs;
            }
          },
        },
        context,
      );
      const zones = zoneListOf(args, context.zones, context);
      if (path === undefined) {
        context.error(name.position, "Found no 'directory' in 'auto', expected one");
        return [];
      }
      return [{ path, pattern, origin, zones, reloadMs }];
    });
  },
  build: (settings, context) => {
    const directories = settings.map((auto) => ({ ...auto, path: context.resolvePath(auto.path) }));
    return ZoneFilesHandler.forDirectories(directories, context);
  },
});
