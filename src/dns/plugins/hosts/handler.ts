/**
 * Answers A, AAAA and PTR from a hosts file and lines of the Corefile (spec/resolver.md 2.6). A
 * known name without the type is NODATA; an unknown one goes to next with `fallthrough`, else
 * SERVFAIL.
 */

import type { IpAddress } from "../../../base/ip.js";
import { FLAG_AA, RCODE_SERVFAIL, TYPE_A, TYPE_AAAA, TYPE_PTR } from "../../../wire/dns/numbers.js";
import { recordOf } from "../../../wire/dns/record.js";
import { type Answer, answerOf, failure, type Reply } from "../../answer.js";
import type { Handler, Next } from "../../plugin.js";
import type { Environment, FileStamp } from "../../ports.js";
import type { Query } from "../../query.js";
import { zoneText } from "../../zone/scanner.js";
import type { HostsSettings } from "./setup.js";
import { type HostsTable, parseHosts } from "./table.js";

const UNKNOWN = failure(RCODE_SERVFAIL, "the name is in no hosts file");
const NO_ADDRESSES: readonly IpAddress[] = [];

export class HostsHandler implements Handler {
  readonly name = "hosts";
  readonly #settings: HostsSettings;
  readonly #environment: Environment;
  #table: HostsTable;
  #stamp: FileStamp | undefined;
  #cancel: (() => void) | undefined;

  constructor(settings: HostsSettings, environment: Environment) {
    this.#settings = settings;
    this.#environment = environment;
    this.#table = parseHosts(settings.inline);
  }

  async start(): Promise<undefined> {
    await this.reload();
    this.#watch();
  }

  stop(): void {
    this.#cancel?.();
  }

  /** Reads the file if it changed; without the file the lines of the Corefile remain. */
  async reload(): Promise<void> {
    const { files, log } = this.#environment;
    const stamp = await files.stamp(this.#settings.path);
    const old = this.#stamp;
    if (stamp && old && stamp.modifiedMs === old.modifiedMs && stamp.sizeBytes === old.sizeBytes) {
      return;
    }
    const content = await files.read(this.#settings.path);
    if (!content.ok) {
      if (old !== undefined || stamp !== undefined) {
        log.write("WARNING", "hosts", `Cannot read ${this.#settings.path}: ${content.error}`);
      }
      this.#stamp = undefined;
      this.#table = parseHosts(this.#settings.inline);
      return;
    }
    this.#stamp = content.stamp;
    this.#table = parseHosts([...this.#settings.inline, ...zoneText(content.bytes).split("\n")]);
  }

  handle(query: Query, next: Next): Reply {
    const { key } = query.name;
    if (query.type === TYPE_PTR && this.#settings.hasReverse) {
      const names = this.#table.names.get(key);
      if (names !== undefined)
        return this.#answer(
          query,
          names.map((name) => name.wire),
        );
    }
    const { zones, fallthrough } = this.#settings;
    if (!zones.some((zone) => query.name.isWithin(zone))) return next(query);
    const host = this.#table.addresses.get(key);
    if (host === undefined) {
      // Reverse names are not in the file's zones, whatever the block is called.
      const isPassed =
        query.type === TYPE_PTR || fallthrough.some((zone) => query.name.isWithin(zone));
      return isPassed ? next(query) : UNKNOWN;
    }
    const isIpv6 = query.type === TYPE_AAAA;
    const addresses = isIpv6 ? host.ipv6 : query.type === TYPE_A ? host.ipv4 : NO_ADDRESSES;
    return this.#answer(
      query,
      addresses.map((address) => address.bytes),
    );
  }

  #answer(query: Query, data: readonly Uint8Array[]): Answer {
    const { ttlSeconds } = this.#settings;
    const answer = data.map((bytes) => recordOf(query.name, query.type, ttlSeconds, bytes));
    return answerOf({ flags: FLAG_AA, answer });
  }

  #watch(): void {
    if (this.#settings.reloadMs === 0) return;
    this.#cancel = this.#environment.timers.after(this.#settings.reloadMs, () => {
      void this.reload().then(() => this.#watch());
    });
  }
}
