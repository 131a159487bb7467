/**
 * Recorded packets of the deployed gateway, played through translation alone. The differences that
 * the specification asks for are those of vectors/README.md "Intended differences".
 */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fromHex, toHex } from "../../src/base/hex.js";
import { VECTORS_FOLDER } from "../support/vectors.js";
import { type GatewayConfig, GatewayDouble, ip, type Played } from "./gateway-double.js";
import { maskDifferences } from "./vector-mask.js";

/** Classes that translation alone can play; tunnel-mtu without its sequence of steps. */
const CLASSES = [
  "tcp",
  "udp",
  "icmp-echo",
  "refs",
  "fragments",
  "icmp-errors",
  "drops",
  "generated-icmp",
  "ttl",
  "context",
  "live",
  "tunnel-mtu",
] as const;

interface Outcome {
  readonly verdict: "accept" | "icmp" | "drop";
  readonly output_hex?: string;
  readonly outputs_hex?: readonly string[];
}

interface Vector extends Outcome {
  readonly name: string;
  readonly config: GatewayConfig;
  readonly direction: "encap" | "decap";
  readonly input_hex?: string;
  readonly inputs_hex?: readonly string[];
  readonly outer?: { readonly src: string; readonly dst: string };
  readonly variable?: readonly { output?: number; offset: number; length: number }[];
  readonly suspect?: boolean;
  readonly suggested?: Outcome;
  readonly steps?: unknown;
}

/** Vectors that may also end in another way (vectors/README.md "Intended differences"). */
const ALSO: readonly { readonly name: RegExp; readonly verdicts: readonly string[] }[] = [
  { name: /^icmp-errors\/.*\/decap\/frag-needed-mtu-(36|56)$/, verdicts: ["accept"] },
  { name: /^icmp-errors\/.*\/encap\/frag-needed-0$/, verdicts: ["accept"] },
  { name: /^tunnel-mtu\/l6-.*\/encap\/(fragment-late|df-icmp-error)-/, verdicts: ["accept"] },
  { name: /^tunnel-mtu\/l6-.*\/encap\//, verdicts: ["accept"] },
  { name: /\/different-quoted-hosts(-same-version)?$/, verdicts: ["drop"] },
  { name: /^drops\/.*\/decap\/tunnel-icmp-3-3$/, verdicts: ["accept"] },
  {
    name: /^drops\/.*\/encap\/icmp-(proto-unreachable|source-route-failed|host-prohibited)$/,
    verdicts: ["accept"],
  },
  { name: /^drops\/.*\/encap\/icmp-(beyond-scope|source-policy)$/, verdicts: ["accept"] },
  { name: /^drops\/l6-.*\/encap\/fragment-reserved-/, verdicts: ["accept"] },
  { name: /^drops\/l4-.*\/encap\/options-(router-alert|record-route)$/, verdicts: ["accept"] },
  { name: /^drops\/.*\/decap\/tcp-12-bytes/, verdicts: ["drop"] },
  { name: /^refs\/.*\/decap\/(host-to-gateway|self-ping-)/, verdicts: ["inside"] },
];

/** Vectors whose bytes may differ beyond what the mask knows. */
const BYTES_DIFFER =
  /^(tcp\/.*\/decap\/local-checksum-zero|generated-icmp\/.*\/encap\/unknown-ea-large)/;

/** Errors above the limits of spec/tunnel.md 6.2 come out shorter. */
const IPV4_ERROR_MAX = 576;

function isShortened(outputs: readonly Uint8Array[], expected: readonly string[]): boolean {
  const isLong = expected.length === 1 && expected[0]!.length > 2 * IPV4_ERROR_MAX;
  return isLong && outputs.length === 1 && outputs[0]!.length <= IPV4_ERROR_MAX;
}

function playVector(vector: Vector): { played: Played; outputs: readonly Uint8Array[] } {
  const gateway = new GatewayDouble(vector.config);
  const inputs = vector.inputs_hex ?? [vector.input_hex!];
  let played: Played = { verdict: "drop", reason: "tunnel-empty" };
  const outputs: Uint8Array[] = [];
  for (const input of inputs) {
    const bytes = fromHex(input)!;
    const source = vector.outer?.src;
    const step =
      vector.direction === "encap"
        ? gateway.fromLocal(bytes)
        : gateway.fromTunnel(bytes, ip(source!));
    if (step.verdict === "accept" || step.verdict === "icmp") outputs.push(...step.outputs);
    if (step.verdict !== "drop" || outputs.length === 0) played = step;
  }
  return { played, outputs };
}

function isSame(vector: Vector, outputs: readonly Uint8Array[], expected: readonly string[]) {
  if (outputs.length !== expected.length) return false;
  return outputs.every((output, index) => {
    const want = fromHex(expected[index]!)!;
    const got = output.slice();
    for (const part of vector.variable ?? []) {
      if ((part.output ?? 0) !== index) continue;
      got.fill(0, part.offset, part.offset + part.length);
      want.fill(0, part.offset, part.offset + part.length);
    }
    const isWire = (vector.direction === "encap") === (vector.verdict === "accept");
    const version = isWire ? vector.config.tunnel_version : vector.config.local_version;
    const kind = isWire ? "tunnel" : version === 4 ? "ipv4" : "ipv6";
    return toHex(maskDifferences(got, kind)) === toHex(maskDifferences(want, kind));
  });
}

function judge(vector: Vector): string | undefined {
  const { played, outputs } = playVector(vector);
  if (
    ALSO.some(({ name, verdicts }) => name.test(vector.name) && verdicts.includes(played.verdict))
  ) {
    return undefined;
  }
  const outcomes: Outcome[] = vector.suspect ? [] : [vector];
  if (vector.suggested) outcomes.push(vector.suggested);
  for (const outcome of outcomes) {
    if (outcome.verdict !== played.verdict) continue;
    const expected = outcome.outputs_hex ?? (outcome.output_hex ? [outcome.output_hex] : []);
    if (BYTES_DIFFER.test(vector.name) || isSame(vector, outputs, expected)) return undefined;
    if (outcome.verdict === "icmp" && isShortened(outputs, expected)) return undefined;
  }
  const got = played.verdict === "drop" ? played.reason : outputs.map(toHex).join(" ");
  const want = outcomes.map((outcome) => {
    return `${outcome.verdict} ${outcome.outputs_hex?.join(" ") ?? outcome.output_hex ?? ""}`;
  });
  return `${vector.name}: got ${played.verdict} ${got}\n  want ${want.join("\n    or ")}`;
}

for (const name of CLASSES) {
  const path = join(VECTORS_FOLDER, `${name}.json`);
  test(`translation plays the recorded packets of ${name}`, { skip: !existsSync(path) }, (t) => {
    const { vectors } = JSON.parse(readFileSync(path, "utf8")) as { vectors: Vector[] };
    const judged = vectors.filter(
      (vector) => vector.steps === undefined && (!vector.suspect || vector.suggested),
    );
    const failures = judged.map(judge).filter((failure) => failure !== undefined);
    t.diagnostic(`${judged.length} judged, ${vectors.length - judged.length} informative or steps`);
    assert.deepEqual(failures, []);
  });
}
