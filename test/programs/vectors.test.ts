/** All golden vectors of the shared folder through the real core of the gateway. */

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { startCoreGateway } from "../../src/programs/vectors/core-gateway.js";
import type { Played } from "../../src/programs/vectors/played.js";
import { type FileReport, fileText, totals } from "../../src/programs/vectors/report.js";
import { reportFile } from "../../src/programs/vectors/run.js";
import { runPacketVector } from "../../src/programs/vectors/run-packets.js";
import type { StartGateway } from "../../src/programs/vectors/test-gateway.js";
import { type PacketVector, readVectorFile } from "../../src/programs/vectors/vector-file.js";

/** The repository lies beside the shared folder; this file runs from dist/test/programs. */
const FOLDER = join(import.meta.dirname, "../../../../shared/vectors");
const skip = existsSync(FOLDER) ? false : `no vectors in ${FOLDER}`;
/** Vectors in the folder, 15 agent scenarios among them. */
const VECTORS = 1695;
const SCENARIOS = 15;

function vectorFiles(): string[] {
  const names = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));
  return names.map((name) => join(FOLDER, name));
}

test("every golden vector passes", { skip }, async () => {
  const reports: FileReport[] = [];
  for (const file of vectorFiles()) reports.push(await reportFile(file, startCoreGateway));
  const broken = reports.filter((report) => report.failed > 0 || report.error !== undefined);
  assert.equal(broken.map(fileText).join(""), "");
  const { passed, informative, notYet } = totals(reports);
  assert.equal(notYet, SCENARIOS);
  assert.equal(passed + informative + notYet, VECTORS);
});

/** A core gateway whose results are changed; only the first gateway, comparison runs are left. */
function changed(change: (played: Played) => Played): StartGateway {
  let started = 0;
  return (config) => {
    const gateway = startCoreGateway(config);
    if (started++ > 0) return gateway;
    let taken = 0;
    const take = () => {
      const played = gateway.take();
      return ++taken === 2 ? change(played) : played; // the first take is before the input
    };
    return { ...gateway, take };
  };
}

async function judgedVectors(): Promise<PacketVector[]> {
  const files = await Promise.all(vectorFiles().map(readVectorFile));
  const vectors = files.flatMap((file) => (file.kind === "packets" ? file.vectors : []));
  return vectors.filter(({ passages }) => {
    const [first] = passages;
    return passages.length === 1 && (!first!.isSuspect || first!.suggested !== undefined);
  });
}

/** Octets of an output between two that are changed. */
const OCTET_STEP = 9;

test("a flipped bit in what the core makes is found, intended or not", { skip }, async () => {
  for (const [number, vector] of (await judgedVectors()).entries()) {
    let sizes: number[] = [];
    const unchanged = (played: Played) => {
      sizes = played.outputs.map((output) => Math.min(output.bytes.length, 120));
      return played;
    };
    await runPacketVector(vector, changed(unchanged));
    for (const [index, size] of sizes.entries()) {
      for (let octet = number % OCTET_STEP; octet < size; octet += OCTET_STEP) {
        const flip = (played: Played) => flipped(played, index, octet);
        const { status } = await runPacketVector(vector, changed(flip));
        assert.equal(status, "failed", `${vector.name}, output ${index}, octet ${octet}`);
      }
    }
  }
});

function flipped({ outputs, drops }: Played, index: number, octet: number): Played {
  const output = outputs[index]!;
  const bytes = output.bytes.slice();
  bytes[octet] = bytes[octet]! ^ (1 << ((octet * 7 + index) % 8));
  return { outputs: outputs.with(index, { ...output, bytes }), drops };
}
