/**
 * The loop between mapper and store: one batch at a time; what changes meanwhile makes the next
 * one, so that batches grow with the load. Promises only, no timers.
 */

import type { Mapper } from "./mapper.js";
import type { MappingStore } from "./store.js";

/** Stores the changes of a mapper. Give `kick` to the mapper as `onChangesWaiting`. */
export class Committer {
  readonly #store: MappingStore;
  readonly #mapper: () => Mapper;
  #running: Promise<void> | undefined;
  /** Something came in while a batch was on its way. */
  #isKicked = false;

  /** `mapper` is asked for when needed: the mapper itself is made with `kick`. */
  constructor(store: MappingStore, mapper: () => Mapper) {
    this.#store = store;
    this.#mapper = mapper;
  }

  /** Starts storing unless that is under way. */
  readonly kick = (): void => {
    this.#isKicked = true;
    this.#running ??= Promise.resolve().then(() => this.#run());
  };

  /** Resolves when nothing waits any more, or the store refuses. */
  async drain(): Promise<void> {
    this.kick();
    await this.#running;
  }

  async #run(): Promise<void> {
    let isGoingOn = true;
    while (isGoingOn) {
      const batch = this.#mapper().takeChanges();
      // The batch holds all that was announced so far, also while it was taken.
      this.#isKicked = false;
      if (batch === undefined) break;
      // What came in during a failed try gets its own answer soon; the rest waits for a sweep.
      isGoingOn = (await this.#storeBatch(batch.token, batch.changes)) || this.#isKicked;
    }
    this.#running = undefined;
  }

  async #storeBatch(
    token: number,
    changes: Parameters<MappingStore["commit"]>[0],
  ): Promise<boolean> {
    try {
      await this.#store.commit(changes);
    } catch (error) {
      this.#mapper().failed(token, error instanceof Error ? error.message : String(error));
      return false;
    }
    this.#mapper().committed(token);
    return true;
  }
}
