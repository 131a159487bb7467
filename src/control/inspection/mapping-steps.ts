/**
 * Walks through all mappings without holding up the main thread: after each short step timers,
 * sockets and packets of the slow path have their turn.
 */

import type { Mapper } from "../../mapper/mapper.js";
import {
  type FoundMapping,
  type MappingCounts,
  type MappingQuery,
  noMappings,
} from "../../mapper/mapping-query.js";

/** Records looked at in one step: below half a millisecond. */
const RECORDS_PER_STEP = 4096;
/** Mappings found, and written as text, in one step: about half a millisecond. */
const FOUND_PER_STEP = 128;
/** Counts are used again within this time when there are many mappings. */
const COUNTS_LIFE_MS = 2000;
const MANY_RECORDS = 50_000;

interface KnownCounts {
  readonly counts: MappingCounts;
  readonly atMs: number;
}

const known = new WeakMap<Mapper, KnownCounts>();

type MapperClock = { monotonicMs(): number };

/** All mappings by kind and state. Ends early when the caller has gone. */
export async function countAllMappings(
  mapper: Mapper,
  clock: MapperClock,
  signal?: AbortSignal,
): Promise<MappingCounts> {
  const last = known.get(mapper);
  const isFresh = last !== undefined && clock.monotonicMs() - last.atMs < COUNTS_LIFE_MS;
  if (isFresh && mapper.statistics().records > MANY_RECORDS) return last.counts;
  const counts = noMappings();
  let first = 1;
  while (first !== 0 && signal?.aborted !== true) {
    first = mapper.countMappings({ first, recordsMax: RECORDS_PER_STEP }, counts);
    if (first !== 0) await turn();
  }
  if (first === 0) known.set(mapper, { counts, atMs: clock.monotonicMs() });
  return counts;
}

/** The mappings that fit a query, some at a time. Ends early when the caller has gone. */
export async function* mappingSteps(
  mapper: Mapper,
  query: MappingQuery,
  signal: AbortSignal,
): AsyncGenerator<readonly FoundMapping[]> {
  let first = 1;
  while (first !== 0 && !signal.aborted) {
    const found: FoundMapping[] = [];
    const range = { first, recordsMax: RECORDS_PER_STEP, foundMax: FOUND_PER_STEP };
    first = mapper.findMappings(range, query, (mapping) => void found.push(mapping));
    if (found.length > 0) yield found;
    await turn();
  }
}

/** Lets everything else that waits have its turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
