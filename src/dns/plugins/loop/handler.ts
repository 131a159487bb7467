/** Ends the round of a loop probe that has come back to this server (spec/resolver.md 1.15). */

import { RCODE_SERVFAIL } from "../../../wire/dns/numbers.js";
import { type Answer, failure, type Reply } from "../../answer.js";
import type { Handler, Next } from "../../plugin.js";
import type { Query } from "../../query.js";
import type { LoopGuard } from "../../upstream/loop-guard.js";

const LOOP: Answer = { ...failure(RCODE_SERVFAIL, "a loop probe came back"), isStorable: false };

export class LoopHandler implements Handler {
  readonly name = "loop";
  readonly #guard: LoopGuard;

  constructor(guard: LoopGuard) {
    this.#guard = guard;
  }

  handle(query: Query, next: Next): Reply {
    if (!this.#guard.isEmpty && this.#guard.recognise(query)) return LOOP;
    return next(query);
  }
}
