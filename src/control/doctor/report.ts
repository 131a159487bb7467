/** The findings of `ipref doctor` as a table, as lines for a log, and as JSON. Pure. */

import { printable } from "../../base/printable.js";
import { type Finding, type Verdict, worst } from "./finding.js";

/** Widths of the first columns. */
const VERDICT_WIDTH = 4;
const EVIDENCE_CHARACTERS_MAX = 600;
const COLOURS: Readonly<Record<Verdict, string>> = {
  PASS: "\u001b[32m",
  WARN: "\u001b[33m",
  FAIL: "\u001b[31m",
  SKIP: "\u001b[2m",
};
const COLOUR_END = "\u001b[0m";

/** How a table is printed. */
export interface TableOptions {
  readonly hasColours: boolean;
  /** Columns of the terminal. */
  readonly width: number;
}

/** Text of others on one line, and not too long. */
export function harmless(text: string): string {
  const plain = printable(text);
  const { length } = plain;
  return length > EVIDENCE_CHARACTERS_MAX ? `${plain.slice(0, EVIDENCE_CHARACTERS_MAX)}...` : plain;
}

/** The whole table with a last line that counts. */
export function tableOf(findings: readonly Finding[], options: TableOptions): string {
  const width = Math.max(5, ...findings.map(({ check }) => check.length));
  const indent = " ".repeat(width + VERDICT_WIDTH + 4);
  const lines = joinedPasses(findings).flatMap((finding) => {
    const { check, verdict, subject, evidence, fixes } = finding;
    const shown = options.hasColours ? `${COLOURS[verdict]}${verdict}${COLOUR_END}` : verdict;
    const head = `${check.padEnd(width)}  ${shown}  `;
    const text = wrap(`${harmless(subject)}: ${harmless(evidence)}`, options.width - indent.length);
    return [
      head + text[0],
      ...text.slice(1).map((line) => indent + line),
      ...fixes.map((fix) => `${indent}${fixLine(fix)}`),
    ];
  });
  return `${[...lines, "", summaryOf(findings)].join("\n")}\n`;
}

/** Neighbours that pass one check for the same reason take one line. */
function joinedPasses(findings: readonly Finding[]): Finding[] {
  const groups: [Finding, ...Finding[]][] = [];
  for (const finding of findings) {
    const group = groups.at(-1);
    if (group !== undefined && isSamePass(group[0], finding)) group.push(finding);
    else groups.push([finding]);
  }
  return groups.map(([first, ...others]) => {
    if (others.length === 0) return first;
    return { ...first, subject: listed([first, ...others].map(({ subject }) => subject)) };
  });
}

function isSamePass(a: Finding, b: Finding): boolean {
  const isPass = a.verdict === "PASS" && b.verdict === "PASS";
  return isPass && a.check === b.check && a.evidence === b.evidence;
}

/** "a, b"; paths of one folder as "a, b in /folder". */
function listed(subjects: readonly string[]): string {
  const [folder = "", ...others] = new Set(subjects.map(folderOf));
  if (folder === "" || others.length > 0) return subjects.join(", ");
  return `${subjects.map((path) => path.slice(folder.length + 1)).join(", ")} in ${folder}`;
}

function folderOf(path: string): string {
  return path.startsWith("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

/** Findings that ask for something, for the log of a start. */
export function complaintLines(findings: readonly Finding[]): string[] {
  return findings.flatMap(({ check, verdict, subject, evidence, fixes }) => {
    if (verdict !== "FAIL" && verdict !== "WARN") return [];
    const head = `${verdict} ${check}: ${harmless(subject)}: ${harmless(evidence)}`;
    return [head, ...fixes.map((fix) => `  ${fixLine(fix)}`)];
  });
}

/** The findings for a program. */
export function jsonOf(findings: readonly Finding[]): string {
  const { PASS, WARN, FAIL, SKIP } = countsOf(findings);
  const counts = { pass: PASS, warn: WARN, fail: FAIL, skip: SKIP };
  return `${JSON.stringify({ verdict: worst(findings), counts, findings }, undefined, 2)}\n`;
}

/** A command is never wrapped, so that it can be pasted. */
function fixLine({ command, note }: Finding["fixes"][number]): string {
  return `fix${note === undefined ? "" : ` (${harmless(note)})`}: ${printable(command)}`;
}

function summaryOf(findings: readonly Finding[]): string {
  const counts = countsOf(findings);
  const parts = [
    `${counts.PASS} passed`,
    `${counts.WARN} warnings`,
    `${counts.FAIL} failed`,
    `${counts.SKIP} left out`,
  ];
  const isAsking = counts.FAIL + counts.WARN > 0;
  return `${parts.join(", ")}${isAsking ? "; fixes are for a root shell" : ""}`;
}

function countsOf(findings: readonly Finding[]): Record<Verdict, number> {
  const counts = { PASS: 0, WARN: 0, FAIL: 0, SKIP: 0 };
  for (const { verdict } of findings) counts[verdict]++;
  return counts;
}

/** Lines of at most `width` characters, broken at blanks. */
function wrap(text: string, width: number): [string, ...string[]] {
  const lines: [string, ...string[]] = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1)!;
    const isFitting = last === "" || last.length + 1 + word.length <= Math.max(30, width);
    if (isFitting) lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
