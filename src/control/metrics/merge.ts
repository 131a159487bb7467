/**
 * Joins the pages of several parts into one. A metric that more than one part may have gets the
 * label `part`; the others stay as they are. Pure. What a part gave is checked line by line: a page
 * cannot bring in metrics that are not declared.
 */

import { DECLARATIONS, type MetricDeclaration, type MetricPart } from "./declarations.js";
import { headingLines } from "./registry.js";

/** A page and whose it is. */
export interface PartPage {
  readonly part: MetricPart;
  readonly text: string;
}

/** `name{labels} value`, the form that every part writes. */
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([0-9eE.+-]+|NaN|[+-]?Inf)$/;
/** Labels as they are written, with escaped values. */
const LABEL = '([a-zA-Z_][a-zA-Z0-9_]*)="(?:[^"\\\\]|\\\\[\\\\"n])*"';
const LABELS = new RegExp(`^${LABEL}(?:,${LABEL})*$`);
const LABEL_NAME = new RegExp(LABEL, "g");
/** The bound of a histogram's bucket. */
const BOUND_LABEL = "le";
const HISTOGRAM_SUFFIX = /_(bucket|sum|count)$/;

/** One page for all. */
export function mergePages(pages: readonly PartPage[]): string {
  const families = new Map<string, string[]>();
  for (const { part, text } of pages) {
    for (const line of text.split("\n")) {
      const sample = SAMPLE.exec(line);
      if (sample === null) continue;
      const [, name = "", labels = "", value = ""] = sample;
      if (Number.isNaN(Number(value)) && !/^(?:NaN|[+-]?Inf)$/.test(value)) continue;
      const family = familyOf(name);
      const declaration = DECLARATIONS.get(family);
      if (declaration?.parts.includes(part) !== true) continue;
      if (!areDeclared(labels, declaration)) continue;
      const isShared = declaration.parts.length > 1;
      const all = isShared ? joined(labels, `part="${part}"`) : labels;
      const samples = families.get(family) ?? [];
      families.set(family, samples);
      samples.push(`${name}${all === "" ? "" : `{${all}}`} ${value}`);
    }
  }
  const names = [...families.keys()].sort();
  const lines = names.flatMap((name) => [
    ...headingLines(DECLARATIONS.get(name)!),
    ...families.get(name)!,
  ]);
  return `${lines.join("\n")}\n`;
}

/** True when only labels of the metric are there, each in its place. */
function areDeclared(text: string, { labels, kind }: MetricDeclaration): boolean {
  if (text === "") return true;
  if (!LABELS.test(text)) return false;
  const known = kind === "histogram" ? [...labels, BOUND_LABEL] : labels;
  const names = [...text.matchAll(LABEL_NAME)].map(([, name]) => name!);
  return new Set(names).size === names.length && names.every((name) => known.includes(name));
}

function familyOf(name: string): string {
  const base = name.replace(HISTOGRAM_SUFFIX, "");
  return DECLARATIONS.get(base)?.kind === "histogram" ? base : name;
}

function joined(first: string, second: string): string {
  return first === "" ? second : `${first},${second}`;
}
