/** A store without durability: for tests, simulations and the vector runner. Memory of its own. */

import {
  type MappingStore,
  STORE_SHELVES,
  type StoreChange,
  type StoredEntry,
  type StoredState,
  type StoreShelf,
} from "./store.js";

/** Keeps everything in maps. `load` may be called again to simulate a restart. */
export class MemoryStore implements MappingStore {
  readonly #shelves = new Map<StoreShelf, Map<number, Uint8Array>>(
    STORE_SHELVES.map((shelf) => [shelf, new Map()]),
  );

  /** When set, `commit` rejects with this error and changes nothing. */
  failure: Error | undefined;

  load(): StoredState {
    return {
      entries: (shelf) => this.#sorted(shelf),
    };
  }

  commit(changes: readonly StoreChange[]): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    this.apply(changes);
    return Promise.resolve();
  }

  /** Applies changes at once; `commit` without the promise. */
  apply(changes: readonly StoreChange[]): void {
    for (const { shelf, key, value } of changes) {
      const entries = this.#shelves.get(shelf)!;
      if (value === undefined) entries.delete(key);
      else entries.set(key, value);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #sorted(shelf: StoreShelf): StoredEntry[] {
    const entries = [...this.#shelves.get(shelf)!];
    return entries.sort((a, b) => a[0] - b[0]).map(([key, value]) => ({ key, value }));
  }
}
