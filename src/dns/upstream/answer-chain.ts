/**
 * What a question leads to in an answer section (spec/resolver.md 4.4): the records of its name, of
 * the names its CNAMEs and DNAMEs point to, and nothing else that a server may have put there.
 */

import { type DecodedMessage, onlyQuestion } from "../../wire/dns/message.js";
import { type Name, Name as NameValue, nameKeyAt } from "../../wire/dns/name.js";
import { TYPE_CNAME, TYPE_DNAME, TYPE_RRSIG } from "../../wire/dns/numbers.js";
import type { ResourceRecord } from "../../wire/dns/record.js";

/** Records of the answer section that belong to the question, in their order. */
export function reachableAnswers(message: DecodedMessage): readonly ResourceRecord[] {
  const question = onlyQuestion(message);
  if (question === undefined) return [];
  const names = reachableNames(question.name, message.answer);
  return message.answer.filter((record) => belongs(record, names));
}

/** Keys of the names on the chain; order of the records does not matter. */
function reachableNames(
  start: Name,
  records: readonly ResourceRecord[],
): ReadonlyMap<string, Name> {
  const names = new Map([[start.key, start]]);
  const targets = new Map<string, Name>();
  for (const { type, owner, data } of records) {
    if (type !== TYPE_CNAME || targets.has(owner.key)) continue;
    targets.set(owner.key, new NameValue(data, nameKeyAt(data, 0, data.length)));
  }
  // A loop of CNAMEs ends at the first name that is known already.
  for (let name = targets.get(start.key); name !== undefined; name = targets.get(name.key)) {
    if (names.has(name.key)) break;
    names.set(name.key, name);
  }
  return names;
}

/** A DNAME stands above the name that it redirects; its CNAME is in the answer as well. */
function belongs({ type, owner, data }: ResourceRecord, names: ReadonlyMap<string, Name>): boolean {
  if (names.has(owner.key)) return true;
  const covered = type === TYPE_RRSIG ? (data[0]! << 8) | data[1]! : type;
  if (covered !== TYPE_DNAME) return false;
  for (const name of names.values()) if (name.isWithin(owner)) return true;
  return false;
}
