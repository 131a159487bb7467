/**
 * Zone transfer out (RFC 5936, RFC 1995; spec/resolver.md 3.5) and NOTIFY. The zone version is
 * fixed when a transfer starts.
 */

import { formatIp, parseIp, sameAddress } from "../../../base/ip.js";
import type { Name } from "../../../wire/dns/name.js";
import {
  FLAG_AA,
  RCODE_FORMERR,
  RCODE_NOTAUTH,
  RCODE_SERVFAIL,
  TYPE_AXFR,
  TYPE_IXFR,
  TYPE_SOA,
  typeName,
} from "../../../wire/dns/numbers.js";
import { type Answer, answerOf, failure, REFUSED, type Reply } from "../../answer.js";
import type { BuildContext, Handler, Next } from "../../plugin.js";
import type { Endpoint, Query } from "../../query.js";
import { isSerialNewer, soaSerial } from "../../zone/serial.js";
import type { ZoneVersion } from "../../zone/source.js";
import type { BindSettings } from "../bind/setup.js";
import { notifySecondary } from "./notify.js";
import type { TransferRule, TransferSettings } from "./setup.js";
import { transferStream } from "./stream.js";

/** spec/resolver.md 3.5. */
const TRANSFERS_MAX = 10;
/** Secondaries ask back at once, so the listeners must be open first. */
const NOTIFY_DELAY_MS = 1000;

const NOT_A_ZONE = failure(RCODE_NOTAUTH, "the name is not the apex of a zone");
const NO_SOA = failure(RCODE_FORMERR, "IXFR without SOA");
const TOO_MANY = failure(RCODE_SERVFAIL, "too many transfers");

export class TransferHandler implements Handler {
  readonly name = "transfer";
  readonly #rules: TransferSettings;
  readonly #context: BuildContext;
  readonly #cancels = new Set<() => void>();
  #running = 0;
  #isStopped = false;

  constructor(rules: TransferSettings, context: BuildContext) {
    this.#rules = rules;
    this.#context = context;
  }

  /** Listens for loads; runs before the handlers that load, since it stands before them. */
  async start(): Promise<undefined> {
    for (const source of this.#context.zoneSources()) {
      source.onLoaded((version) => this.#scheduleNotify(version));
    }
  }

  stop(): void {
    this.#isStopped = true;
    for (const cancel of this.#cancels) cancel();
  }

  handle(query: Query, next: Next): Reply {
    const { type } = query;
    if (type !== TYPE_AXFR && type !== TYPE_IXFR) return next(query);
    const rule = this.#ruleFor(query.name);
    if (rule === undefined || !isPermitted(rule, query)) return REFUSED;
    const version = this.#version(query.name.key);
    if (version === undefined) return NOT_A_ZONE;
    return type === TYPE_AXFR ? this.#axfr(query, version) : this.#ixfr(query, version);
  }

  /** The rule whose zone is the longest one that covers the name. */
  #ruleFor(name: Name): TransferRule | undefined {
    let best: TransferRule | undefined;
    let bestLength = 0;
    for (const rule of this.#rules) {
      for (const zone of rule.zones) {
        if (zone.wire.length <= bestLength || !name.isWithin(zone)) continue;
        best = rule;
        bestLength = zone.wire.length;
      }
    }
    return best;
  }

  #version(key: string): ZoneVersion | undefined {
    for (const source of this.#context.zoneSources()) {
      const version = source.version(key);
      if (version !== undefined) return version;
    }
    return undefined;
  }

  #axfr(query: Query, version: ZoneVersion): Answer {
    if (query.transport === "udp") return REFUSED;
    if (this.#running >= TRANSFERS_MAX) return TOO_MANY;
    this.#running++;
    const { clock, log } = this.#context.environment;
    const startMs = clock.monotonicMs();
    return transferStream(query, version, (summary) => {
      this.#running--;
      const seconds = ((clock.monotonicMs() - startMs) / 1000).toFixed(3);
      const peer = formatIp(query.client.address);
      const state = summary.isComplete ? "" : " (connection closed before the end)";
      log.write(
        "INFO",
        "transfer",
        `${typeName(query.type)} of ${version.origin} to ${peer}: ${summary.records} records, ` +
          `${summary.bytes} octets, serial ${version.serial}, ${seconds}s${state}`,
      );
    });
  }

  /** One SOA when the client is current or asks over UDP; else the whole zone. */
  #ixfr(query: Query, version: ZoneVersion): Answer {
    const known = query.authorities.find((record) => record.type === TYPE_SOA);
    if (known === undefined) return NO_SOA;
    const isBehind = isSerialNewer(version.serial, soaSerial(known));
    if (isBehind && query.transport === "tcp") return this.#axfr(query, version);
    return answerOf({ flags: FLAG_AA, answer: [version.soa], isStorable: false });
  }

  #scheduleNotify(version: ZoneVersion): void {
    const { environment } = this.#context;
    const rule = this.#ruleFor(version.origin);
    if (rule === undefined || rule.to.length === 0) return;
    const cancel = environment.timers.after(NOTIFY_DELAY_MS, () => {
      this.#cancels.delete(cancel);
      const isCurrent = () => !this.#isStopped && this.#version(version.origin.key) === version;
      for (const to of rule.to) {
        void notifySecondary(version, to, this.#listenAddress(to), environment, isCurrent);
      }
    });
    this.#cancels.add(cancel);
  }

  /** The address of `bind` of the secondary's IP version; undefined: the kernel's choice. */
  #listenAddress(to: Endpoint): Endpoint | undefined {
    const lines = this.#context.settingsOf("bind") as BindSettings | undefined;
    for (const word of lines?.flatMap((line) => line.listen) ?? []) {
      const address = parseIp(word.text);
      if (address?.version === to.address.version) return { address, port: 0 };
    }
    return undefined;
  }
}

function isPermitted(rule: TransferRule, query: Query): boolean {
  const { address } = query.client;
  return rule.isOpen || rule.to.some((endpoint) => sameAddress(endpoint.address, address));
}
