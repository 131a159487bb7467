/**
 * `GET /maps`: all mappings, or those that fit the query, as lines of JSON (application/x-ndjson).
 * Query: kind, state, address, context, reference, owner, word (repeated: each has to be part of
 * what is shown), limit.
 */

import { formatIp, type IpAddress, isUnspecified, parseIp } from "../../base/ip.js";
import { formatReference, parseReference } from "../../base/reference.js";
import {
  type FoundMapping,
  MAPPING_STATES,
  type MappingQuery,
  type MappingState,
} from "../../mapper/mapping-query.js";
import { type ControlHandler, type ControlReply, refusal } from "./api.js";
import type { InspectionParts } from "./gateway-routes.js";
import { mappingSteps } from "./mapping-steps.js";

/** One mapping. */
export interface MappingEntry {
  /** `remote`: `address` is the encoded one; `local`: our host's. */
  readonly kind: "remote" | "local";
  readonly state: MappingState;
  readonly address: string;
  /** Address of the gateway; null for our hosts while the own public address is unknown. */
  readonly context: string | null;
  readonly reference: string;
  readonly owner: string;
  /** The reference with which the host begins conversations. */
  readonly isPrimary: boolean;
  readonly idleSeconds: number;
  /** Until it expires when it is not used; null for published ones. */
  readonly expiresSeconds: number | null;
}

/** Content type of lines of JSON. */
export const LINES_TYPE = "application/x-ndjson";
/** Keys of the query; `word` may be repeated. */
const MAPS_KEYS = ["kind", "state", "address", "context", "reference", "owner"] as const;
const WORDS_MAX = 16;
const KINDS = ["remote", "local"] as const;

/** A query that was understood. */
export interface MapsQuery {
  readonly mappings: MappingQuery;
  /** In lower case. */
  readonly words: readonly string[];
  readonly limit: number;
}

/** Reads a query; a string is the complaint. */
function readMapsQuery(query: URLSearchParams): MapsQuery | string {
  const text = (name: string) => query.get(name) ?? undefined;
  const known = new Set<string>([...MAPS_KEYS, "word", "limit"]);
  for (const name of query.keys()) {
    if (!known.has(name)) return `found the key ${name}, expected ${[...known].join(", ")}`;
  }
  const kind = choice("kind", text("kind"), KINDS);
  if (!kind.ok) return kind.complaint;
  const state = choice("state", text("state"), MAPPING_STATES);
  if (!state.ok) return state.complaint;
  const address = readAddress("address", text("address"));
  if (typeof address === "string") return address;
  const context = readAddress("context", text("context"));
  if (typeof context === "string") return context;
  const written = text("reference");
  const reference = written === undefined ? undefined : parseReference(written);
  if (reference !== undefined && !reference.ok) {
    return `found reference ${written}, expected a reference such as 1025 or 12-3456`;
  }
  const limit = readLimit(text("limit"));
  if (typeof limit === "string") return limit;
  const words = readWords(query);
  if (typeof words === "string") return words;
  return {
    mappings: {
      ...{ kind: kind.value, state: state.value, address, context, owner: text("owner") },
      reference: reference?.value,
    },
    words,
    limit,
  };
}

/** The words in lower case; the complaint when each entry would have to be searched too often. */
export function readWords(query: URLSearchParams): readonly string[] | string {
  const words = query.getAll("word").map((word) => word.toLowerCase());
  if (words.length <= WORDS_MAX) return words;
  return `found ${words.length} words, expected at most ${WORDS_MAX}`;
}

/** A number of lines; the complaint when it is none. */
export function readLimit(text: string | undefined): number | string {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (/^[1-9][0-9]{0,8}$/.test(text)) return Number(text);
  return `found limit ${text}, expected a number from 1 on`;
}

type Choice<Value> =
  | { readonly ok: true; readonly value: Value | undefined }
  | { readonly ok: false; readonly complaint: string };

function choice<Value extends string>(
  name: string,
  text: string | undefined,
  choices: readonly Value[],
): Choice<Value> {
  if (text === undefined || choices.includes(text as Value)) {
    return { ok: true, value: text as Value | undefined };
  }
  return { ok: false, complaint: `found ${name} ${text}, expected ${choices.join(", ")}` };
}

function readAddress(name: string, text: string | undefined): IpAddress | undefined | string {
  if (text === undefined) return undefined;
  return parseIp(text) ?? `found ${name} ${text}, expected an IP address`;
}

/** Handler of `GET /maps`. */
export function mapsHandler({ mapper }: Pick<InspectionParts, "mapper">): ControlHandler {
  return ({ query, signal }): ControlReply => {
    const read = readMapsQuery(query);
    if (typeof read === "string") return refusal(400, `Cannot read the query: ${read}`);
    const entries = mapLines(mappingSteps(mapper, read.mappings, signal), read);
    return { status: 200, contentType: LINES_TYPE, body: entries };
  };
}

async function* mapLines(
  steps: AsyncIterable<readonly FoundMapping[]>,
  { words, limit }: MapsQuery,
): AsyncGenerator<string> {
  let count = 0;
  for await (const found of steps) {
    let text = "";
    for (const mapping of found) {
      const entry = entryOf(mapping);
      if (!hasWords(entry, words)) continue;
      text += `${JSON.stringify(entry)}\n`;
      if (++count === limit) break;
    }
    if (text !== "") yield text;
    if (count === limit) return;
  }
}

/** No spreading here: with a million mappings it takes most of the time. */
function entryOf(mapping: FoundMapping): MappingEntry {
  const { context } = mapping;
  return {
    kind: mapping.kind,
    state: mapping.state,
    address: formatIp(mapping.address),
    context: isUnspecified(context) ? null : formatIp(context),
    reference: formatReference(mapping.reference),
    owner: mapping.owner,
    isPrimary: mapping.isPrimary,
    idleSeconds: mapping.idleSeconds,
    expiresSeconds: mapping.remainingSeconds ?? null,
  };
}

function hasWords(entry: MappingEntry, words: readonly string[]): boolean {
  if (words.length === 0) return true;
  const { kind, state, address, context, reference, owner } = entry;
  const shown = `${kind} ${state} ${address} ${context ?? ""} + ${reference} ${owner}`;
  const text = shown.toLowerCase();
  return words.every((word) => text.includes(word));
}
