/**
 * Joins the pages of several parts into one. A metric that more than one part may have gets the
 * label `part`; the others stay as they are. Pure. What a part gave is checked line by line: a page
 * cannot bring in metrics that are not declared.
 */

import { DECLARATIONS, type MetricPart } from "./declarations.js";
import { headingLines } from "./registry.js";

/** A page and whose it is. */
export interface PartPage {
  readonly part: MetricPart;
  readonly text: string;
}

/** `name{labels} value`, the form that every part writes. */
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([0-9eE.+-]+|NaN|[+-]?Inf)$/;
const HISTOGRAM_SUFFIX = /_(bucket|sum|count)$/;

/** One page for all. */
export function mergePages(pages: readonly PartPage[]): string {
  const families = new Map<string, string[]>();
  for (const { part, text } of pages) {
    for (const line of text.split("\n")) {
      const sample = SAMPLE.exec(line);
      if (sample === null) continue;
      const [, name = "", labels = "", value = ""] = sample;
      const family = familyOf(name);
      const declaration = DECLARATIONS.get(family);
      if (declaration?.parts.includes(part) !== true) continue;
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

function familyOf(name: string): string {
  if (DECLARATIONS.has(name)) return name;
  return name.replace(HISTOGRAM_SUFFIX, "");
}

function joined(first: string, second: string): string {
  return first === "" ? second : `${first},${second}`;
}
