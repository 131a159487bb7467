/** Checks of the doctor: what each looks at, and how they are run side by side. */

import { type Finding, judgeOf } from "../../control/doctor/finding.js";
import type { DoctorContext } from "./context.js";

/** One check. */
export interface Check {
  /** Stable name, for --only and for programs. */
  readonly id: string;
  /** What it looks at, a few words. */
  readonly looksAt: string;
  /** Part of the quick form: takes milliseconds and asks nobody outside of the machine. */
  readonly isQuick: boolean;
  readonly timeoutMs: number;
  examine(context: DoctorContext): Promise<readonly Finding[]>;
}

/** Runs checks side by side, each within its time; findings in the order of the checks. */
export async function runChecks(
  checks: readonly Check[],
  context: DoctorContext,
  timeoutMsMax = Number.POSITIVE_INFINITY,
): Promise<Finding[]> {
  const results = await Promise.all(
    checks.map((check) => examineWithin(check, context, Math.min(check.timeoutMs, timeoutMsMax))),
  );
  return results.flat();
}

async function examineWithin(
  check: Check,
  context: DoctorContext,
  timeoutMs: number,
): Promise<readonly Finding[]> {
  const judge = judgeOf(check.id, check.looksAt);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<readonly Finding[]>((resolve) => {
    const seconds = timeoutMs / 1000;
    timer = setTimeout(() => resolve([judge.skip(`no result within ${seconds} s`)]), timeoutMs);
  });
  const examined = check.examine(context).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    return [judge.skip(`cannot be examined: ${reason}`)];
  });
  const findings = await Promise.race([examined, late]);
  clearTimeout(timer);
  return findings;
}
