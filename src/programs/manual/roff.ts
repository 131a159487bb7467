/**
 * Manual pages from Markdown: man(7) macros for what pages are made of. Headings (# is a section,
 * ## a part of one), paragraphs, lists with `- `, terms (a line, then `: ` and its text), fenced
 * blocks, and in the text **bold**, *italic* and `code`. Anything else is refused, so that a page
 * never shows Markdown. Pure.
 */

/** Where a page belongs. */
export interface PageHead {
  readonly name: string;
  readonly section: number;
  /** Year, month, day. */
  readonly date: string;
  /** Shown at the bottom. */
  readonly source: string;
}

/** mandoc(1), STYLE "input text line longer than 80 bytes". */
const LINE_LENGTH_MAX = 78;

/** A page that cannot be made; the message names the line. */
export class MarkdownRefused extends Error {
  override readonly name = "MarkdownRefused";
}

/** A whole page. */
export function manualPage({ name, section, date, source }: PageHead, markdown: string): string {
  const words = [quoted(name.toUpperCase()), section, quoted(date), quoted(source)];
  const title = `.TH ${words.join(" ")} "IPREF"`;
  const head = ['.\\" Made from packaging/man and the programs themselves.', title, ".nh", ".ad l"];
  const blocks = blocksOf(markdown);
  const lines = blocks.flatMap((block, index) => blockLines(block, blocks[index - 1]));
  return `${[...head, ...lines].join("\n")}\n`;
}

type Block =
  | { readonly kind: "section" | "part" | "paragraph"; readonly text: string }
  | { readonly kind: "item"; readonly text: string }
  | { readonly kind: "term"; readonly term: string; readonly text: string }
  | { readonly kind: "code"; readonly lines: readonly string[] };

function blocksOf(markdown: string): Block[] {
  const lines = markdown.split("\n");
  const blocks: Block[] = [];
  let index = 0;
  while (index < lines.length) {
    const line = lines[index] ?? "";
    if (line.trim() === "") index++;
    else if (line.startsWith("```")) {
      const end = lines.indexOf("```", index + 1);
      if (end < 0) throw new MarkdownRefused(`Line ${index + 1}: a block without end`);
      blocks.push({ kind: "code", lines: lines.slice(index + 1, end) });
      index = end + 1;
    } else {
      const end = endOfText(lines, index);
      blocks.push(textBlock(lines.slice(index, end), index + 1));
      index = end;
    }
  }
  return blocks;
}

/** The line behind a block of text: it ends at an empty line, and where another block begins. */
function endOfText(lines: readonly string[], start: number): number {
  if (/^#/.test(lines[start] ?? "")) return start + 1;
  let end = start + 1;
  while (end < lines.length && !/^(\s*$|- |#|```)/.test(lines[end] ?? "")) end++;
  return end;
}

function textBlock(lines: readonly string[], number: number): Block {
  const [first = "", second = ""] = lines;
  const joined = (from: number, cut: number): string =>
    [first.slice(cut), ...lines.slice(1)].slice(from).join(" ").replace(/\s+/g, " ").trim();
  const heading = /^(##?) (.+)$/.exec(first);
  if (heading !== null) {
    const [, marks = "", text = ""] = heading;
    return { kind: marks === "#" ? "section" : "part", text };
  }
  if (/^(#|\||>|[0-9]+\. |<)/.test(first)) {
    throw new MarkdownRefused(`Line ${number}: a manual page cannot show "${first}"`);
  }
  if (first.startsWith("- ")) return { kind: "item", text: joined(0, 2) };
  if (!second.startsWith(": ")) return { kind: "paragraph", text: joined(0, 0) };
  return { kind: "term", term: first.trim(), text: joined(1, 0).slice(2) };
}

/** Behind a heading no paragraph begins: it has its own distance. */
function blockLines(block: Block, before: Block | undefined): string[] {
  const isFirst = before?.kind === "section" || before?.kind === "part";
  switch (block.kind) {
    case "section":
      return [`.SH ${quoted(block.text)}`];
    case "part":
      return [`.SS ${quoted(block.text)}`];
    case "paragraph":
      return [...(isFirst ? [] : [".PP"]), ...textLines(block.text)];
    case "item":
      return [".IP \\(bu 2", ...textLines(block.text)];
    case "term":
      return [".TP", roffText(block.term), ...textLines(block.text)];
    case "code":
      return [
        ...(isFirst ? [] : [".sp"]),
        ...[".RS 4", ".nf", ...block.lines.map(verbatim), ".fi", ".RE"],
      ];
  }
}

/** Text in lines that editors and mandoc(1) like. */
function textLines(text: string): string[] {
  const lines: string[] = [];
  for (const word of roffText(text).split(" ")) {
    const last = lines.at(-1);
    const joined = `${last} ${word}`;
    if (last === undefined || joined.length > LINE_LENGTH_MAX) lines.push(guarded(word));
    else lines[lines.length - 1] = joined;
  }
  return lines;
}

/** Text with its fonts; `code` is bold, as commands are in manual pages. */
export function roffText(text: string): string {
  const pieces = text.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)/);
  const line = pieces.map((piece) => {
    if (piece.startsWith("`")) return `\\fB${literal(piece.slice(1, -1))}\\fR`;
    if (piece.startsWith("**")) return `\\fB${literal(piece.slice(2, -2))}\\fR`;
    if (/^\*[^*]+\*$/.test(piece)) return `\\fI${literal(piece.slice(1, -1))}\\fR`;
    return escaped(piece);
  });
  return guarded(line.join(""));
}

function verbatim(line: string): string {
  return guarded(literal(line));
}

/** A minus is a minus, for whoever copies it. */
function literal(text: string): string {
  return escaped(text).replaceAll("-", "\\-");
}

/** What means something to groff(7) everywhere. */
function escaped(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("~", "\\(ti")
    .replaceAll("^", "\\(ha")
    .replaceAll("'", "\\(aq");
}

/** A line that would be a request. */
function guarded(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

/** An argument of a macro. */
function quoted(text: string): string {
  return `"${escaped(text).replaceAll('"', "\\(dq")}"`;
}
