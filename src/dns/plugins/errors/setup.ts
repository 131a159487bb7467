/** `errors { stacktrace; consolidate DUR REGEXP [LEVEL] }` (spec/resolver.md 2.6). */

import type { Word } from "../../corefile/structure.js";
import { choiceOf, durationOf, expectCount, readProperties } from "../../corefile/words.js";
import { type Complaints, definePlugin } from "../../plugin.js";
import type { LogLevel } from "../../ports.js";
import { ErrorsHandler } from "./handler.js";

/** Errors that match are counted and reported once an interval. */
export interface Consolidation {
  readonly intervalMs: number;
  readonly pattern: RegExp;
  readonly level: LogLevel;
}

export interface ErrorsSettings {
  readonly consolidations: readonly Consolidation[];
}

const LEVELS = { warning: "WARNING", error: "ERROR", info: "INFO", debug: "DEBUG" } as const;

export const errorsPlugin = definePlugin<ErrorsSettings>({
  name: "errors",
  isOnce: true,
  parse([directive], context) {
    expectCount(directive!.args, directive!.name, 0, 0, context);
    const consolidations: Consolidation[] = [];
    readProperties(
      directive!.lines,
      {
        stacktrace: (args, name) => {
          expectCount(args, name, 0, 0, context);
        },
        consolidate: (args, name) => {
          if (!expectCount(args, name, 2, 3, context)) return;
          const consolidation = readConsolidation(args, context);
          if (consolidation !== undefined) consolidations.push(consolidation);
        },
      },
      context,
    );
    return { consolidations };
  },
  build: (settings, { environment }) => new ErrorsHandler(settings, environment),
});

function readConsolidation(
  [duration, pattern, level]: readonly Word[],
  complaints: Complaints,
): Consolidation | undefined {
  const intervalMs = durationOf(duration!, complaints);
  const regExp = regExpOf(pattern!, complaints);
  const choices = Object.keys(LEVELS) as (keyof typeof LEVELS)[];
  const name = level === undefined ? "error" : choiceOf(level, choices, complaints);
  if (intervalMs === undefined || regExp === undefined || name === undefined) return undefined;
  return { intervalMs, pattern: regExp, level: LEVELS[name] };
}

/** A regular expression; the syntax of Go and of JavaScript agree on what people write here. */
export function regExpOf(word: Word, complaints: Complaints): RegExp | undefined {
  try {
    return new RegExp(word.text, "u");
  } catch {
    complaints.error(word.position, `Found '${word.text}', expected a regular expression`);
    return undefined;
  }
}
