/**
 * Owners and their ids (spec/mapper.md 1): handed out in order of first use, never reused, stored.
 *
 * Stored value: 0 format version, 1 class (precedence), then the name, two bytes a UTF-16 unit.
 */

import { PRECEDENCE_MAPPER } from "./config.js";
import { MAPPER_OID } from "./records.js";
import { STORE_FORMAT_VERSION, type StoredState, type StoreShelf } from "./store.js";

/** spec/mapper.md 1. */
export const OWNER_NAME_BYTES_MAX = 255;
/** Room of the owner array and of the keys of the shelf `seen`. */
const OID_MAX = 65_535;

export interface Owner {
  readonly oid: number;
  readonly name: string;
  readonly precedence: number;
}

type Put = (shelf: StoreShelf, key: number, value: Uint8Array | undefined) => void;

/** All owners, by id and by name. */
export class Owners {
  readonly #put: Put;
  readonly #byName = new Map<string, Owner>();
  readonly #byOid: (Owner | undefined)[] = [];

  constructor(put: Put) {
    this.#put = put;
  }

  /** Reads stored owners; the mapper itself becomes one if it is not among them. */
  restore(state: StoredState): void {
    for (const { key, value } of state.entries("owner")) {
      if (value[0] !== STORE_FORMAT_VERSION || key < 1 || key > OID_MAX) continue;
      this.#add({ oid: key, precedence: value[1]!, name: readName(value) });
    }
    if (this.#byOid[MAPPER_OID] === undefined) this.#create("mapper", PRECEDENCE_MAPPER);
  }

  /** The owner of a name, made when new; undefined when the name is bad or ids have run out. */
  ownerOf(name: string, precedence: number): Owner | undefined {
    const known = this.#byName.get(name);
    if (known !== undefined) return known.precedence === precedence ? known : undefined;
    if (name.length < 1 || name.length > OWNER_NAME_BYTES_MAX) return undefined;
    return this.#create(name, precedence);
  }

  byOid(oid: number): Owner | undefined {
    return this.#byOid[oid];
  }

  /** Precedence of an owner; 0 for an unknown one. */
  precedenceOf(oid: number): number {
    return this.#byOid[oid]?.precedence ?? 0;
  }

  #create(name: string, precedence: number): Owner | undefined {
    const oid = Math.max(MAPPER_OID, this.#byOid.length);
    if (oid > OID_MAX) return undefined;
    const owner = { oid, name, precedence };
    this.#add(owner);
    this.#put("owner", oid, ownerBytes(owner));
    return owner;
  }

  #add(owner: Owner): void {
    this.#byOid[owner.oid] = owner;
    this.#byName.set(owner.name, owner);
  }
}

function ownerBytes({ name, precedence }: Owner): Uint8Array {
  const bytes = new Uint8Array(2 + 2 * name.length);
  bytes[0] = STORE_FORMAT_VERSION;
  bytes[1] = precedence;
  for (let index = 0; index < name.length; index++) {
    bytes[2 + 2 * index] = name.charCodeAt(index) >> 8;
    bytes[3 + 2 * index] = name.charCodeAt(index) & 0xff;
  }
  return bytes;
}

function readName(value: Uint8Array): string {
  let name = "";
  for (let index = 2; index + 1 < value.length; index += 2) {
    name += String.fromCharCode((value[index]! << 8) | value[index + 1]!);
  }
  return name;
}
