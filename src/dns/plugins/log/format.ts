/** The line that `log` writes for a query: placeholders of spec/resolver.md 2.6. */

import { formatIp } from "../../../base/ip.js";
import { formatKey } from "../../../wire/dns/name.js";
import {
  className,
  FLAG_AA,
  FLAG_AD,
  FLAG_CD,
  FLAG_QR,
  FLAG_RA,
  FLAG_RD,
  FLAG_TC,
  FLAG_Z,
  MESSAGE_MAX_BYTES,
  rcodeName,
  typeName,
} from "../../../wire/dns/numbers.js";
import type { Outcome } from "../../plugin.js";
import type { Endpoint, Query } from "../../query.js";

/** `{common}` */
export const COMMON_FORMAT =
  '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" ' +
  "{rcode} {>rflags} {rsize} {duration}";
/** `{combined}` */
const COMBINED_FORMAT = `${COMMON_FORMAT} "{>opcode}"`;

/** Flags in the order of the line. */
const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [FLAG_QR, "qr"],
  [FLAG_AA, "aa"],
  [FLAG_TC, "tc"],
  [FLAG_RD, "rd"],
  [FLAG_RA, "ra"],
  [FLAG_Z, "z"],
  [FLAG_AD, "ad"],
  [FLAG_CD, "cd"],
];

type Placeholder = (query: Query, outcome: Outcome) => string;

const PLACEHOLDERS: ReadonlyMap<string, Placeholder> = new Map<string, Placeholder>([
  ["{remote}", (query) => hostText(query.client)],
  ["{local}", (query) => hostText(query.origin.local)],
  ["{port}", (query) => String(query.client.port)],
  ["{>id}", (query) => String(query.id)],
  ["{>opcode}", (query) => String(query.opcode)],
  ["{type}", (query) => typeName(query.type)],
  ["{class}", (query) => className(query.class)],
  ["{name}", (query) => formatKey(query.name.key)],
  ["{proto}", (query) => query.transport],
  ["{size}", (query) => String(query.length)],
  ["{>do}", (query) => String(query.isDnssecOk)],
  ["{>bufsize}", (query) => String(announcedSize(query))],
  ["{rcode}", (_, outcome) => (outcome.replyBytes === 0 ? "-" : rcodeName(outcome.rcode))],
  ["{>rflags}", (_, outcome) => (outcome.replyBytes === 0 ? "-" : flagsText(outcome.flags))],
  ["{rsize}", (_, outcome) => String(outcome.replyBytes)],
  ["{duration}", (_, outcome) => `${trimNumber(outcome.durationMs / 1000)}s`],
]);

/** Replaces the two names of whole formats. */
export function expandFormat(format: string): string {
  return format.replaceAll("{combined}", COMBINED_FORMAT).replaceAll("{common}", COMMON_FORMAT);
}

/** One line; an unknown placeholder becomes `-`. */
export function formatLine(format: string, query: Query, outcome: Outcome): string {
  return format.replace(/\{[>/a-z]+\}/g, (placeholder) => {
    const text = PLACEHOLDERS.get(placeholder)?.(query, outcome);
    return text === undefined || text === "" ? "-" : text;
  });
}

/** IPv6 in brackets. */
function hostText({ address }: Endpoint): string {
  return address.version === 6 ? `[${formatIp(address)}]` : formatIp(address);
}

/** 512 for UDP without OPT, 65535 for TCP (spec/resolver.md 2.6). */
function announcedSize(query: Query): number {
  return query.transport === "tcp" ? MESSAGE_MAX_BYTES : query.ednsSizeBytes;
}

function flagsText(flags: number): string {
  return FLAG_NAMES.filter(([bit]) => (flags & bit) !== 0)
    .map(([, name]) => name)
    .join(",");
}

/** Nanosecond digits without trailing zeros. */
function trimNumber(seconds: number): string {
  return seconds.toFixed(9).replace(/\.?0+$/, "");
}
