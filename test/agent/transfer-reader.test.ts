/** The records of AXFR and IXFR (RFC 5936 2.2, RFC 1995 4), and the vote of servers. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TransferReader } from "../../src/agent/transfer-reader.js";
import { type Ballot, vote } from "../../src/agent/vote.js";
import { soaOf, type ZoneCopy, zoneCopyOf } from "../../src/agent/zone-copy.js";
import { randomBelow, seededRandom } from "../../src/base/random.js";
import type { ResourceRecord } from "../../src/wire/dns/record.js";
import { APEX, chunks, soaRecord, txtRecord } from "./agent-lab.js";

function copy(serial: number, labels: Iterable<string>): ZoneCopy {
  const records = [...labels].map((label) => txtRecord(label, "x"));
  return zoneCopyOf(soaOf(soaRecord(serial)), records);
}

function read(base: ZoneCopy | undefined, messages: readonly (readonly ResourceRecord[])[]) {
  const reader = new TransferReader(APEX, base);
  let state = reader.message(messages[0]!);
  for (const message of messages.slice(1)) state = reader.message(message);
  return state;
}

function labels(of: ZoneCopy): string[] {
  return [...of.records.values()].map(({ owner }) => owner.firstLabelKey).sort();
}

const txt = (label: string) => txtRecord(label, "x");

test("a full transfer may be cut into messages anywhere", () => {
  const whole = [soaRecord(5), txt("a"), txt("b"), txt("c"), soaRecord(5)];
  for (const base of [undefined, copy(4, ["z"])]) {
    for (let size = 1; size <= whole.length; size++) {
      const state = read(base, chunks(whole, size));
      assert.ok(state.kind === "done", `${size} records a message`);
      assert.deepEqual(labels(state.copy), ["a", "b", "c"]);
    }
  }
});

test("a lone SOA with the known serial means unchanged", () => {
  assert.equal(read(copy(5, []), [[soaRecord(5)]]).kind, "unchanged");
  assert.equal(read(copy(4, []), [[soaRecord(5)]]).kind, "more");
});

test("an empty zone is a zone", () => {
  const state = read(copy(4, ["a"]), [[soaRecord(5), soaRecord(5)]]);
  assert.ok(state.kind === "done");
  assert.deepEqual(labels(state.copy), []);
});

test("random chains of differences give what the full zone has", () => {
  const seed = Date.now() & 0xffff;
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.nat(), (steps, chance) => {
      const random = seededRandom(chance);
      const present = new Set(["a", "b", "c"]);
      const base = copy(1, present);
      const records: ResourceRecord[] = [soaRecord(1 + steps)];
      for (let step = 1; step <= steps; step++) {
        const gone = [...present].filter(() => randomBelow(random, 3) === 0);
        for (const label of gone) present.delete(label);
        records.push(soaRecord(step), ...gone.map(txt), soaRecord(step + 1));
        const label = `n${step}`;
        present.add(label);
        records.push(txt(label));
      }
      records.push(soaRecord(1 + steps));
      const state = read(base, chunks(records, 1 + randomBelow(random, 9)));
      assert.ok(state.kind === "done" && state.isIncremental);
      assert.deepEqual(labels(state.copy), [...present].sort());
      assert.deepEqual(labels(base), ["a", "b", "c"]);
    }),
    { seed },
  );
});

test("transfers that do not fit are faults", () => {
  const base = copy(4, ["a"]);
  const cases: [string, ZoneCopy | undefined, ResourceRecord[]][] = [
    ["no SOA first", undefined, [txt("a"), soaRecord(5)]],
    ["another closing SOA", undefined, [soaRecord(5), txt("a"), soaRecord(6)]],
    ["records behind", undefined, [soaRecord(5), soaRecord(5), txt("a")]],
    ["no records", undefined, []],
    ["SOA of another zone", undefined, [soaRecord(5, txt("sub").owner)]],
    ["another start", base, [soaRecord(6), soaRecord(3), soaRecord(6), soaRecord(6)]],
    ["unknown deletion", base, [soaRecord(5), soaRecord(4), txt("q"), soaRecord(5), soaRecord(5)]],
    ["a gap", base, [soaRecord(6), soaRecord(4), soaRecord(5), soaRecord(6)]],
  ];
  for (const [what, from, records] of cases) {
    assert.equal(read(from, [records]).kind, "fault", what);
  }
});

const MINUTE = 60_000;

function ballot(fingerprint: string, serial = 1, confirmedAtMs: number | undefined = 0): Ballot {
  return { hasVoted: true, confirmedAtMs, fingerprint, serial };
}

test("a majority of fresh answers decides once all have voted", () => {
  const silent: Ballot = { hasVoted: false, confirmedAtMs: undefined, fingerprint: "", serial: 0 };
  const dead: Ballot = { ...silent, hasVoted: true };
  const count = (...ballots: Ballot[]) => vote(ballots, 0, MINUTE, undefined);
  assert.deepEqual(count(ballot("a")), { kind: "accepted", index: 0 });
  assert.equal(count(ballot("a"), silent).kind, "waiting");
  assert.equal(count(dead, dead).kind, "waiting");
  assert.deepEqual(count(dead, ballot("a")), { kind: "accepted", index: 1 });
  assert.equal(count(ballot("a"), ballot("b")).kind, "disagreement");
  assert.deepEqual(count(ballot("a"), ballot("b"), ballot("b")), { kind: "accepted", index: 2 });
  assert.equal(count(ballot("a"), ballot("b"), ballot("c")).kind, "disagreement");
});

test("answers older than three intervals do not count", () => {
  const nowMs = 10 * MINUTE;
  const ballots = [ballot("old", 1, nowMs - 4 * MINUTE), ballot("new", 2, nowMs)];
  assert.deepEqual(vote(ballots, nowMs, MINUTE, undefined), { kind: "accepted", index: 1 });
});

test("after two rounds of disagreement the newest serial decides, over its wrap as well", () => {
  const ballots = [ballot("old", 0xffff_fff0), ballot("new", 3)];
  assert.equal(vote(ballots, MINUTE, MINUTE, 0).kind, "disagreement");
  assert.deepEqual(vote(ballots, 2 * MINUTE, MINUTE, 0), { kind: "accepted", index: 1 });
  const equal = [ballot("a", 3), ballot("b", 3)];
  assert.equal(vote(equal, 2 * MINUTE, MINUTE, 0).kind, "disagreement");
});
