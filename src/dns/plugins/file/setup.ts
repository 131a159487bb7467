/** `file DBFILE [ZONE...] { reload DURATION }` (spec/resolver.md 2.6, 3). May repeat. */

import type { Name } from "../../../wire/dns/name.js";
import type { Position } from "../../corefile/structure.js";
import { durationOf, expectCount, readProperties, zoneListOf } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";
import { ZoneFilesHandler } from "../../zone/handler.js";

/** One zone file for one or several zones. */
export interface ZoneFileSettings {
  readonly path: string;
  readonly zones: readonly Name[];
  /** 0: never. */
  readonly reloadMs: number;
  /** Of the directive, for complaints. */
  readonly position: Position;
}

export type FileSettings = readonly ZoneFileSettings[];

/** spec/resolver.md 8. */
export const ZONE_RELOAD_MS = 60_000;

export const filePlugin = definePlugin<FileSettings>({
  name: "file",
  isOnce: false,
  parse(occurrences, context) {
    return occurrences.flatMap((directive) => {
      const { args, name, lines } = directive;
      if (!expectCount(args, name, 1, Number.POSITIVE_INFINITY, context)) return [];
      let reloadMs = ZONE_RELOAD_MS;
      readProperties(
        lines,
        {
          reload: (words, word) => {
            if (!expectCount(words, word, 1, 1, context)) return;
            reloadMs = durationOf(words[0]!, context) ?? reloadMs;
          },
          // Old files have it; CNAME targets are always resolved through the server.
          upstream: () => {},
        },
        context,
      );
      const zones = zoneListOf(args.slice(1), context.zones, context);
      return [{ path: args[0]!.text, zones, reloadMs, position: name.position }];
    });
  },
  build: (settings, context) => {
    const files = settings.map((file) => ({ ...file, path: context.resolvePath(file.path) }));
    return ZoneFilesHandler.forFiles(files, context);
  },
});
