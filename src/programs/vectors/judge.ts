/**
 * The verdict on one passage: as recorded or suggested, one of the intended differences, or wrong.
 */

import { explain } from "./alternatives.js";
import { compareOutcome } from "./compare.js";
import type { Finding } from "./played.js";
import { recheck } from "./recheck.js";
import type { Trial } from "./trial.js";
import type { Outcome, Passage } from "./vector-file.js";

export interface Judgement {
  /** `informative`: suspect without a suggested result, so that nothing is decided. */
  readonly status: "passed" | "failed" | "informative";
  /** The intended difference that explains the result, or what an informative one differs in. */
  readonly note?: string;
  readonly findings: readonly Finding[];
}

/** The result that a right gateway is measured by. */
export function expectedOutcome(passage: Passage): Outcome {
  return passage.suggested ?? passage.recorded;
}

/** Judges one passage. */
export async function judge(trial: Trial): Promise<Judgement> {
  const { passage } = trial;
  const expected = expectedOutcome(passage);
  const findings = await compareOutcome(trial, expected);
  if (passage.isSuspect && passage.suggested === undefined) {
    return { status: "informative", findings: [...findings] };
  }
  if (findings.length === 0) return checked(trial);
  if ((expected.verdict === "drop") !== (expected.outputs.length === 0)) {
    return { status: "failed", findings }; // the vector contradicts itself
  }
  const note = await explain(trial, expected);
  return note === undefined ? { status: "failed", findings } : checked(trial, note);
}

/** A result that was found right must also keep the rules about checksums. */
function checked(trial: Trial, note?: string): Judgement {
  const findings = recheck(trial);
  const status = findings.length === 0 ? "passed" : "failed";
  return note === undefined ? { status, findings } : { status, note, findings };
}
