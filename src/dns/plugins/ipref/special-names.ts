/**
 * Names that must not be asked elsewhere (spec/resolver.md 1.11): localhost (RFC 6761), invalid,
 * onion (RFC 7686), and the two by which clients find encrypted resolvers that would bypass IPREF,
 * resolver.arpa (RFC 9462) and use-application-dns.net.
 */

import type { IpAddress } from "../../../base/ip.js";
import { type Name, nameOf } from "../../../wire/dns/name.js";
import { TYPE_A, TYPE_AAAA } from "../../../wire/dns/numbers.js";
import { type Answer, answerOf, negative } from "../../answer.js";
import { addressRecord, negativeSoa } from "./records.js";
import { NODATA_TTL_SECONDS_MAX } from "./settings.js";

const LOCALHOST = nameOf("localhost.");
const LOCALHOST_TTL_SECONDS = 3600;
const NOT_EXISTING = [nameOf("invalid."), nameOf("onion."), nameOf("use-application-dns.net.")];
const EMPTY = nameOf("resolver.arpa.");

const LOOPBACK_4: IpAddress = { version: 4, bytes: Uint8Array.of(127, 0, 0, 1) };
const LOOPBACK_6: IpAddress = {
  version: 6,
  bytes: Uint8Array.from({ length: 16 }, (_, index) => (index === 15 ? 1 : 0)),
};

/** The answer for a special name; undefined for all others. */
export function specialAnswer(name: Name, type: number): Answer | undefined {
  if (name.isWithin(LOCALHOST)) return localhost(name, type);
  if (name.isWithin(EMPTY)) return denial(name, true);
  if (NOT_EXISTING.some((ancestor) => name.isWithin(ancestor))) return denial(name, false);
  return undefined;
}

function localhost(name: Name, type: number): Answer {
  if (type !== TYPE_A && type !== TYPE_AAAA) return denial(name, true);
  const address = type === TYPE_A ? LOOPBACK_4 : LOOPBACK_6;
  const record = addressRecord(name, LOCALHOST_TTL_SECONDS, address);
  return answerOf({ answer: [record], isStorable: false });
}

function denial(name: Name, isNameKnown: boolean): Answer {
  const answer = negative(negativeSoa(name, NODATA_TTL_SECONDS_MAX), isNameKnown, 0);
  return { ...answer, isStorable: false };
}
