/** What `ipref init` decides with, and what comes of it. */

import type { IpAddress, IpPrefix, IpVersion } from "../../base/ip.js";
import type { AddressKind } from "./address-kind.js";
import type { Route } from "./machine-texts.js";

/** What the user has decided. */
export interface Wishes {
  /** Values of settings' flags by flag name. */
  readonly settings: ReadonlyMap<string, string>;
  readonly tunnel: IpVersion | undefined;
  readonly local: IpVersion | undefined;
  /** Interface to the Internet. */
  readonly uplink: string | undefined;
}

/** One setting: a value, or reasons to leave it at its default. */
export interface Choice {
  /** `section.key`. */
  readonly name: string;
  /** Undefined: the default stays. */
  readonly value: unknown;
  /** Sentences. */
  readonly reasons: readonly string[];
}

/** Everything chosen. */
export interface Choices {
  readonly choices: readonly Choice[];
  /** What the user should know or do, sentences. */
  readonly notes: readonly string[];
  readonly uplink: Uplink | undefined;
  readonly encodeNet: IpPrefix;
}

/** The way to the Internet. */
export interface Uplink {
  readonly route: Route;
  /** Own address on it. */
  readonly address: IpAddress | undefined;
  readonly kind: AddressKind | undefined;
}

/** Why nothing can be chosen: a mistake in the wishes, or a machine without room. */
export class CannotChoose extends Error {
  override readonly name = "CannotChoose";
  readonly isWish: boolean;

  constructor(message: string, isWish: boolean) {
    super(message);
    this.isWish = isWish;
  }
}
