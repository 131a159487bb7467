/** Numbers among the options of a command. */

import { printable } from "../../base/printable.js";
import { EXIT_USAGE } from "../exit-status.js";

/** An option whose value is no number of its range; the message is a sentence. */
export class BadNumber extends Error {
  override readonly name = "BadNumber";
}

/** What an option takes. */
export interface NumberRange {
  readonly min: number;
  readonly max: number;
  readonly isWhole?: boolean;
}

/** The value of an option; undefined when it is not given. Throws BadNumber. */
export function numberOption(
  options: Readonly<Record<string, unknown>>,
  name: string,
  { min, max, isWhole = false }: NumberRange,
): number | undefined {
  const text = options[name];
  if (text === undefined) return undefined;
  const pattern = isWhole ? /^[0-9]+$/ : /^[0-9]+(\.[0-9]+)?$/;
  const value = typeof text === "string" && pattern.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const kind = isWhole ? "a whole number" : "a number";
  throw new BadNumber(
    `Cannot use --${flag} ${String(text)}: expected ${kind} from ${min} to ${max}`,
  );
}

/** Tells on standard error what is wrong with a number; its exit status. */
export function complainNumber(error: unknown): number {
  if (!(error instanceof BadNumber)) throw error;
  process.stderr.write(`${printable(error.message)}\n`);
  return EXIT_USAGE;
}
