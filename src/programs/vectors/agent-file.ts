/**
 * Scenarios of the DNS agent (README of the vector folder, "DNS agent"): their format, and what a
 * correct agent is expected to do where the recorded one is suspect.
 */

import { z } from "zod";
import { fromHex } from "../../base/hex.js";
import { parseIp } from "../../base/ip.js";
import { parseReference } from "../../base/reference.js";

const hex = z.string().transform((text, context) => {
  const bytes = fromHex(text);
  if (bytes !== undefined) return bytes;
  context.addIssue({ code: "custom", message: "expected an even number of hex digits" });
  return z.NEVER;
});

const ipText = z.string().refine((text) => parseIp(text) !== undefined, {
  message: "expected an IP address",
});
const referenceText = z.string().refine((text) => parseReference(text).ok, {
  message: "expected a reference",
});

const version = z.union([z.literal(4), z.literal(6)]);
const names = z.record(z.string(), z.array(ipText));
const zone = z.array(z.object({ name: z.string(), txt: z.array(z.string()) }));
const record = z.object({ ip: ipText, gw: ipText, ref: referenceText });
const part = z.object({
  offset: z.number().int().min(0),
  length: z.number().int().min(1),
  rule: z.string(),
});

const expected = z.object({
  count: z.number().int().min(0),
  hash: z.string().regex(/^[0-9a-f]{16}$/),
  records: z.array(record),
});

const message = z.object({
  after_seconds: z.number(),
  command: z.enum(["MC_HOST_DATA", "MC_HOST_DATA_HASH"]),
  hex,
  variable: z.array(part).default([]),
  answer_hex: hex.nullable(),
});

/** One scenario as it stands in a file. */
export const agentScenario = z.object({
  name: z.string().min(1),
  suspect: z.boolean().default(false),
  config: z.object({
    ea_ipver: version,
    gw_ipver: version,
    source: z.string(),
    poll_interval_minutes: z.number().int().min(1),
  }),
  local_hosts: names,
  other_names: names.default({}),
  servers: z.array(z.object({ server: z.string(), zone })).min(1),
  zone_after_change: zone.optional(),
  expected: z.array(expected),
  messages: z.array(message),
  observed_seconds: z.number().positive(),
});

export type AgentScenario = z.output<typeof agentScenario>;
export type RecordedMessage = z.output<typeof message>;
export type ExpectedSet = z.output<typeof expected>;
export type ExpectedRecord = z.output<typeof record>;
export type ScenarioZone = z.output<typeof zone>;
