/** Answers ANY with one HINFO (RFC 8482 4.2), so that nobody can use it for amplification. */

import type { Name } from "../../../wire/dns/name.js";
import { TYPE_ANY, TYPE_HINFO } from "../../../wire/dns/numbers.js";
import { recordOf } from "../../../wire/dns/record.js";
import { type Answer, answerOf, type Reply } from "../../answer.js";
import type { Handler, Next } from "../../plugin.js";
import type { Query } from "../../query.js";

/** spec/resolver.md 1.11. */
const TTL_SECONDS = 3600;

/** Character-strings "RFC8482" and "". */
const HINFO_DATA = Uint8Array.of(7, 0x52, 0x46, 0x43, 0x38, 0x34, 0x38, 0x32, 0);

/** The minimal answer to ANY. */
export function anyAnswer(name: Name, flags = 0): Answer {
  return answerOf({ flags, answer: [recordOf(name, TYPE_HINFO, TTL_SECONDS, HINFO_DATA)] });
}

export class AnyHandler implements Handler {
  readonly name = "any";

  handle(query: Query, next: Next): Reply {
    return query.type === TYPE_ANY ? anyAnswer(query.name) : next(query);
  }
}
