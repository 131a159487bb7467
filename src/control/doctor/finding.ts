/**
 * What `ipref doctor` finds: one verdict on one thing, with the evidence and, unless all is well,
 * command lines that put it right. Pure.
 */

/** FAIL: something does not work. WARN: it works, or may work, and should be looked at. */
export type Verdict = "PASS" | "WARN" | "FAIL" | "SKIP";

/** A command line that puts something right. */
export interface Fix {
  /** For a root shell, to be pasted as it stands. */
  readonly command: string;
  /** Where to run it when that is not this machine, or what it is about. */
  readonly note?: string;
}

/** One finding of one check. */
export interface Finding {
  /** Stable name of the check. */
  readonly check: string;
  /** What it looked at. */
  readonly subject: string;
  readonly verdict: Verdict;
  /** What was found there, one sentence. */
  readonly evidence: string;
  /** Never empty with WARN and FAIL. */
  readonly fixes: readonly Fix[];
}

/** Makes the findings of one check about one subject. */
export interface Judge {
  pass(evidence: string): Finding;
  /** It cannot be known; the evidence says what is needed. */
  skip(evidence: string): Finding;
  warn(evidence: string, ...fixes: readonly (Fix | string)[]): Finding;
  fail(evidence: string, ...fixes: readonly (Fix | string)[]): Finding;
}

/** A judge of `check`, looking at `subject`. */
export function judgeOf(check: string, subject: string): Judge {
  const finding = (
    verdict: Verdict,
    evidence: string,
    fixes: readonly (Fix | string)[] = [],
  ): Finding => ({
    check,
    subject,
    verdict,
    evidence,
    fixes: fixes.map((fix) => (typeof fix === "string" ? { command: fix } : fix)),
  });
  return {
    pass: (evidence) => finding("PASS", evidence),
    skip: (evidence) => finding("SKIP", evidence),
    warn: (evidence, ...fixes) => finding("WARN", evidence, fixes),
    fail: (evidence, ...fixes) => finding("FAIL", evidence, fixes),
  };
}

/** A word for a POSIX shell; quoted only where that is needed. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The worst verdict; SKIP and PASS count alike. */
export function worst(findings: readonly Finding[]): "PASS" | "WARN" | "FAIL" {
  if (findings.some(({ verdict }) => verdict === "FAIL")) return "FAIL";
  return findings.some(({ verdict }) => verdict === "WARN") ? "WARN" : "PASS";
}
