/** All golden vectors of the shared folder through the real cores of gateway and DNS agent. */

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { startCoreGateway } from "../../src/programs/vectors/core-gateway.js";
import type { Played } from "../../src/programs/vectors/played.js";
import { type FileReport, fileText, totals } from "../../src/programs/vectors/report.js";
import { reportFile } from "../../src/programs/vectors/run.js";
import { runExchanges } from "../../src/programs/vectors/run-exchanges.js";
import { runPacketVector } from "../../src/programs/vectors/run-packets.js";
import type { StartGateway } from "../../src/programs/vectors/test-gateway.js";
import {
  type Exchange,
  type PacketVector,
  readVectorFile,
} from "../../src/programs/vectors/vector-file.js";
import { VECTORS_FOLDER } from "../support/vectors.js";

/** The repository lies beside the shared folder; this file runs from dist/test/programs. */
const skip = existsSync(VECTORS_FOLDER) ? false : `no vectors in ${VECTORS_FOLDER}`;
/** Vectors in the folder, agent scenarios included. */
const VECTORS = 1695;

function vectorFiles(): string[] {
  const names = readdirSync(VECTORS_FOLDER).filter((name) => name.endsWith(".json"));
  return names.map((name) => join(VECTORS_FOLDER, name));
}

test("every golden vector passes", { skip }, async () => {
  const reports: FileReport[] = [];
  for (const file of vectorFiles()) reports.push(await reportFile(file, startCoreGateway));
  const broken = reports.filter((report) => report.failed > 0 || report.error !== undefined);
  assert.equal(broken.map(fileText).join(""), "");
  const { passed, informative } = totals(reports);
  assert.equal(passed + informative, VECTORS);
});

/** A core gateway whose results are changed; only the first gateway, comparison runs are left. */
function changed(change: (played: Played) => Played): StartGateway {
  let started = 0;
  return (config) => {
    const gateway = startCoreGateway(config);
    if (started++ > 0) return gateway;
    let taken = 0;
    const take = gateway.take.bind(gateway);
    gateway.take = () => {
      const played = take();
      return ++taken === 2 ? change(played) : played; // the first take is before the input
    };
    return gateway;
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

test("damaged exchanges and effects of the mapper socket are found", { skip }, async () => {
  for (const path of vectorFiles()) {
    const file = await readVectorFile(path);
    if (file.kind !== "exchanges") continue;
    for (const [index, exchange] of file.exchanges.entries()) {
      if (exchange.isInformative) continue;
      const damaged: Exchange[] = file.exchanges.with(index, damage(exchange));
      const results = await runExchanges(file.config, damaged, startCoreGateway);
      const { status } = results.get(damaged[index]!)!;
      assert.equal(status, "failed", exchange.name);
    }
  }
});

/** Flips a bit of the last effect that puts something out, else of the answer. */
function damage(exchange: Exchange): Exchange {
  const at = exchange.effects.findLastIndex((effect) => effect.recorded.outputs.length > 0);
  const effect = exchange.effects[at];
  if (effect !== undefined) {
    const bytes = withFlippedBit(effect.recorded.outputs[0]!, 3);
    const recorded = { ...effect.recorded, outputs: [bytes] };
    return { ...exchange, effects: exchange.effects.with(at, { ...effect, recorded }) };
  }
  const { response } = exchange;
  if (response === undefined) return { ...exchange, response: Uint8Array.of(1, 2, 3, 4) };
  return { ...exchange, response: withFlippedBit(response, response.length - 1) };
}

function withFlippedBit(bytes: Uint8Array, octet: number): Uint8Array {
  return bytes.map((byte, index) => (index === octet ? byte ^ 1 : byte));
}
