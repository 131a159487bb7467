/**
 * Places of names and their suffixes in a message under construction, for compression. Most
 * messages hold a few names: those stay in two arrays, which are searched one by one (measured
 * November 2026: half the time of a map that is cleared for each message); a map takes over beyond.
 */

/** Above this many suffixes the map is faster. */
const ARRAY_MAX = 16;

/** Suffix keys with their offsets; offsets grow from entry to entry. */
export class SuffixTable {
  readonly #keys: string[] = [];
  readonly #places: number[] = [];
  #count = 0;
  #map: Map<string, number> | undefined;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  clear(): void {
    this.#count = 0;
    this.#map = undefined;
  }

  get(key: string): number | undefined {
    if (this.#map !== undefined) return this.#map.get(key);
    for (let index = 0; index < this.#count; index++) {
      if (this.#keys[index] === key) return this.#places[index];
    }
    return undefined;
  }

  /** Adds a key that is not there, at a place behind all others. */
  add(key: string, place: number): void {
    this.#keys[this.#count] = key;
    this.#places[this.#count] = place;
    this.#count++;
    if (this.#map !== undefined) this.#map.set(key, place);
    else if (this.#count > ARRAY_MAX) this.#startMap();
  }

  /** Removes all entries at or behind `position`. */
  rewind(position: number): void {
    while (this.#count > 0 && this.#places[this.#count - 1]! >= position) {
      this.#count--;
      this.#map?.delete(this.#keys[this.#count]!);
    }
  }

  #startMap(): void {
    this.#map = new Map();
    for (let index = 0; index < this.#count; index++) {
      this.#map.set(this.#keys[index]!, this.#places[index]!);
    }
  }
}
