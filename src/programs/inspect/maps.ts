/** `ipref maps`: the mappings of the gateway, all or those that fit. */

import { type Command, Option } from "commander";
import type { MappingEntry } from "../../control/inspection/maps.js";
import { MAPPING_STATES } from "../../mapper/mapping-query.js";
import { addRunOption, newCommand } from "../command-line.js";
import { listEntries } from "./listing.js";
import { spanText } from "./units.js";

const COLUMNS = [
  { heading: "KIND" },
  { heading: "STATE" },
  { heading: "ADDRESS" },
  { heading: "IPREF ADDRESS" },
  { heading: "IDLE", isRight: true },
  { heading: "EXPIRES IN", isRight: true },
  { heading: "OWNER" },
];
const QUERY_OPTIONS = ["kind", "state", "address", "context", "reference", "owner", "limit"];

export function define(): Command {
  const command = newCommand("maps", "list mappings: encoded addresses and references")
    .argument("[words...]", "only mappings whose line contains all of these words")
    .addOption(
      new Option("--kind <kind>", "remote hosts or local ones").choices(["remote", "local"]),
    )
    .addOption(
      new Option("--state <state>", "where it comes from, or whether it rests").choices(
        MAPPING_STATES,
      ),
    )
    .option("--address <address>", "only this native address: encoded, or of a local host")
    .option("--context <address>", "only those of the gateway with this address")
    .option("--reference <reference>", "only this reference")
    .option("--owner <name>", "only of this owner: mapper, a hosts file, a DNS source")
    .option("--limit <number>", "at most so many")
    .option("--json", "one JSON value a line instead of a table");
  return addRunOption(command);
}

export async function run(args: readonly string[]): Promise<number> {
  return await listEntries<MappingEntry>(define(), args, {
    path: "/maps",
    queryOptions: QUERY_OPTIONS,
    columns: COLUMNS,
    row: mappingRow,
    nothing: "No mapping fits",
  });
}

/** The row of a mapping. */
function mappingRow(entry: MappingEntry): string[] {
  const { kind, state, address, context, reference, idleSeconds, expiresSeconds, owner } = entry;
  const secondary = entry.isPrimary ? "" : " (not primary)";
  return [
    kind,
    state,
    address,
    `${context ?? "unknown"} + ${reference}${secondary}`,
    spanText(idleSeconds),
    expiresSeconds === null ? "never" : spanText(expiresSeconds),
    owner,
  ];
}
