/** Reads `ipref` (spec/resolver.md 1.15) and joins the parts of its handler. */

import type { IpVersion } from "../../../base/ip.js";
import { Name } from "../../../wire/dns/name.js";
import type { Directive, PropertyLine, Word } from "../../corefile/structure.js";
import {
  choiceOf,
  expectCount,
  numberOf,
  parseNetwork,
  readProperties,
  zoneListOf,
} from "../../corefile/words.js";
import { type BuildContext, definePlugin, type ParseContext } from "../../plugin.js";
import type { UpstreamPort } from "../../ports.js";
import { loopGuardOf, probeAfterStart } from "../../upstream/loop-guard.js";
import { Discovery } from "./discovery.js";
import { Gateways } from "./gateways.js";
import { IprefHandler } from "./handler.js";
import { Mappings } from "./mappings.js";
import { NewAddressLimit } from "./new-address-limit.js";
import { IprefReport } from "./report.js";
import { ReverseTable } from "./reverse.js";
import { Scope } from "./scope.js";
import type { IprefSettings, NewAddressLimits } from "./settings.js";
import * as defaults from "./settings.js";
import { IPREF_UPSTREAM_OPTIONS, openUpstreams, readUpstreams } from "./upstreams.js";

const RECORDS_MAX = 8;
const LIMIT_MAX = 1_000_000;

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

export const iprefPlugin = definePlugin<IprefSettings>({
  name: "ipref",
  isOnce: true,
  parse: (occurrences, context) => new IprefReader(occurrences[0]!, context).read(),
  build: buildIpref,
});

class IprefReader {
  readonly #directive: Directive;
  readonly #context: ParseContext;
  readonly #settings: Mutable<IprefSettings>;
  #isComplete = true;

