/** Explanations as text for a terminal. */

import type {
  ExplainDrop,
  ExplainReport,
  ExplainStep,
} from "../../control/inspection/explain-report.js";
import { wrapWords } from "./text-table.js";

const MARKS = { ok: "ok", note: "--", drop: "NO" } as const satisfies Record<
  ExplainStep["result"],
  string
>;
const WIDTH_MIN = 60;
/** A blank at which no line ends. */
const KEPT = "\u00a0";

/** The lines of a report, at most `width` columns. */
export function explainLines(report: ExplainReport, notes: readonly string[], width: number) {
  const { steps, verdict } = report;
  const titleWidth = Math.max(...steps.map(({ title }) => title.length), 4);
  const shown = Math.max(WIDTH_MIN, width);
  const noteSteps = notes.map((text) => ({ title: "name", result: "ok", text, rule: "" }) as const);
  return [
    ...[...noteSteps, ...steps].flatMap((step) => stepLines(step, titleWidth, shown)),
    "",
    ...wrapped(verdict.text, shown - 3).map(
      (line, index) => `${index === 0 ? "=>" : "  "} ${line}`,
    ),
    ...(verdict.drop === undefined ? [] : dropLines(verdict.drop, shown)),
    ...(verdict.told === undefined
      ? []
      : labelled("sender", verdict.told.replace(/^the sender /, ""), shown)),
  ];
}

/** A drop reason with what it means. */
export function dropLines(drop: ExplainDrop, width: number): string[] {
  return [
    ...labelled("meaning", drop.meaning, width),
    ...labelled("causes", drop.causes, width),
    ...labelled("fix", drop.fix, width),
  ];
}

function labelled(label: string, text: string, width: number): string[] {
  return wrapped(text, width - 12).map(
    (line, index) => `   ${(index === 0 ? label : "").padEnd(9)}${line}`,
  );
}

/** "ok  remote host     10.240.0.22 is ... [mapper 3.5]". */
function stepLines({ title, text, rule, result }: ExplainStep, titleWidth: number, width: number) {
  const indent = 4 + titleWidth + 2;
  const cited = rule === "" ? text : `${text} [${rule.replaceAll(" ", KEPT)}]`;
  return wrapped(cited, width - indent).map((line, index) => {
    const head = index === 0 ? `${MARKS[result]}  ${title.padEnd(titleWidth + 2)}` : "";
    return `${head.padEnd(indent)}${line}`;
  });
}

/** Lines of words; IPREF addresses stay in one piece. */
function wrapped(text: string, width: number): string[] {
  const kept = text.replaceAll(" + ", `${KEPT}+${KEPT}`);
  return wrapWords(kept, width).map((line) => line.replaceAll(KEPT, " "));
}
