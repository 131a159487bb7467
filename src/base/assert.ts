/**
 * Assertions for programming errors. A failed assertion is a bug in this program: it stops the
 * process. Bad input never gets here; it has drop reasons and error values.
 */

/** Thrown by a failed assertion; nothing catches it. */
export class AssertionFailed extends Error {
  override readonly name = "AssertionFailed";
}

/** Stops the program when `condition` is false. `message` says which rule was broken. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailed(message);
}

/** Marks a branch that the types say cannot be reached. */
export function unreachable(value: never): never {
  throw new AssertionFailed(`unreachable: ${String(value)}`);
}
