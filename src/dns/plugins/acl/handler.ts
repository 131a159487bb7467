/** Lets queries pass, refuses, empties or ignores them by name, type and source. */

import { prefixContains } from "../../../base/ip.js";
import { type Answer, answerOf, REFUSED, type Reply, SILENT } from "../../answer.js";
import type { Handler, Next } from "../../plugin.js";
import type { Query } from "../../query.js";
import type { AclRule, AclSettings } from "./setup.js";

/** RFC 8914 4: "Blocked" and "Filtered". */
const EXTENDED_ERROR_BLOCKED = 15;
const EXTENDED_ERROR_FILTERED = 17;

const BLOCKED: Answer = {
  ...REFUSED,
  extendedError: { code: EXTENDED_ERROR_BLOCKED, text: "" },
};
const FILTERED: Answer = answerOf({
  isStorable: false,
  extendedError: { code: EXTENDED_ERROR_FILTERED, text: "" },
});

export class AclHandler implements Handler {
  readonly name = "acl";
  readonly #rules: AclSettings;

  constructor(rules: AclSettings) {
    this.#rules = rules;
  }

  handle(query: Query, next: Next): Reply {
    const rule = this.#rules.find((candidate) => matches(candidate, query));
    switch (rule?.action) {
      case "block":
        return BLOCKED;
      case "filter":
        return FILTERED;
      case "drop":
        return SILENT;
      default:
        return next(query);
    }
  }
}

function matches(rule: AclRule, query: Query): boolean {
  if (rule.types !== undefined && !rule.types.has(query.type)) return false;
  const { address } = query.client;
  if (rule.networks !== undefined) {
    if (!rule.networks.some((network) => prefixContains(network, address))) return false;
  }
  return rule.zones.some((zone) => query.name.isWithin(zone));
}
