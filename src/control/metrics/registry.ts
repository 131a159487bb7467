/**
 * Counters, gauges and histograms of one process in the text format of Prometheus (exposition
 * format 0.0.4). Every metric is declared in declarations.ts; the number of label sets of a metric
 * is bounded. Main thread.
 *
 * It is small on purpose. The DNS server counts five metrics in every query. prom-client makes a
 * key of all labels, sorted by name, at each count, which takes about 500 ns; here a caller keeps a
 * frozen label object, and a count takes 60 ns (November 2026, Node 20, five labels).
 */

import { assert } from "../../base/assert.js";
import { DECLARATIONS, type MetricDeclaration, type MetricPart } from "./declarations.js";

/** Label values by name. A frozen object is found without making its key again. */
export type Labels = Readonly<Record<string, string>>;

/** Label sets of one metric; what comes beyond is not counted. */
export const SERIES_MAX = 2000;
/** Content type of the page. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

interface Series {
  readonly labelText: string;
  value: number;
  buckets: number[] | undefined;
  count: number;
}

interface Family {
  readonly declaration: MetricDeclaration;
  readonly series: Map<string, Series>;
  /** Series of frozen label objects, which callers keep for what they count often. */
  readonly byLabels: WeakMap<Labels, Series>;
}

const NO_LABELS: Labels = Object.freeze({});
const NO_BOUNDS: readonly number[] = [];

/** All metrics of the process. */
export class MetricsRegistry {
  readonly #families = new Map<string, Family>();
  /** Called before the text is made, to bring values up to date that somebody else keeps. */
  readonly refreshers = new Set<() => void>();

  /** Counters of the part that have no labels, or known ones, are there from the beginning. */
  constructor(part: MetricPart) {
    for (const declaration of DECLARATIONS.values()) {
      const { parts, kind, name, labels, values = [] } = declaration;
      if (!parts.includes(part) || kind !== "counter") continue;
      if (labels.length === 0) this.total(name, NO_LABELS, 0);
      for (const value of values) this.total(name, { [labels[0]!]: value }, 0);
    }
  }

  count(name: string, labels: Labels, by = 1): void {
    const series = this.#seriesOf(name, labels);
    if (series !== undefined) series.value += by;
  }

  gauge(name: string, labels: Labels, value: number): void {
    const series = this.#seriesOf(name, labels);
    if (series !== undefined) series.value = value;
  }

  /** Sets a counter that somebody else keeps. */
  total(name: string, labels: Labels, value: number): void {
    this.gauge(name, labels, value);
  }

  /** Forgets all series of a metric, before those of now are set. */
  clear(name: string): void {
    this.#families.delete(name);
  }

  observe(name: string, labels: Labels, value: number): void {
    const series = this.#seriesOf(name, labels);
    if (series === undefined) return;
    const { bounds = NO_BOUNDS } = this.#families.get(name)!.declaration;
    series.value += value;
    series.count++;
    series.buckets ??= new Array<number>(bounds.length).fill(0);
    const index = bounds.findIndex((bound) => value <= bound);
    if (index >= 0) series.buckets[index]!++;
  }

  #seriesOf(name: string, labels: Labels): Series | undefined {
    const family = this.#families.get(name) ?? this.#create(name);
    const known = family.byLabels.get(labels);
    if (known !== undefined) return known;
    let key = "";
    for (const label in labels) key += `${labels[label]!}\0`;
    let series = family.series.get(key);
    if (series === undefined) {
      if (family.series.size >= SERIES_MAX) return undefined;
      assert(hasLabelsOf(family.declaration, labels), `metric ${name} has its declared labels`);
      series = { labelText: labelsText(labels), value: 0, buckets: undefined, count: 0 };
      family.series.set(key, series);
    }
    if (Object.isFrozen(labels)) family.byLabels.set(labels, series);
    return series;
  }

  #create(name: string): Family {
    const declaration = DECLARATIONS.get(name);
    assert(declaration !== undefined, `metric ${name} is declared`);
    const family: Family = { declaration, series: new Map(), byLabels: new WeakMap() };
    this.#families.set(name, family);
    return family;
  }

  /** The page for `/metrics`. */
  text(): string {
    for (const refresh of this.refreshers) refresh();
    const lines: string[] = [];
    for (const name of [...this.#families.keys()].sort()) {
      const { declaration, series } = this.#families.get(name)!;
      if (series.size === 0) continue;
      lines.push(...headingLines(declaration));
      for (const one of series.values()) lines.push(...seriesLines(declaration, one));
    }
    return `${lines.join("\n")}\n`;
  }
}

function hasLabelsOf({ labels: wanted }: MetricDeclaration, labels: Labels): boolean {
  const names = Object.keys(labels);
  return names.length === wanted.length && names.every((name) => wanted.includes(name));
}

/** HELP and TYPE of a metric. */
export function headingLines({ name, kind, help }: MetricDeclaration): readonly string[] {
  const escaped = help.replace(/\\/g, "\\\\").replace(/\n/g, "\\n");
  return [`# HELP ${name} ${escaped}`, `# TYPE ${name} ${kind}`];
}

function seriesLines({ name, kind, bounds = NO_BOUNDS }: MetricDeclaration, series: Series) {
  const { labelText, value, buckets, count } = series;
  if (kind !== "histogram") return [`${name}${braced(labelText)} ${value}`];
  const lines: string[] = [];
  const bucket = (bound: string, sum: number): void => {
    lines.push(`${name}_bucket${braced(joined(labelText, `le="${bound}"`))} ${sum}`);
  };
  let sum = 0;
  for (const [index, bound] of bounds.entries()) {
    sum += buckets?.[index] ?? 0;
    bucket(String(bound), sum);
  }
  bucket("+Inf", count);
  lines.push(`${name}_sum${braced(labelText)} ${value}`);
  lines.push(`${name}_count${braced(labelText)} ${count}`);
  return lines;
}

function labelsText(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabel(value)}"`)
    .join(",");
}

/** A label value between its quotation marks; other control characters are shown as "?". */
function escapeLabel(value: string): string {
  return (
    value
      .replace(/\\/g, "\\\\")
      .replace(/"/g, '\\"')
      .replace(/\n/g, "\\n")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what they are
      .replace(/[\u0000-\u001f\u007f-\u009f]/g, "?")
  );
}

function braced(labels: string): string {
  return labels === "" ? "" : `{${labels}}`;
}

function joined(first: string, second: string): string {
  return first === "" ? second : `${first},${second}`;
}
