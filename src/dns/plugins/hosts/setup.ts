/**
 * `hosts [FILE [ZONE...]] { INLINE…; ttl S; no_reverse; reload DUR; fallthrough [ZONE...] }`
 * (spec/resolver.md 2.6).
 */

import { parseIp } from "../../../base/ip.js";
import type { Name } from "../../../wire/dns/name.js";
import type { PropertyLine } from "../../corefile/structure.js";
import {
  durationOf,
  expectCount,
  numberOf,
  readProperties,
  zoneListOf,
} from "../../corefile/words.js";
import { definePlugin, type ParseContext } from "../../plugin.js";
import { HostsHandler } from "./handler.js";

export interface HostsSettings {
  readonly path: string;
  readonly zones: readonly Name[];
  /** Lines of the Corefile in the syntax of the file. */
  readonly inline: readonly string[];
  readonly ttlSeconds: number;
  readonly hasReverse: boolean;
  /** 0: never. */
  readonly reloadMs: number;
  /** Names within these go to next when unknown; empty: none. */
  readonly fallthrough: readonly Name[];
}

const TTL_SECONDS = 3600;
const TTL_MAX_SECONDS = 65_535;
const RELOAD_MS = 5000;

export const hostsPlugin = definePlugin<HostsSettings>({
  name: "hosts",
  isOnce: true,
  parse([directive], context) {
    const { args, lines } = directive!;
    const inline = lines.filter((line) => parseIp(line.words[0]!.text) !== undefined);
    const zones = zoneListOf(args.slice(1), context.zones, context);
    return {
      path: args[0]?.text ?? "/etc/hosts",
      zones,
      inline: inline.map((line) => line.words.map((word) => word.text).join(" ")),
      ...readOptions(
        lines.filter((line) => !inline.includes(line)),
        zones,
        context,
      ),
    };
  },
  build: (settings, context) => {
    return new HostsHandler(
      { ...settings, path: context.resolvePath(settings.path) },
      context.environment,
    );
  },
});

function readOptions(
  lines: readonly PropertyLine[],
  zones: readonly Name[],
  context: ParseContext,
) {
  let ttlSeconds = TTL_SECONDS;
  let hasReverse = true;
  let reloadMs = RELOAD_MS;
  let fallthrough: readonly Name[] = [];
  readProperties(
    lines,
    {
      ttl: (words, word) => {
        if (!expectCount(words, word, 1, 1, context)) return;
        ttlSeconds = numberOf(words[0]!, 1, TTL_MAX_SECONDS, context) ?? ttlSeconds;
      },
      no_reverse: (words, word) => {
        expectCount(words, word, 0, 0, context);
        hasReverse = false;
      },
      reload: (words, word) => {
        if (!expectCount(words, word, 1, 1, context)) return;
        reloadMs = durationOf(words[0]!, context) ?? reloadMs;
      },
      fallthrough: (words) => {
        fallthrough = zoneListOf(words, zones, context);
      },
    },
    context,
  );
  return { ttlSeconds, hasReverse, reloadMs, fallthrough };
}
