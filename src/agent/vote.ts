/**
 * The vote of name servers about the content of a zone (spec/dns-agent.md 7).
 *
 * Results older than three intervals do not count. Of the fresh ones a majority decides, but not
 * before every configured server has answered or failed once: the first answer alone would be a
 * majority. Servers that disagree without majority for two rounds are settled by the newest serial.
 */

import { isSerialNewer } from "../dns/zone/serial.js";

/** spec/dns-agent.md 7: results are fresh for this many intervals. */
export const FRESH_INTERVALS = 3;
/** spec/dns-agent.md 7: rounds until the newest serial decides. */
export const DISAGREEMENT_INTERVALS = 2;

/** Latest state of one server. */
export interface Ballot {
  /** It has answered or failed since the start. */
  readonly hasVoted: boolean;
  /** When the content was last confirmed; undefined: never. */
  readonly confirmedAtMs: number | undefined;
  readonly fingerprint: string;
  readonly serial: number | undefined;
}

export type VoteResult =
  /** Index of a server whose content is accepted. */
  | { readonly kind: "accepted"; readonly index: number }
  | { readonly kind: "waiting" }
  | { readonly kind: "disagreement" };

/** Counts. `disagreementAtMs`: since when there has been no majority. */
export function vote(
  ballots: readonly Ballot[],
  nowMs: number,
  intervalMs: number,
  disagreementAtMs: number | undefined,
): VoteResult {
  if (ballots.some(({ hasVoted }) => !hasVoted)) return { kind: "waiting" };
  const freshSinceMs = nowMs - FRESH_INTERVALS * intervalMs;
  const fresh = [...ballots.entries()].filter(
    ([, { confirmedAtMs }]) => confirmedAtMs !== undefined && confirmedAtMs >= freshSinceMs,
  );
  if (fresh.length === 0) return { kind: "waiting" };
  const quorum = Math.floor(fresh.length / 2) + 1;
  const counts = new Map<string, number>();
  for (const [index, { fingerprint }] of fresh) {
    const count = (counts.get(fingerprint) ?? 0) + 1;
    if (count >= quorum) return { kind: "accepted", index };
    counts.set(fingerprint, count);
  }
  const isOld =
    disagreementAtMs !== undefined &&
    nowMs - disagreementAtMs >= DISAGREEMENT_INTERVALS * intervalMs;
  const newest = isOld ? newestSerial(fresh) : undefined;
  return newest === undefined ? { kind: "disagreement" } : { kind: "accepted", index: newest };
}

/** The server with the newest serial, when all servers with that serial say the same. */
function newestSerial(fresh: readonly (readonly [number, Ballot])[]): number | undefined {
  let best: readonly [number, Ballot] | undefined;
  for (const entry of fresh) {
    const serial = entry[1].serial;
    if (serial === undefined) return undefined;
    if (best === undefined || isSerialNewer(serial, best[1].serial!)) best = entry;
  }
  const { serial, fingerprint } = best![1];
  const isUnique = fresh.every(
    ([, other]) => other.serial !== serial || other.fingerprint === fingerprint,
  );
  return isUnique ? best![0] : undefined;
}
