/**
 * Record types that carry IPREF addresses (spec/resolver.md 1.5). Today it is TXT alone; a type of
 * its own for AA would become a second carrier, and both would be asked.
 */

import { TYPE_TXT } from "../../../wire/dns/numbers.js";
import type { ResourceRecord } from "../../../wire/dns/record.js";
import { type AaAddress, type AaFault, parseAaString } from "./aa-string.js";

/** What became of a string that claims to be an IPREF address but is none. */
export type OnInvalid = (octets: Uint8Array, reason: AaFault) => void;

export interface AaCarrier {
  readonly type: number;
  /** Appends the IPREF addresses of one record, in order. */
  readInto(target: AaAddress[], record: ResourceRecord, onInvalid: OnInvalid): void;
}

/** spec/resolver.md 5.2: strings looked at in one answer. */
export const AA_PARSED_MAX = 64;

/** TXT: every character-string stands for itself; strings are never joined. */
export const TXT_CARRIER: AaCarrier = {
  type: TYPE_TXT,
  readInto(target, record, onInvalid) {
    const { data } = record;
    for (let at = 0; at < data.length && target.length < AA_PARSED_MAX; at += 1 + data[at]!) {
      const octets = data.subarray(at + 1, at + 1 + data[at]!);
      const parsed = parseAaString(octets);
      if (parsed.kind === "valid") target.push(parsed.aa);
      else if (parsed.kind === "invalid") onInvalid(octets, parsed.reason);
    }
  },
};

export const CARRIERS: readonly AaCarrier[] = [TXT_CARRIER];
