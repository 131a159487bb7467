/** `ipref peers`: the remote gateways that local hosts send to. */

import { type Command, Option } from "commander";
import type { PeerEntry } from "../../control/inspection/peers.js";
import { addRunOption, newCommand } from "../command-line.js";
import { listEntries } from "./listing.js";
import { PEER_COLUMNS, peerRow } from "./status-text.js";

export function define(): Command {
  const command = newCommand("peers", "list remote gateways")
    .argument("[words...]", "only those whose address contains all of these words")
    .option("--address <address>", "only this one")
    .addOption(
      new Option("--verified <answer>", "only those that have proven themselves, or not").choices([
        "yes",
        "no",
      ]),
    )
    .option("--limit <number>", "at most so many")
    .option("--json", "one JSON value a line instead of a table");
  return addRunOption(command);
}

export async function run(args: readonly string[]): Promise<number> {
  return await listEntries<PeerEntry>(define(), args, {
    path: "/peers",
    queryOptions: ["address", "verified", "limit"],
    columns: PEER_COLUMNS,
    row: peerRow,
    nothing: "No remote gateway fits",
  });
}
