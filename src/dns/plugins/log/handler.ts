/** Writes one line for each query that a rule selects (spec/resolver.md 2.6). */

import { RCODE_NOERROR, RCODE_NXDOMAIN } from "../../../wire/dns/numbers.js";
import type { Answer, Reply } from "../../answer.js";
import type { Handler, Next, Outcome } from "../../plugin.js";
import type { Log } from "../../ports.js";
import type { Query } from "../../query.js";
import { formatLine } from "./format.js";
import type { LogClass, LogSettings } from "./setup.js";

export class LogHandler implements Handler {
  readonly name = "log";
  readonly #rules: LogSettings;
  readonly #log: Log;

  constructor(rules: LogSettings, log: Log) {
    this.#rules = rules;
    this.#log = log;
  }

  handle(query: Query, next: Next): Reply {
    return next(query);
  }

  finished(query: Query, outcome: Outcome): void {
    const rule = this.#rules.find(({ names }) => names.some((name) => query.name.isWithin(name)));
    if (rule === undefined) return;
    if (!rule.classes.has("all") && !rule.classes.has(classOf(outcome))) return;
    this.#log.write("INFO", undefined, formatLine(rule.format, query, outcome), "dns-query");
  }
}

/** NXDOMAIN and NODATA are denials, other codes but NOERROR errors. */
function classOf({ answer, rcode }: Outcome): LogClass {
  if (rcode === RCODE_NXDOMAIN) return "denial";
  if (rcode !== RCODE_NOERROR) return "error";
  return isNoData(answer) ? "denial" : "success";
}

function isNoData(answer: Answer): boolean {
  if (answer.kind === "records") return answer.answer.length === 0;
  return answer.kind === "packed" && answer.sections.answerCount === 0;
}
