/**
 * `acl [ZONE...] { allow|block|filter|drop [type T...] [net N...] }` (spec/resolver.md 2.6). Rules
 * of all occurrences in file order; the first match acts.
 */

import type { IpPrefix } from "../../../base/ip.js";
import type { Name } from "../../../wire/dns/name.js";
import { typeNumber } from "../../../wire/dns/numbers.js";
import type { PropertyLine, Word } from "../../corefile/structure.js";
import { parseNetwork, readProperties, zoneListOf } from "../../corefile/words.js";
import { type Complaints, definePlugin } from "../../plugin.js";
import { AclHandler } from "./handler.js";

export type AclAction = "allow" | "block" | "filter" | "drop";

/** One rule; `undefined` stands for everything. */
export interface AclRule {
  readonly zones: readonly Name[];
  readonly action: AclAction;
  readonly types: ReadonlySet<number> | undefined;
  readonly networks: readonly IpPrefix[] | undefined;
}

export type AclSettings = readonly AclRule[];

const ACTIONS: readonly AclAction[] = ["allow", "block", "filter", "drop"];

export const aclPlugin = definePlugin<AclSettings>({
  name: "acl",
  isOnce: false,
  parse(occurrences, context) {
    return occurrences.flatMap((directive) => {
      const zones = zoneListOf(directive.args, context.zones, context);
      const rules: AclRule[] = [];
      const reader = (action: AclAction) => (_: readonly Word[], __: Word, line: PropertyLine) => {
        rules.push({ zones, action, ...readFilters(line.words.slice(1), context) });
      };
      readProperties(
        directive.lines,
        Object.fromEntries(ACTIONS.map((action) => [action, reader(action)])),
        context,
      );
      if (directive.lines.length === 0) {
        const { position } = directive.name;
        context.error(position, "Found no rule after 'acl', expected '{' and at least one rule");
      }
      return rules;
    });
  },
  build: (settings) => new AclHandler(settings),
});

/** Reads `type T... net N...`; the sections may stand in either order. */
function readFilters(words: readonly Word[], complaints: Complaints) {
  let types: Set<number> | undefined;
  let networks: IpPrefix[] | undefined;
  let section: "type" | "net" | undefined;
  for (const word of words) {
    const { text, position } = word;
    if (text === "type" || text === "net") section = text;
    else if (section === undefined) {
      complaints.error(position, `Found '${text}', expected 'type' or 'net'`);
      break;
    } else if (text === "*" || (section === "type" && text.toUpperCase() === "ANY")) continue;
    else if (section === "type") {
      const type = typeNumber(text);
      if (type === undefined) complaints.error(position, `Found '${text}', expected a record type`);
      else types = (types ?? new Set<number>()).add(type);
    } else {
      const network = parseNetwork(text);
      if (network === undefined) {
        complaints.error(position, `Found '${text}', expected an address or prefix`);
      } else networks = [...(networks ?? []), network];
    }
  }
  return { types, networks };
}
