/**
 * Files of golden vectors: reads and checks the format of the vector folder's README, and turns its
 * three kinds (packet vectors, mapper exchanges, agent scenarios) into values with bytes instead of
 * hex text. Nothing here depends on the name of a file: the content decides.
 */

import { readFile } from "node:fs/promises";
import { z } from "zod";
import { fromHex } from "../../base/hex.js";
import {
  formatIp,
  type IpAddress,
  type IpPrefix,
  type IpVersion,
  parseIp,
  parsePrefix,
} from "../../base/ip.js";
import { parseReference, type Reference } from "../../base/reference.js";
import { type AgentScenario, agentScenario } from "./agent-file.js";

/** The one version of the format. */
const FORMAT_VERSION = 1;
/** Default of `gw_port` and `remote_gw_port` (spec/tunnel.md 7.1). */
const DEFAULT_PORT = 1045;

const hex = z.string().transform((text, context) => {
  const bytes = fromHex(text);
  if (bytes !== undefined) return bytes;
  context.addIssue({ code: "custom", message: "expected an even number of hex digits" });
  return z.NEVER;
});

const address = z.string().transform((text, context): IpAddress => {
  const parsed = parseIp(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: "custom", message: `expected an IP address, found "${text}"` });
  return z.NEVER;
});

const prefix = z.string().transform((text, context): IpPrefix => {
  const parsed = parsePrefix(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: "custom", message: `expected an IP prefix, found "${text}"` });
  return z.NEVER;
});

const reference = z.string().transform((text, context): Reference => {
  const parsed = parseReference(text);
  if (parsed.ok) return parsed.value;
  context.addIssue({ code: "custom", message: `expected a reference, found "${text}"` });
  return z.NEVER;
});

const version = z.union([z.literal(4), z.literal(6)]) satisfies z.ZodType<IpVersion>;
const port = z.number().int().min(1).max(65_535);
const count = z.number().int().min(0);
const direction = z.enum(["encap", "decap"]);
const verdict = z.enum(["accept", "icmp", "drop"]);

const mapping = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("our"), ip: address, gw: address, ref: reference }),
  z.object({ kind: z.literal("their"), ea: address, gw: address, ref: reference }),
]);

const config = z.object({
  ea_net: prefix,
  ea_ip: address,
  gw_pub: address,
  gw_ref: reference,
  local_version: version,
  tunnel_version: version,
  mappings: z.array(mapping),
  dec_ttl: z.boolean().default(false),
  tunnel_mtu: z.number().int().min(28).max(65_535).optional(),
  gw_port: port.default(DEFAULT_PORT),
  remote_gw_port: port.default(DEFAULT_PORT),
});

const outer = z.object({ src: address, dst: address, sport: port, dport: port });
const part = z.object({
  output: count.default(0),
  offset: count,
  length: count.min(1),
  rule: z.string(),
});

const outcome = z.object({
  verdict,
  output_hex: hex.optional(),
  outputs_hex: z.array(hex).optional(),
});

/** What vectors, steps and effects have in common. */
const passage = z.object({
  note: z.string().default(""),
  direction,
  verdict: verdict.optional(),
  input_hex: hex.optional(),
  inputs_hex: z.array(hex).min(1).optional(),
  output_hex: hex.optional(),
  outputs_hex: z.array(hex).optional(),
  outer: outer.optional(),
  reply_outer: outer.optional(),
  variable: z.array(part).default([]),
});

const judged = z.object({
  name: z.string().min(1),
  suspect: z.boolean().default(false),
  suggested: outcome.optional(),
});

const packetVector = z.union([
  judged.extend({ config, steps: z.array(passage).min(1) }),
  judged.extend({ config, ...passage.shape, verdict }),
]);

const effect = z.object({
  ...passage.shape,
  verdict,
  suspect: z.boolean().default(false),
  suggested: outcome.optional(),
  input_variable: z.array(part).default([]),
});

const exchange = judged.omit({ suggested: true }).extend({
  connection: z.number().int(),
  request_hex: hex,
  response_hex: hex.nullable(),
  variable: z.array(part).default([]),
  suggested: z.object({ response_hex: hex.nullish() }).optional(),
  effects: z.array(effect).default([]),
});

