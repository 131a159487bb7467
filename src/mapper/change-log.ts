/**
 * What has changed since the last batch for the store (store.ts). Changes gather until somebody
 * takes them; each batch has a token, and its outcome is reported under that token. Batches that
 * failed are taken again with the next one.
 */

import type { StoreChange, StoreShelf } from "./store.js";

/** A batch on its way to the store. */
export interface Batch {
  readonly token: number;
  readonly changes: readonly StoreChange[];
}

/** Gathers changes. Pages are named only; `buildPage` makes their bytes when a batch is taken. */
export class ChangeLog {
  readonly #buildPage: (page: number) => Uint8Array | undefined;
  readonly #onFirst: () => void;
  #pages = new Set<number>();
  #others = new Map<string, StoreChange>();
  #token = 1;
  /** The last batch failed: the next change asks for another try. */
  #hasFailed = false;
  readonly #taken = new Map<number, { pages: Set<number>; others: Map<string, StoreChange> }>();

  /** `onFirst` is called for the first change after a batch was taken or has failed. */
  constructor(buildPage: (page: number) => Uint8Array | undefined, onFirst: () => void) {
    this.#buildPage = buildPage;
    this.#onFirst = onFirst;
  }

  /** Token of the batch that the next change will be part of. */
  get token(): number {
    return this.#token;
  }

  /** True when there is something to take. */
  get isWaiting(): boolean {
    return this.#pages.size > 0 || this.#others.size > 0;
  }

  /** True while a batch is on its way. */
  get isInFlight(): boolean {
    return this.#taken.size > 0;
  }

  /** A page has other contents. */
  touchPage(page: number): void {
    const isFirst = !this.isWaiting || this.#hasFailed;
    this.#pages.add(page);
    if (isFirst) this.#announce();
  }

  /** An entry of another shelf has another value; undefined removes it. Takes `value`. */
  put(shelf: StoreShelf, key: number, value: Uint8Array | undefined): void {
    const isFirst = !this.isWaiting || this.#hasFailed;
    this.#others.set(`${shelf} ${key}`, { shelf, key, value });
    if (isFirst) this.#announce();
  }

  #announce(): void {
    this.#hasFailed = false;
    this.#onFirst();
  }

  /** All gathered changes as one batch. */
  take(): Batch | undefined {
    if (!this.isWaiting) return undefined;
    const changes: StoreChange[] = [...this.#others.values()];
    for (const page of this.#pages) {
      changes.push({ shelf: "page", key: page, value: this.#buildPage(page) });
    }
    const token = this.#token++;
    this.#taken.set(token, { pages: this.#pages, others: this.#others });
    this.#pages = new Set();
    this.#others = new Map();
    return { token, changes };
  }

  /** The store has the batch. */
  committed(token: number): void {
    this.#taken.delete(token);
  }

  /** The store does not have the batch: its changes wait again, under newer ones. */
  failed(token: number): void {
    const batch = this.#taken.get(token);
    if (batch === undefined) return;
    this.#taken.delete(token);
    this.#hasFailed = true;
    for (const page of batch.pages) this.#pages.add(page);
    for (const [name, change] of batch.others) {
      if (!this.#others.has(name)) this.#others.set(name, change);
    }
  }
}
