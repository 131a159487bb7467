// Line plots as SVG, written by benchmarks: axes from zero, one colour and one label a line.

/** One line of a plot. */
export interface PlotLine {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** What a plot shows. */
export interface Plot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly lines: readonly PlotLine[];
}

const WIDTH = 640;
const HEIGHT = 360;
const LEFT = 64;
const RIGHT = 16;
const TOP = 40;
const BOTTOM = 56;
const COLOURS = ["#0b62a4", "#d9480f", "#2b8a3e", "#862e9c"];
const TICKS_MAX = 6;

/** The plot as an SVG document. */
export function plotSvg({ title, xLabel, yLabel, lines }: Plot): string {
  const all = lines.flatMap((line) => line.points);
  const xMax = axisEnd(Math.max(...all.map(([x]) => x)));
  const yMax = axisEnd(Math.max(...all.map(([, y]) => y)));
  const x = (value: number): number => LEFT + (value / xMax) * (WIDTH - LEFT - RIGHT);
  const y = (value: number): number => HEIGHT - BOTTOM - (value / yMax) * (HEIGHT - TOP - BOTTOM);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" ` +
      `font-family="sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(WIDTH / 2, 20, title, 'text-anchor="middle" font-size="14"'),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, xLabel, 'text-anchor="middle"'),
    text(14, HEIGHT / 2, yLabel, `text-anchor="middle" transform="rotate(-90 14 ${HEIGHT / 2})"`),
  ];
  for (const value of ticks(yMax)) {
    const at = round(y(value));
    parts.push(`<path d="M${LEFT} ${at}H${WIDTH - RIGHT}" stroke="#dddddd"/>`);
    parts.push(text(LEFT - 6, at + 4, String(value), 'text-anchor="end"'));
  }
  for (const value of ticks(xMax)) {
    parts.push(text(round(x(value)), HEIGHT - BOTTOM + 18, String(value), 'text-anchor="middle"'));
  }
  lines.forEach(({ label, points }, index) => {
    const colour = COLOURS[index % COLOURS.length];
    const path = points.map(([px, py]) => `${round(x(px))} ${round(y(py))}`).join("L");
    parts.push(`<path d="M${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const [px, py] of points) {
      parts.push(`<circle cx="${round(x(px))}" cy="${round(y(py))}" r="3" fill="${colour}"/>`);
    }
    parts.push(text(LEFT + 10 + 150 * index, TOP - 6, label, `fill="${colour}"`));
  });
  return `${parts.join("\n")}\n</svg>\n`;
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x}" y="${y}" ${attributes}>${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** The distance of two ticks: 1, 2 or 5 times a power of ten. */
function tickStep(max: number): number {
  const power = 10 ** Math.floor(Math.log10(max / TICKS_MAX));
  const factors = [1, 2, 5, 10];
  return power * (factors.find((factor) => max / (power * factor) <= TICKS_MAX) ?? 10);
}

function axisEnd(max: number): number {
  if (!(max > 0)) return 1;
  const step = tickStep(max);
  return step * Math.ceil(max / step - 1e-9);
}

function ticks(max: number): number[] {
  const step = tickStep(max);
  const count = Math.round(max / step);
  return Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(6)));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