const file = z.object({ format: z.literal(FORMAT_VERSION) });
const packetFile = file.extend({ vectors: z.array(packetVector) });
const exchangeFile = file.extend({ config, exchanges: z.array(exchange) });
const scenarioFile = file.extend({ scenarios: z.array(agentScenario) });

/** The gateway under test. */
export type VectorConfig = z.output<typeof config>;
/** Addresses and ports of one UDP datagram. */
export type OuterHeader = z.output<typeof outer>;
/** Octets that another implementation cannot reproduce, or of an input that depend on such. */
export type VariablePart = z.output<typeof part>;
export type Verdict = z.output<typeof verdict>;
export type Direction = z.output<typeof direction>;

/** What came out of the gateway, in the order in which it came. */
export interface Outcome {
  readonly verdict: Verdict;
  readonly outputs: readonly Uint8Array[];
}

/** Input and expected result of one vector, step or effect. */
export interface Passage {
  readonly name: string;
  readonly direction: Direction;
  readonly inputs: readonly Uint8Array[];
  readonly recorded: Outcome;
  /** What a correct gateway does, where the recorded result is suspect. */
  readonly suggested: Outcome | undefined;
  readonly isSuspect: boolean;
  readonly outer: OuterHeader | undefined;
  readonly replyOuter: OuterHeader | undefined;
  readonly variable: readonly VariablePart[];
  readonly inputVariable: readonly VariablePart[];
}

/** One packet vector; more than one passage when it is a sequence of steps. */
export interface PacketVector {
  readonly name: string;
  readonly config: VectorConfig;
  readonly passages: readonly Passage[];
}

/** A message to the mapper socket and its answer; `undefined`: none. */
export interface Exchange {
  readonly name: string;
  readonly connection: number;
  readonly request: Uint8Array;
  /** The recorded answer, or the suggested one of a suspect exchange. */
  readonly response: Uint8Array | undefined;
  readonly variable: readonly VariablePart[];
  /** Nothing is decided by this exchange: suspect, and no result is suggested. */
  readonly isInformative: boolean;
  readonly effects: readonly Passage[];
}

/** The content of a file. */
export type VectorFile =
  | { readonly kind: "packets"; readonly vectors: readonly PacketVector[] }
  | {
      readonly kind: "exchanges";
      readonly config: VectorConfig;
      readonly exchanges: readonly Exchange[];
    }
  | { readonly kind: "scenarios"; readonly scenarios: readonly AgentScenario[] };

/** A file that cannot be read or is not in the format; the message is a sentence. */
export class VectorFileError extends Error {
  override readonly name = "VectorFileError";
}

/** Reads one file; throws `VectorFileError`. */
export async function readVectorFile(path: string): Promise<VectorFile> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new VectorFileError(`Cannot read ${path}: ${(error as Error).message}`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new VectorFileError(`Cannot parse ${path} as JSON: ${(error as Error).message}`);
  }
  return parseVectorFile(json, path);
}

/** Turns the JSON of a file into vectors; throws `VectorFileError`. */
export function parseVectorFile(json: unknown, path: string): VectorFile {
  const keys = typeof json === "object" && json !== null ? Object.keys(json) : [];
  if (keys.includes("vectors")) {
    const { vectors } = check(packetFile, json, path);
    return { kind: "packets", vectors: vectors.map((vector) => packetVectorOf(vector, path)) };
  }
  if (keys.includes("exchanges")) {
    const parsed = check(exchangeFile, json, path);
    const exchanges = parsed.exchanges.map((each) => exchangeOf(each, path));
    return { kind: "exchanges", config: checkedConfig(parsed.config, path), exchanges };
  }
  if (keys.includes("scenarios")) {
    const { scenarios } = check(scenarioFile, json, path);
    return { kind: "scenarios", scenarios };
  }
  throw new VectorFileError(
    `Cannot use ${path}: found no "vectors", "exchanges" or "scenarios", expected one of them`,
  );
}

