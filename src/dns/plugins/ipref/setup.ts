/** `ipref [FROM...] { … }` (spec/resolver.md 1.15). Once per block. */

import type { IpPrefix, IpVersion } from "../../../base/ip.js";
import { parsePrefix } from "../../../base/ip.js";
import type { Name } from "../../../wire/dns/name.js";
import type { Word } from "../../corefile/structure.js";
import {
  choiceOf,
  expectCount,
  numberOf,
  type PropertyReader,
  readProperties,
  zoneListOf,
} from "../../corefile/words.js";
import { definePlugin, type ParseContext } from "../../plugin.js";
import { type UpstreamTarget, upstreamsOf } from "../upstream-servers.js";

export interface IprefSettings {
  readonly from: readonly Name[];
  readonly except: readonly Name[];
  readonly upstreams: readonly UpstreamTarget[];
  /** `ea-ipver`, `gw-ipver`. */
  readonly encodedVersion: IpVersion;
  readonly gatewayVersion: IpVersion;
  readonly mapperPath: string;
  readonly onFailure: "next" | "servfail";
  readonly ttlSecondsMax: number;
  readonly recordsMax: number;
  /** `encode-net`; empty: not known. */
  readonly encodeNets: readonly IpPrefix[];
  readonly svcb: "suppress" | "strip" | "pass";
  readonly isParallel: boolean;
}

const TTL_SECONDS = 300;
/** spec/resolver.md 1.13: safe with a mapper that renews on MC_GET_EA. */
const TTL_MAX_SECONDS = 3600;
/** spec/resolver.md 1.7, 5.2. */
const RECORDS_MAX = 8;
export const MAPPER_PATH = "/run/ipref/mapper.sock";

type Draft<Settings> = { -readonly [Field in keyof Settings]: Settings[Field] };

export const iprefPlugin = definePlugin<IprefSettings>({
  name: "ipref",
  isOnce: true,
  parse([directive], context) {
    const { args, name, lines } = directive!;
    const draft: Draft<IprefSettings> = {
      from: zoneListOf(args, context.zones, context),
      except: [],
      upstreams: [],
      encodedVersion: 4,
      gatewayVersion: 4,
      mapperPath: MAPPER_PATH,
      onFailure: "next",
      ttlSecondsMax: TTL_SECONDS,
      recordsMax: RECORDS_MAX,
      encodeNets: [],
      svcb: "suppress",
      isParallel: true,
    };
    readProperties(lines, readers(draft, context), context);
    if (!lines.some((line) => line.words[0]!.text === "upstream")) {
      context.error(name.position, "Found no 'upstream' in 'ipref', expected at least one address");
    }
    return draft;
  },
});

function readers(
  draft: Draft<IprefSettings>,
  context: ParseContext,
): Record<string, PropertyReader> {
  const one =
    (read: (word: Word) => void): PropertyReader =>
    (args, name) => {
      if (expectCount(args, name, 1, 1, context)) read(args[0]!);
    };
  const several =
    (read: (words: readonly Word[]) => void): PropertyReader =>
    (args, name) => {
      if (expectCount(args, name, 1, Number.POSITIVE_INFINITY, context)) read(args);
    };
  const version = (word: Word) => {
    const choice = choiceOf(word, ["4", "6"], context);
    return choice === "6" ? 6 : 4;
  };
  return {
    except: several((words) => {
      draft.except = [...draft.except, ...zoneListOf(words, [], context)];
    }),
    upstream: several((words) => {
      draft.upstreams = [...draft.upstreams, ...upstreamsOf(words, context)];
    }),
    "ea-ipver": one((word) => {
      draft.encodedVersion = version(word);
    }),
    "gw-ipver": one((word) => {
      draft.gatewayVersion = version(word);
    }),
    mapper: one((word) => {
      draft.mapperPath = word.text.replace(/^unix:\/\//, "");
    }),
    "on-failure": one((word) => {
      draft.onFailure = choiceOf(word, ["next", "servfail"], context) ?? draft.onFailure;
    }),
    ttl: one((word) => {
      draft.ttlSecondsMax = numberOf(word, 1, TTL_MAX_SECONDS, context) ?? TTL_SECONDS;
    }),
    "max-records": one((word) => {
      draft.recordsMax = numberOf(word, 1, RECORDS_MAX, context) ?? RECORDS_MAX;
    }),
    "encode-net": several((words) => {
      draft.encodeNets = [...draft.encodeNets, ...words.flatMap((word) => prefixes(word, context))];
    }),
    svcb: one((word) => {
      draft.svcb = choiceOf(word, ["suppress", "strip", "pass"], context) ?? draft.svcb;
    }),
    parallel: one((word) => {
      draft.isParallel = choiceOf(word, ["on", "off"], context) !== "off";
    }),
  };
}

function prefixes(word: Word, context: ParseContext): IpPrefix[] {
  const prefix = parsePrefix(word.text);
  if (prefix !== undefined) return [prefix];
  context.error(word.position, `Found '${word.text}', expected a prefix such as 10.240.0.0/12`);
  return [];
}
