/**
 * Chooses the block for a question: the one whose zone is the longest suffix by label of the name
 * (spec/resolver.md 1.2). For DS the search goes on to the parent zone if a block serves it.
 */

import { parentKey } from "../../wire/dns/name.js";
import { TYPE_DS } from "../../wire/dns/numbers.js";
import type { Chain } from "../chain.js";

/** Blocks of one listener by zone. */
export class Routes {
  readonly #chains = new Map<string, Chain>();

  /** Adds a zone by key; false when another block has it, which stays. */
  add(zoneKey: string, chain: Chain): boolean {
    const known = this.#chains.get(zoneKey);
    if (known === undefined) this.#chains.set(zoneKey, chain);
    return known === undefined || known === chain;
  }

  get chains(): ReadonlySet<Chain> {
    return new Set(this.#chains.values());
  }

  /** The block for a name and type; undefined: REFUSED. */
  select(nameKey: string, type: number): Chain | undefined {
    const isParental = type === TYPE_DS;
    let fallback: Chain | undefined;
    for (let key: string | undefined = nameKey; key !== undefined; key = parentKey(key)) {
      const chain = this.#chains.get(key);
      if (chain === undefined) continue;
      if (!isParental || key !== nameKey) return chain;
      fallback = chain;
    }
    return fallback;
  }
}