function check<Schema extends z.ZodType>(
  schema: Schema,
  json: unknown,
  path: string,
): z.output<Schema> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = deepestIssue(result.error.issues[0]!);
  const place = issue.path.join(".") || "the file";
  throw new VectorFileError(`Cannot use ${path} at ${place}: ${issue.message}`);
}

/** The complaint of the alternative that fitted best, when none of several fitted. */
function deepestIssue(issue: z.core.$ZodIssue): { path: PropertyKey[]; message: string } {
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return issue;
  const last = issue.errors.at(-1)![0];
  if (last === undefined) return issue;
  const inner = deepestIssue(last);
  return { path: [...issue.path, ...inner.path], message: inner.message };
}

function packetVectorOf(vector: z.output<typeof packetVector>, path: string): PacketVector {
  const { name } = vector;
  const settings = checkedConfig(vector.config, `${path}, ${name}`);
  if ("steps" in vector) {
    const passages = vector.steps.map((step, index) => {
      const judgement = { suspect: vector.suspect, suggested: undefined };
      return passageOf({ ...step, ...judgement }, `${name} step ${index + 1}`, path);
    });
    return { name, config: settings, passages };
  }
  return { name, config: settings, passages: [passageOf(vector, name, path)] };
}

type PassageJson = z.output<typeof passage> & {
  readonly suspect: boolean;
  readonly suggested?: z.output<typeof outcome> | undefined;
  readonly input_variable?: VariablePart[];
};

function passageOf(json: PassageJson, name: string, path: string): Passage {
  const inputs = json.inputs_hex ?? (json.input_hex && [json.input_hex]);
  if (inputs === undefined) {
    throw new VectorFileError(`Cannot use ${path} at ${name}: found no input`);
  }
  const recorded = outcomeOf(json);
  const suggested = json.suggested && outcomeOf(json.suggested);
  for (const { output, offset, length } of json.variable) {
    const sizes = [recorded, suggested].map((one) => one?.outputs[output]?.length ?? 0);
    if (offset + length <= Math.max(...sizes)) continue;
    throw new VectorFileError(
      `Cannot use ${path} at ${name}: a variable part lies outside of its output`,
    );
  }
  return {
    name,
    direction: json.direction,
    inputs,
    recorded,
    suggested,
    isSuspect: json.suspect,
    outer: json.outer,
    replyOuter: json.reply_outer,
    variable: json.variable,
    inputVariable: json.input_variable ?? [],
  };
}

/** Steps have no verdict: what comes out is accepted. */
function outcomeOf(json: Pick<PassageJson, "verdict" | "output_hex" | "outputs_hex">): Outcome {
  const outputs = json.outputs_hex ?? (json.output_hex ? [json.output_hex] : []);
  return { verdict: json.verdict ?? (outputs.length > 0 ? "accept" : "drop"), outputs };
}

function exchangeOf(json: z.output<typeof exchange>, path: string): Exchange {
  const suggested = json.suggested?.response_hex;
  const response = (suggested === undefined ? json.response_hex : suggested) ?? undefined;
  return {
    name: json.name,
    connection: json.connection,
    request: json.request_hex,
    response,
    variable: json.variable,
    isInformative: json.suspect && suggested === undefined,
    effects: json.effects.map((each, index) =>
      passageOf(each, `${json.name} effect ${index + 1}`, path),
    ),
  };
}

/** Checks that all addresses are of the versions that the configuration names. */
function checkedConfig(json: VectorConfig, place: string): VectorConfig {
  const { local_version: local, tunnel_version: tunnel } = json;
  const versions: [IpAddress, IpVersion][] = [
    [json.ea_net.address, local],
    [json.ea_ip, local],
    [json.gw_pub, tunnel],
    ...json.mappings.map((each): [IpAddress, IpVersion] => [each.gw, tunnel]),
    ...json.mappings.map((each): [IpAddress, IpVersion] => [
      each.kind === "our" ? each.ip : each.ea,
      local,
    ]),
  ];
  for (const [each, expected] of versions) {
    if (each.version === expected) continue;
    const found = formatIp(each);
    throw new VectorFileError(`Cannot use ${place}: found ${found}, expected IPv${expected}`);
  }
  return json;
}
