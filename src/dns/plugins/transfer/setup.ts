/** `transfer [ZONE...] { to ADDR... }` (spec/resolver.md 2.6, 3.5, 3.6). May repeat. */

import type { Name } from "../../../wire/dns/name.js";
import type { Word } from "../../corefile/structure.js";
import { expectCount, parseEndpoint, readProperties, zoneListOf } from "../../corefile/words.js";
import { type Complaints, definePlugin } from "../../plugin.js";
import type { Endpoint } from "../../query.js";
import { TransferHandler } from "./handler.js";

/** Who may transfer which zones; `*` is everyone and receives no NOTIFY. */
export interface TransferRule {
  readonly zones: readonly Name[];
  readonly isOpen: boolean;
  readonly to: readonly Endpoint[];
}

export type TransferSettings = readonly TransferRule[];

const DNS_PORT = 53;

export const transferPlugin = definePlugin<TransferSettings>({
  name: "transfer",
  isOnce: false,
  parse(occurrences, context) {
    return occurrences.map((directive) => {
      const zones = zoneListOf(directive.args, context.zones, context);
      const words: Word[] = [];
      readProperties(
        directive.lines,
        {
          to: (args, name) => {
            expectCount(args, name, 1, Number.POSITIVE_INFINITY, context);
            words.push(...args);
          },
        },
        context,
      );
      if (words.length === 0) {
        context.error(
          directive.name.position,
          "Found no 'to' in 'transfer', expected at least one",
        );
      }
      const isOpen = words.some((word) => word.text === "*");
      const addresses = words.filter((word) => word.text !== "*");
      return { zones, isOpen, to: addresses.flatMap((word) => endpointOf(word, context) ?? []) };
    });
  },
  build: (settings, context) => new TransferHandler(settings, context),
});

function endpointOf(word: Word, complaints: Complaints): Endpoint | undefined {
  const endpoint = parseEndpoint(word.text, DNS_PORT);
  if (endpoint === undefined) {
    complaints.error(word.position, `Found '${word.text}', expected '*' or an IP address`);
  }
  return endpoint;
}
