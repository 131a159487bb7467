/** Rotates the A and AAAA records of an answer, each set by a random number of places. */

import { type RandomSource, randomBelow } from "../../../base/random.js";
import { TYPE_A, TYPE_AAAA } from "../../../wire/dns/numbers.js";
import type { ResourceRecord } from "../../../wire/dns/record.js";
import type { Answer, Reply } from "../../answer.js";
import { type Handler, type Next, whenAnswered } from "../../plugin.js";
import type { Query } from "../../query.js";

export class LoadbalanceHandler implements Handler {
  readonly name = "loadbalance";
  readonly #random: RandomSource;

  constructor(random: RandomSource) {
    this.#random = random;
  }

  handle(query: Query, next: Next): Reply {
    return whenAnswered(next(query), (answer) => this.#rotate(answer));
  }

  #rotate(answer: Answer): Answer {
    if (answer.kind !== "records" || answer.answer.length < 2) return answer;
    const isAddress = ({ type }: ResourceRecord) => type === TYPE_A || type === TYPE_AAAA;
    const addresses = answer.answer.filter(isAddress);
    if (addresses.length < 2) return answer;
    const shift = randomBelow(this.#random, addresses.length);
    const rotated = [...addresses.slice(shift), ...addresses.slice(0, shift)];
    const others = answer.answer.filter((record) => !isAddress(record));
    return { ...answer, answer: [...others, ...rotated] };
  }
}
