/** Numbers for people: three figures, a unit, no more. Programs read --json. */

const STEP = 1000;
const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;
const BIT_UNITS = ["b/s", "kb/s", "Mb/s", "Gb/s", "Tb/s"] as const;
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** 1234567 as 1,234,567. */
export function countText(count: number): string {
  return Math.round(count)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "1 packet", "2 packets". */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${countText(count)} ${count === 1 ? one : many}`;
}

/** Octets in units of a thousand: 1.30 GB. */
export function bytesText(bytes: number): string {
  return scaled(bytes, BYTE_UNITS);
}

/** Bits in a second: 6.42 Gb/s. */
export function bitRateText(bitsPerSecond: number): string {
  return scaled(bitsPerSecond, BIT_UNITS);
}

/** Packets, drops and the like in a second: 147 k/s, 0.4/s. */
export function rateText(perSecond: number): string {
  if (perSecond === 0) return "0/s";
  if (perSecond < 10) return `${Math.max(0.1, Number(perSecond.toFixed(1)))}/s`;
  if (perSecond < STEP) return `${Math.round(perSecond)}/s`;
  return `${scaled(perSecond, ["", "k", "M", "G"])}/s`;
}

function scaled(value: number, units: readonly string[]): string {
  let index = 0;
  let rest = value;
  while (Math.round(rest) >= STEP && index < units.length - 1) {
    rest /= STEP;
    index++;
  }
  return `${index === 0 ? Math.round(rest) : threeFigures(rest)} ${units[index]!}`;
}

function threeFigures(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

/** A span of time with its two largest units: 3 s, 5 min, 2 h 5 min, 3 d 4 h. */
export function spanText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return two(whole, MINUTE, "min", 1, "s");
  return whole < DAY ? two(whole, HOUR, "h", MINUTE, "min") : two(whole, DAY, "d", HOUR, "h");
}

function two(value: number, size: number, unit: string, subSize: number, subUnit: string): string {
  const whole = Math.floor(value / size);
  const rest = Math.floor((value % size) / subSize);
  return rest === 0 ? `${whole} ${unit}` : `${whole} ${unit} ${rest} ${subUnit}`;
}

/** How long ago: "now", "3 s ago", "never". */
export function agoText(seconds: number | null): string {
  if (seconds === null) return "never";
  return seconds === 0 ? "now" : `${spanText(seconds)} ago`;
}
