/** The judgement of vectors itself: recorded results pass, damaged ones are found. */

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Played } from "../../src/programs/vectors/played.js";
import { runPacketVector } from "../../src/programs/vectors/run-packets.js";
import {
  type Outcome,
  type PacketVector,
  type Passage,
  readVectorFile,
} from "../../src/programs/vectors/vector-file.js";
import { VECTORS_FOLDER } from "../support/vectors.js";
import { replay, scriptOf } from "./vectors-replay.js";

const skip = existsSync(VECTORS_FOLDER) ? false : `no vectors in ${VECTORS_FOLDER}`;

async function packetVectors(): Promise<PacketVector[]> {
  const names = readdirSync(VECTORS_FOLDER).filter((name) => name.endsWith(".json"));
  const files = await Promise.all(names.map((name) => readVectorFile(join(VECTORS_FOLDER, name))));
  return files.flatMap((file) => (file.kind === "packets" ? file.vectors : []));
}

/** Judges a vector against a gateway that behaves as `change` makes of its recorded results. */
async function statusAfter(
  vector: PacketVector,
  change: (played: Played) => Played,
): Promise<string> {
  const script = scriptOf(vector);
  const key = [...script.keys()].at(-1)!;
  script.set(key, change(script.get(key)!));
  return (await runPacketVector(vector, replay(script))).status;
}

function isJudged(vector: PacketVector): boolean {
  return vector.passages.every((one) => !one.isSuspect || one.suggested !== undefined);
}

test("a gateway that behaves as recorded or suggested passes every vector", { skip }, async () => {
  for (const vector of await packetVectors()) {
    const judgement = await runPacketVector(vector, replay(scriptOf(vector)));
    const expected = isJudged(vector) ? "passed" : "informative";
    assert.equal(judgement.status, expected, `${vector.name} ${JSON.stringify(judgement)}`);
  }
});

test("a missing output fails every vector that has one", { skip }, async () => {
  for (const vector of await packetVectors()) {
    const last = vector.passages.at(-1)!;
    const outcome = last.suggested ?? last.recorded;
    if (!isJudged(vector) || outcome.outputs.length === 0) continue;
    const status = await statusAfter(vector, ({ outputs, drops }) => ({
      outputs: outputs.slice(0, -1),
      drops,
    }));
    assert.equal(status, "failed", vector.name);
  }
});

/** Octets of an output that one test changes; the whole would take long. */
const OCTET_STEP = 5;

test("a flipped bit anywhere in what the gateway made fails the vector", { skip }, async () => {
  for (const [number, vector] of (await packetVectors()).entries()) {
    if (!isJudged(vector)) continue;
    const script = scriptOf(vector);
    const key = [...script.keys()].at(-1)!;
    const { outputs, drops } = script.get(key)!;
    for (const [index, output] of outputs.entries()) {
      const length = Math.min(output.bytes.length, 150);
      for (let octet = number % OCTET_STEP; octet < length; octet += OCTET_STEP) {
        const bytes = output.bytes.slice();
        bytes[octet] = bytes[octet]! ^ (1 << ((octet * 7) % 8));
        script.set(key, { outputs: outputs.with(index, { ...output, bytes }), drops });
        const { status } = await runPacketVector(vector, replay(script));
        assert.equal(status, "failed", `${vector.name}, output ${index}, octet ${octet}`);
      }
    }
  }
});

test("a flipped bit in the vector itself is found unless the octet is variable", {
  skip,
}, async () => {
  for (const [number, vector] of (await packetVectors()).entries()) {
    if (!isJudged(vector)) continue;
    const last = vector.passages.at(-1)!;
    const outcome = last.suggested ?? last.recorded;
    for (const [index, output] of outcome.outputs.entries()) {
      const length = Math.min(output.length, 150);
      for (let octet = number % OCTET_STEP; octet < length; octet += OCTET_STEP) {
        if (isVariable(last, index, octet)) continue;
        const bytes = output.slice();
        bytes[octet] = bytes[octet]! ^ (1 << ((octet * 3) % 8));
        const damaged = { ...outcome, outputs: outcome.outputs.with(index, bytes) };
        const { status } = await runPacketVector(
          withOutcome(vector, damaged),
          replay(scriptOf(vector)),
        );
        assert.equal(status, "failed", `${vector.name}, output ${index}, octet ${octet}`);
      }
    }
  }
});

test("another verdict fails the vector", { skip }, async () => {
  for (const vector of await packetVectors()) {
    if (!isJudged(vector)) continue;
    const last = vector.passages.at(-1)!;
    const outcome = last.suggested ?? last.recorded;
    for (const verdict of ["accept", "icmp", "drop"] as const) {
      if (verdict === outcome.verdict) continue;
      const changed = withOutcome(vector, { ...outcome, verdict });
      if (verdict !== "drop" && outcome.outputs.length === 0) continue;
      const { status } = await runPacketVector(changed, replay(scriptOf(vector)));
      assert.equal(status, "failed", `${vector.name} as ${verdict}`);
    }
  }
});

test("another destination port of the first datagram fails the vector", { skip }, async () => {
  for (const vector of await packetVectors()) {
    const [first] = scriptOf(vector).values();
    if (!isJudged(vector) || first?.outputs[0]?.port === undefined) continue;
    const status = await statusAfter(vector, ({ outputs, drops }) => ({
      outputs: outputs.map((output) => ({ ...output, port: output.port! + 1 })),
      drops,
    }));
    assert.equal(status, "failed", vector.name);
  }
});

function isVariable(passage: Passage, output: number, octet: number): boolean {
  return passage.variable.some(
    (part) => part.output === output && octet >= part.offset && octet < part.offset + part.length,
  );
}

/** The vector with another expected result of its last passage. */
function withOutcome(vector: PacketVector, outcome: Outcome): PacketVector {
  const last = vector.passages.at(-1)!;
  const changed =
    last.suggested === undefined ? { ...last, recorded: outcome } : { ...last, suggested: outcome };
  return { ...vector, passages: [...vector.passages.slice(0, -1), changed] };
}
