/** Steps that give back what was opened; run once, in the opposite order, whatever fails. */

type Step = () => void | Promise<void>;

export class CleanUp {
  readonly #steps: Step[] = [];
  #running: Promise<void> | undefined;

  /** Adds the step that undoes what was just done. */
  add(step: Step): void {
    this.#steps.push(step);
  }

  /** Runs all steps; a further call waits for the first. Throws the first error at the end. */
  run(): Promise<void> {
    this.#running ??= this.#runAll();
    return this.#running;
  }

  async #runAll(): Promise<void> {
    const errors: unknown[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
