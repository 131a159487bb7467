/** Reads `cache` (spec/resolver.md 2.6, as CoreDNS 1.12 documents it). */

import type { Name } from "../../../wire/dns/name.js";
import type { Directive, Word } from "../../corefile/structure.js";
import {
  choiceOf,
  durationOf,
  expectCount,
  numberOf,
  readProperties,
  zoneListOf,
} from "../../corefile/words.js";
import { definePlugin, type ParseContext } from "../../plugin.js";
import { CacheHandler } from "./handler.js";
import type { CacheSettings, PrefetchSettings, StaleSettings, TableSettings } from "./settings.js";
import * as defaults from "./settings.js";

const ENTRIES_MAX = 10_000_000;
/** RFC 2181 8. */
const TTL_LIMIT_SECONDS = 0x7fff_ffff;
const HITS_LIMIT = 1_000_000;

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

export const cachePlugin = definePlugin<CacheSettings>({
  name: "cache",
  isOnce: true,
  parse: parseCache,
  build: (settings, context) => new CacheHandler(settings, context),
});

function parseCache(
  occurrences: readonly Directive[],
  context: ParseContext,
): CacheSettings | undefined {
  const directive = occurrences[0]!;
  const reader = new CacheReader(directive, context);
  return reader.settings;
}

class CacheReader {
  readonly settings: Mutable<CacheSettings>;
  readonly #context: ParseContext;

  constructor(directive: Directive, context: ParseContext) {
    this.#context = context;
    const hasTtl = /^[0-9]+$/.test(directive.args[0]?.text ?? "");
    const ttl = hasTtl ? numberOf(directive.args[0]!, 1, TTL_LIMIT_SECONDS, context) : undefined;
    const zoneWords = hasTtl ? directive.args.slice(1) : directive.args;
    this.settings = {
      zones: zoneListOf(zoneWords, context.zones, context),
      success: tableOf(ttl ?? defaults.SUCCESS_SECONDS_DEFAULT),
      denial: tableOf(ttl ?? defaults.DENIAL_SECONDS_DEFAULT),
      failureSeconds: defaults.FAILURE_SECONDS_DEFAULT,
      prefetch: undefined,
      stale: undefined,
      isTtlKept: false,
      successDisabled: [],
      denialDisabled: [],
    };
    this.#readLines(directive);
  }

  #readLines(directive: Directive): void {
    const { settings } = this;
    const context = this.#context;
    readProperties(
      directive.lines,
      {
        success: (args, name) => {
          settings.success = this.#table(args, name, settings.success);
        },
        denial: (args, name) => {
          settings.denial = this.#table(args, name, settings.denial);
        },
        prefetch: (args, name) => {
          settings.prefetch = this.#prefetch(args, name);
        },
        serve_stale: (args, name) => {
          settings.stale = this.#stale(args, name);
        },
        servfail: (args, name) => this.#failure(args, name),
        disable: (args, name) => this.#disable(args, name),
        keepttl: (args, name) => {
          settings.isTtlKept = expectCount(args, name, 0, 0, context);
        },
      },
      context,
    );
  }

  #table(args: readonly Word[], name: Word, before: TableSettings): TableSettings {
    const context = this.#context;
    if (!expectCount(args, name, 1, 3, context)) return before;
    const [capacity, ttl, min] = args;
    const ttlMaxSeconds = ttl && numberOf(ttl, 1, TTL_LIMIT_SECONDS, context);
    const ttlMinSeconds = min && numberOf(min, 0, TTL_LIMIT_SECONDS, context);
    const most = ttlMaxSeconds ?? before.ttlMaxSeconds;
    return {
      entriesMax: numberOf(capacity!, 1, ENTRIES_MAX, context) ?? before.entriesMax,
      ttlMaxSeconds: most,
      ttlMinSeconds: Math.min(most, ttlMinSeconds ?? before.ttlMinSeconds),
    };
  }

  #prefetch(args: readonly Word[], name: Word): PrefetchSettings | undefined {
    const context = this.#context;
    if (!expectCount(args, name, 1, 3, context)) return undefined;
    const [hits, duration, share] = args;
    const hitsMin = numberOf(hits!, 0, HITS_LIMIT, context) ?? 0;
    const durationMs = duration && durationOf(duration, context);
    const percent = share === undefined ? undefined : this.#percent(share);
    if (hitsMin === 0) return undefined;
    return {
      hitsMin,
      durationMs: durationMs ?? defaults.PREFETCH_DURATION_DEFAULT_MS,
      percent: percent ?? defaults.PREFETCH_PERCENT_DEFAULT,
    };
  }

  #percent(word: Word): number | undefined {
    const match = /^([0-9]{1,2})%$/.exec(word.text);
    const percent = match === null ? 0 : Number(match[1]);
    if (percent >= 10 && percent <= 90) return percent;
    this.#context.error(word.position, `Found '${word.text}', expected 10% to 90%`);
    return undefined;
  }

  #stale(args: readonly Word[], name: Word): StaleSettings | undefined {
    const context = this.#context;
    if (!expectCount(args, name, 0, 2, context)) return undefined;
    const [duration, mode] = args;
    const durationMs = duration && durationOf(duration, context);
    const chosen = mode && choiceOf(mode, ["immediate", "verify"], context);
    return {
      durationMs: durationMs ?? defaults.STALE_DURATION_DEFAULT_MS,
      isVerified: chosen === "verify",
    };
  }

  #failure(args: readonly Word[], name: Word): void {
    const context = this.#context;
    if (!expectCount(args, name, 1, 1, context)) return;
    const durationMs = durationOf(args[0]!, context);
    if (durationMs === undefined) return;
    if (durationMs > 1000 * defaults.FAILURE_SECONDS_MAX) {
      const message = `Found '${args[0]!.text}', expected at most 5m (RFC 2308 7.1)`;
      context.error(args[0]!.position, message);
      return;
    }
    this.settings.failureSeconds = durationMs / 1000;
  }

  #disable(args: readonly Word[], name: Word): void {
    const context = this.#context;
    if (!expectCount(args, name, 1, Number.POSITIVE_INFINITY, context)) return;
    const kind = choiceOf(args[0]!, ["success", "denial"], context);
    const zones: readonly Name[] = zoneListOf(args.slice(1), this.settings.zones, context);
    if (kind === "success") this.settings.successDisabled = zones;
    else if (kind === "denial") this.settings.denialDisabled = zones;
  }
}

function tableOf(ttlMaxSeconds: number): TableSettings {
  return {
    entriesMax: defaults.ENTRIES_DEFAULT,
    ttlMaxSeconds,
    ttlMinSeconds: Math.min(ttlMaxSeconds, defaults.TTL_MIN_SECONDS_DEFAULT),
  };
}
