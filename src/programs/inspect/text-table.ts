/**
 * Text tables for people. Cells pass the guard of base/printable.ts: names and owners come from DNS
 * and from other machines.
 */

import { printable } from "../../base/printable.js";

/** Characters that take two columns of a terminal (Unicode UAX #11, wide and fullwidth). */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const COMBINING = /\p{M}/u;
const GAP = "  ";

/** Columns that a printable text takes. */
export function textWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (character.length === 1 && character < "\u0300") width++;
    else if (!COMBINING.test(character)) width += WIDE.test(character) ? 2 : 1;
  }
  return width;
}

/** The beginning of a text that fits `width` columns, with an ellipsis when something is missing. */
export function cutText(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  let cut = "";
  let used = 0;
  for (const character of text) {
    used += textWidth(character);
    if (used > width - 1) break;
    cut += character;
  }
  return width < 1 ? "" : `${cut}…`;
}

/** A column: its heading and the side that its cells keep to. */
export interface Column {
  readonly heading: string;
  readonly isRight?: boolean;
}

/** How a table is set. */
export interface TableOptions {
  /** In front of each line. */
  readonly indent?: string;
  /** Lines are cut at this width. */
  readonly widthMax?: number;
  /** Columns are at least this wide. */
  readonly widths?: readonly number[];
}

/** Widths of the columns that a heading and rows need. */
export function columnWidths(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): number[] {
  return columns.map(({ heading }, index) =>
    rows.reduce(
      (width, row) => Math.max(width, textWidth(printable(row[index] ?? ""))),
      textWidth(heading),
    ),
  );
}

/** The lines of a table, heading first unless all headings are empty. */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: TableOptions = {},
): string[] {
  const needed = columnWidths(columns, rows);
  const widths = needed.map((width, index) => Math.max(width, options.widths?.[index] ?? 0));
  const heading = columns.map((column) => column.heading);
  const hasHeading = heading.some((text) => text !== "");
  const all = hasHeading ? [heading, ...rows] : rows;
  return all.map((row) => rowLine(columns, row, widths, options));
}

/** One line of a table whose columns have these widths; wider cells push the rest aside. */
export function rowLine(
  columns: readonly Column[],
  row: readonly string[],
  widths: readonly number[],
  { indent = "", widthMax }: TableOptions = {},
): string {
  const cells = columns.map(({ isRight }, index) => {
    const text = printable(row[index] ?? "");
    const padding = " ".repeat(Math.max(0, widths[index]! - textWidth(text)));
    return isRight === true ? padding + text : text + padding;
  });
  const line = (indent + cells.join(GAP)).trimEnd();
  return widthMax === undefined ? line : cutText(line, widthMax);
}

/** Words in lines of at most `width` columns; a longer word has a line of its own. */
export function wrapWords(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of printable(text).split(" ")) {
    const joined = line === "" ? word : `${line} ${word}`;
    if (line !== "" && textWidth(joined) > width) {
      lines.push(line);
      line = word;
    } else line = joined;
  }
  return [...lines, line];
}
