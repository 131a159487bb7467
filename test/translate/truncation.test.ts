/** Whatever arrives, translation answers with a result or a named reason, never an exception. */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { DROP_REASONS } from "../../src/base/drop-reason.js";
import { fromHex } from "../../src/base/hex.js";
import { VECTORS_FOLDER } from "../support/vectors.js";
import { type GatewayConfig, GatewayDouble, ip, type Played } from "./gateway-double.js";
import { MIXES, makeSites } from "./sites.js";

const SEED = Number(process.env.SEED ?? Date.now() % 0x7fff_ffff);
const REASON_NAMES = new Set<string>(DROP_REASONS.map(({ name }) => name));

interface Vector {
  readonly name: string;
  readonly config: GatewayConfig;
  readonly direction?: "encap" | "decap";
  readonly input_hex?: string;
  readonly inputs_hex?: readonly string[];
  readonly outer?: { readonly src: string };
}

function packetVectors(): Vector[] {
  const files = readdirSync(VECTORS_FOLDER).filter((name) => name.endsWith(".json"));
  return files
    .map((name) => JSON.parse(readFileSync(join(VECTORS_FOLDER, name), "utf8")))
    .flatMap((content: { vectors?: Vector[] }) => content.vectors ?? [])
    .filter(({ direction }) => direction !== undefined);
}

function checkOutcome(played: Played): void {
  if (played.verdict !== "drop") return;
  assert.ok(played.reason === "held" || REASON_NAMES.has(played.reason), played.reason);
}

/** Lengths to cut at: all of a short packet, the headers and some of a long one. */
function cuts(length: number): number[] {
  const every = Array.from({ length: Math.min(length, 200) }, (_, index) => index);
  for (let cut = 200; cut < length; cut += 97) every.push(cut);
  return every;
}

test("every truncation of every recorded input has a named outcome", {
  skip: !existsSync(VECTORS_FOLDER),
}, (t) => {
  let count = 0;
  for (const vector of packetVectors()) {
    const gateway = new GatewayDouble(vector.config);
    const source = ip(
      vector.outer?.src ?? (vector.config.tunnel_version === 4 ? "192.0.2.1" : "2001:db8::1"),
    );
    for (const input of vector.inputs_hex ?? [vector.input_hex!]) {
      const bytes = fromHex(input)!;
      for (const cut of cuts(bytes.length)) {
        const part = bytes.subarray(0, cut);
        checkOutcome(
          vector.direction === "encap" ? gateway.fromLocal(part) : gateway.fromTunnel(part, source),
        );
        count += 1;
      }
    }
  }
  t.diagnostic(`${count} truncations`);
  assert.ok(count > 10_000);
});

test("random octets and damaged packets have a named outcome in both directions", (t) => {
  t.diagnostic(`seed ${SEED}`);
  const noise = fc.uint8Array({ maxLength: 160 });
  const starts = fc.constantFrom(
    [0x45],
    [0x60],
    [0x11, 0x40],
    [0x16, 0x60],
    [0x01, 0],
    [0x10, 0],
    [],
  );
  const property = fc.property(fc.constantFrom(...MIXES), starts, noise, (mix, start, bytes) => {
    const packet = Uint8Array.from([...start, ...bytes]);
    const { a, publicB } = makeSites(mix);
    checkOutcome(a.fromLocal(packet));
    checkOutcome(a.fromLocal(packet, "D"));
    checkOutcome(a.fromTunnel(packet, publicB));
  });
  fc.assert(property, { seed: SEED, numRuns: 2000 });
});
