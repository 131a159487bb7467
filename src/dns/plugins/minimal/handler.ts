/**
 * Leaves authority and additional sections out of positive answers. Referrals and negative answers
 * need theirs and stay.
 */

import { RCODE_NOERROR } from "../../../wire/dns/numbers.js";
import type { Answer, Reply } from "../../answer.js";
import { type Handler, type Next, whenAnswered } from "../../plugin.js";
import type { Query } from "../../query.js";

export class MinimalHandler implements Handler {
  readonly name = "minimal";

  handle(query: Query, next: Next): Reply {
    return whenAnswered(next(query), minimize);
  }
}

function minimize(answer: Answer): Answer {
  if (answer.kind !== "records" || answer.rcode !== RCODE_NOERROR) return answer;
  if (answer.answer.length === 0) return answer;
  if (answer.authority.length + answer.additional.length === 0) return answer;
  return { ...answer, authority: [], additional: [], isAdditionalNeeded: false };
}
