/** Which names the IPREF step takes (spec/resolver.md 1.3). */

import { isKeyWithin, type Name } from "../../../wire/dns/name.js";

const UNDERSCORE = 0x5f;

export class Scope {
  readonly #from: readonly string[];
  readonly #except: readonly string[];
  readonly #isEverything: boolean;

  constructor(from: readonly Name[], except: readonly Name[]) {
    this.#from = from.map((name) => name.key);
    this.#except = except.map((name) => name.key);
    this.#isEverything = from.some((name) => name.isRoot);
  }

  /** Within FROM and not within `except`, which wins. */
  contains(name: Name): boolean {
    if (!this.#isEverything && !this.#from.some((key) => isKeyWithin(name.key, key))) return false;
    return !this.isExcepted(name);
  }

  isExcepted(name: Name): boolean {
    return this.#except.some((key) => isKeyWithin(name.key, key));
  }
}

/** The name without leading labels that begin with `_`, as of SVCB owners (RFC 9460 2.3). */
export function withoutUnderscoreLabels(name: Name): Name {
  let current = name;
  while (current.wire[0]! > 0 && current.wire[1] === UNDERSCORE) current = current.parent()!;
  return current;
}
