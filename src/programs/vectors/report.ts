/** What `ipref vectors` prints: counts for each file and each difference, as text or as JSON. */

import type { Difference } from "./played.js";

/** The result of one file. */
export interface FileReport {
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  /** Suspect vectors without a suggested result. */
  readonly informative: number;
  /** Passed with a result that is better than the recorded one, by the rule that explains it. */
  readonly intended: Readonly<Record<string, number>>;
  readonly differences: readonly Difference[];
  /** Where informative vectors differ from the record, which decides nothing. */
  readonly observations: readonly Difference[];
  /** Why the file could not be run. */
  readonly error?: string;
}

type Counts = Pick<FileReport, "passed" | "failed" | "informative">;

/** The sums over all files. */
export function totals(reports: readonly FileReport[]): Counts {
  const sum = { passed: 0, failed: 0, informative: 0 };
  for (const report of reports) {
    for (const key of Object.keys(sum) as (keyof Counts)[]) sum[key] += report[key];
  }
  return sum;
}

function countsText({ passed, failed, informative }: Counts): string {
  const words = [`${passed} passed`, `${failed} failed`];
  if (informative > 0) words.push(`${informative} informative`);
  return words.join(", ");
}

/** The lines about one file. */
export function fileText(report: FileReport): string {
  if (report.error !== undefined) return `${report.file}: ${report.error}\n`;
  const lines = [`${report.file}: ${countsText(report)}`];
  for (const [rule, count] of Object.entries(report.intended)) {
    lines.push(`  intended difference, ${count} times: ${rule}`);
  }
  for (const difference of report.differences) lines.push(`  ${differenceText(difference)}`);
  return `${lines.join("\n")}\n`;
}

function differenceText({ vector, output, field, offset, expected, got }: Difference): string {
  const place = [
    ...(output === undefined ? [] : [`output ${output + 1}`]),
    field,
    ...(offset === undefined ? [] : [`at octet ${offset}`]),
  ].join(", ");
  return `${vector}: ${place}: expected ${expected}, got ${got}`;
}

/** The line below all files. */
export function totalText(reports: readonly FileReport[]): string {
  const files = reports.length === 1 ? "1 file" : `${reports.length} files`;
  return `Total of ${files}: ${countsText(totals(reports))}\n`;
}

/** The whole report as one JSON object. */
export function jsonText(reports: readonly FileReport[]): string {
  return `${JSON.stringify({ ...totals(reports), files: reports }, undefined, 2)}\n`;
}