  constructor(directive: Directive, context: ParseContext) {
    this.#directive = directive;
    this.#context = context;
    this.#settings = {
      from: zoneListOf(directive.args, context.zones, context),
      except: [],
      upstreams: [],
      encodedVersion: 4,
      gatewayVersion: 4,
      mapperPath: defaults.MAPPER_PATH_DEFAULT,
      onFailure: "next",
      ttlSecondsMax: defaults.TTL_SECONDS_DEFAULT,
      recordsMax: defaults.RECORDS_DEFAULT,
      encodeNet: [],
      svcb: "suppress",
      isParallel: true,
      newAddresses: defaults.NEW_ADDRESSES_DEFAULT,
    };
  }

  read(): IprefSettings | undefined {
    const settings = this.#settings;
    readProperties(this.#directive.lines, this.#readers(), this.#context);
    if (settings.upstreams.length === 0 && this.#isComplete) {
      const message =
        "Found 'ipref' without 'upstream', expected the servers to ask for TXT records";
      this.#context.error(this.#directive.name.position, message);
      return undefined;
    }
    return this.#isComplete ? settings : undefined;
  }

  /** One reader a property; a missing argument is complained about before it runs. */
  #readers() {
    const settings = this.#settings;
    const context = this.#context;
    const one = (read: (word: Word) => void) => this.#counted(1, 1, ([word]) => read(word!));
    const some = (read: (words: readonly Word[]) => void) => this.#counted(1, MANY, read);
    return {
      except: some((words) => {
        settings.except = [...settings.except, ...zoneListOf(words, [], context)];
      }),
      upstream: some((words) => this.#upstream(words)),
      "ea-ipver": one((word) => {
        settings.encodedVersion = this.#version(word) ?? settings.encodedVersion;
      }),
      "gw-ipver": one((word) => {
        settings.gatewayVersion = this.#version(word) ?? settings.gatewayVersion;
      }),
      mapper: one((word) => {
        settings.mapperPath = word.text.replace(/^unix:\/\//, "");
      }),
      "on-failure": one((word) => {
        const choice = choiceOf(word, ["next", "servfail"], context);
        settings.onFailure = choice ?? settings.onFailure;
      }),
      ttl: one((word) => {
        const ttlSeconds = numberOf(word, 1, defaults.TTL_SECONDS_MAX, context);
        settings.ttlSecondsMax = ttlSeconds ?? settings.ttlSecondsMax;
      }),
      "max-records": one((word) => {
        settings.recordsMax = numberOf(word, 1, RECORDS_MAX, context) ?? settings.recordsMax;
      }),
      "encode-net": some((words) => this.#encodeNet(words)),
      svcb: one((word) => {
        const choice = choiceOf(word, ["suppress", "strip", "pass"], context);
        settings.svcb = choice ?? settings.svcb;
      }),
      parallel: one((word) => {
        settings.isParallel = choiceOf(word, ["on", "off"], context) !== "off";
      }),
      "new-addresses": this.#counted(1, 3, (words, name) => {
        settings.newAddresses = this.#newAddresses(words, name);
      }),
    };
  }

  /** A property with a number of arguments and no braces. */
  #counted(min: number, max: number, read: (words: readonly Word[], name: Word) => void) {
    return (words: readonly Word[], name: Word, line: PropertyLine): void => {
      const surplus = line.lines[0]?.words[0];
      if (surplus !== undefined) {
        const message = `Found '{' after '${name.text}', expected the end of the line`;
        this.#context.error(surplus.position, message);
      }
      if (expectCount(words, name, min, max, this.#context)) read(words, name);
      else this.#isComplete = false;
    };
  }

  #version(word: Word): IpVersion | undefined {
    const text = choiceOf(word, ["4", "6"], this.#context);
    return text === undefined ? undefined : text === "4" ? 4 : 6;
  }

  #upstream(words: readonly Word[]): void {
    const targets = readUpstreams(words, this.#context);
    this.#settings.upstreams = [...this.#settings.upstreams, ...targets];
    if (targets.length < words.length) this.#isComplete = false;
  }

  #encodeNet(words: readonly Word[]): void {
    for (const word of words) {
      const net = parseNetwork(word.text);
      if (net !== undefined) this.#settings.encodeNet = [...this.#settings.encodeNet, net];
      else {
        const message = `Found '${word.text}', expected a network such as 10.240.0.0/12`;
        this.#context.error(word.position, message);
      }
    }
  }

  /** `off`, or new addresses a client and minute, a gateway and second, in all and second. */
  #newAddresses(words: readonly Word[], name: Word): NewAddressLimits | undefined {
    const before = this.#settings.newAddresses;
    if (words.length === 1 && words[0]!.text === "off") return undefined;
    if (!expectCount(words, name, 3, 3, this.#context)) return before;
    const numbers = words.map((word) => numberOf(word, 1, LIMIT_MAX, this.#context) ?? 1);
    const [clientPerMinute, gatewayPerSecond, totalPerSecond] = numbers;
    return {
      clientPerMinute: clientPerMinute!,
      gatewayPerSecond: gatewayPerSecond!,
      totalPerSecond: totalPerSecond!,
    };
  }
}

const MANY = Number.POSITIVE_INFINITY;

function buildIpref(settings: IprefSettings, context: BuildContext): IprefHandler {
  const { environment, serverLabel } = context;
  const { clock, log, metrics, random } = environment;
  const now = () => clock.monotonicMs();
  const report = new IprefReport(serverLabel, metrics, log, clock);
  const mapper = environment.mapper(settings.mapperPath);
  const reverse = new ReverseTable();
  const guard = loopGuardOf(environment);
  let port: UpstreamPort | undefined;
  let cancelProbe = () => {};
  const upstream = () => port;
  const { encodeNet, gatewayVersion: version } = settings;
  const gateways = new Gateways({ upstream, version, encodeNet, now });
  const discovery = new Discovery({
    upstream,
    report,
    now,
    seed: random.word(),
    isUsable: (address) => gateways.isUsable(address),
    isForbidden: (address) => gateways.isForbidden(address),
  });
  const { newAddresses, encodedVersion, ttlSecondsMax, recordsMax } = settings;
  const limit = newAddresses && new NewAddressLimit(newAddresses);
  const mappings = new Mappings({
    ...{ gateways, mapper, limit, reverse, report, now },
    ...{ encodedVersion, ttlSecondsMax, recordsMax },
  });
  return new IprefHandler({
    ...{ settings, discovery, mappings, reverse, report, now },
    scope: new Scope(settings.from, settings.except),
    hasForward: context.settingsOf("forward") !== undefined,
    isReady: () => mapper.isReady && port !== undefined,
    isLoopProbe: (query) => !guard.isEmpty && guard.recognise(query),
    async start() {
      const opened = await openUpstreams(settings.upstreams, environment.files);
      if ("error" in opened) return opened.error;
      port = environment.upstream(opened.servers, IPREF_UPSTREAM_OPTIONS);
      cancelProbe = probeAfterStart(environment, port, settings.from[0] ?? Name.ROOT);
      return undefined;
    },
    stop: () => cancelProbe(),
  });
}
