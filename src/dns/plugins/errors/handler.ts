/**
 * Logs why queries failed: `plugin/errors: RCODENUMBER NAME TYPE: text` (spec/resolver.md 2.6).
 * Texts that match a consolidation are counted and reported together.
 */

import { formatKey } from "../../../wire/dns/name.js";
import { typeName } from "../../../wire/dns/numbers.js";
import type { Reply } from "../../answer.js";
import type { Handler, Next, Outcome } from "../../plugin.js";
import type { Environment } from "../../ports.js";
import type { Query } from "../../query.js";
import type { Consolidation, ErrorsSettings } from "./setup.js";

interface Tally {
  readonly rule: Consolidation;
  count: number;
  cancel: (() => void) | undefined;
}

export class ErrorsHandler implements Handler {
  readonly name = "errors";
  readonly #environment: Environment;
  readonly #tallies: readonly Tally[];

  constructor(settings: ErrorsSettings, environment: Environment) {
    this.#environment = environment;
    this.#tallies = settings.consolidations.map((rule) => ({ rule, count: 0, cancel: undefined }));
  }

  handle(query: Query, next: Next): Reply {
    return next(query);
  }

  finished(query: Query, { answer, rcode }: Outcome): void {
    const { cause } = answer;
    if (cause === undefined) return;
    const tally = this.#tallies.find(({ rule }) => rule.pattern.test(cause));
    if (tally !== undefined) this.#count(tally);
    else {
      const name = formatKey(query.name.key);
      const text = `${rcode} ${name} ${typeName(query.type)}: ${cause}`;
      this.#environment.log.write("ERROR", "errors", text);
    }
  }

  stop(): void {
    for (const tally of this.#tallies) {
      tally.cancel?.();
      this.#report(tally);
    }
  }

  #count(tally: Tally): void {
    tally.count++;
    tally.cancel ??= this.#environment.timers.after(tally.rule.intervalMs, () => {
      this.#report(tally);
    });
  }

  #report(tally: Tally): void {
    tally.cancel = undefined;
    if (tally.count === 0) return;
    const { level, pattern, intervalMs } = tally.rule;
    const seconds = intervalMs / 1000;
    const text = `${tally.count} errors like '${pattern.source}' occurred in last ${seconds}s`;
    tally.count = 0;
    this.#environment.log.write(level, "errors", text);
  }
}
