/**
 * The address records of MC_HOST_DATA in the canonical form that the mapper keeps (spec/mapper.md
 * 2.3, 2.7, 2.11): 64 bytes as a string, each field padded to 16.
 */

import {
  SEEN_GATEWAY,
  SEEN_IP,
  SEEN_RECORD_BYTES,
  SEEN_REFERENCE,
} from "../mapper/source-state.js";
import { type Dialect, type MessageVersions, recordLayout } from "../wire/mapper-message.js";

/** Records of a message and whether something was left over. */
export interface HostRecords {
  readonly records: string[];
  readonly hasGarbage: boolean;
}

/** Marks a record of other IP versions: it counts, but it is nobody's address here. */
const FOREIGN_MARK = 0xff;

/** Reads the records from `offset` on; undefined when a newv1 record is malformed. */
export function readHostRecords(
  message: Uint8Array,
  offset: number,
  dialect: Dialect,
  versions: MessageVersions,
): HostRecords | undefined {
  const records: string[] = [];
  let at = offset;
  while (at < message.length) {
    const its = dialect === "oldv1" ? versions : versionsAt(message, at);
    if (its === undefined) return undefined;
    const layout = recordLayout(dialect, its);
    if (at + layout.length > message.length) {
      return dialect === "oldv1" ? { records, hasGarbage: true } : undefined;
    }
    const isForeign = its.local !== versions.local || its.tunnel !== versions.tunnel;
    records.push(canonical(message, at, layout, isForeign));
    at += layout.length;
  }
  return { records, hasGarbage: false };
}

/** Versions of a newv1 record; undefined when version and length disagree (spec/mapper.md 2.11). */
function versionsAt(message: Uint8Array, at: number): MessageVersions | undefined {
  const local = versionOf(message[at], message[at + 1]);
  const tunnel = versionOf(message[at + 2], message[at + 3]);
  return local === undefined || tunnel === undefined ? undefined : { local, tunnel };
}

function versionOf(version: number | undefined, length: number | undefined): 4 | 6 | undefined {
  if (version === 4 && length === 4) return 4;
  return version === 6 && length === 16 ? 6 : undefined;
}

function canonical(
  message: Uint8Array,
  at: number,
  layout: ReturnType<typeof recordLayout>,
  isForeign: boolean,
): string {
  const bytes = new Uint8Array(SEEN_RECORD_BYTES);
  bytes.set(message.subarray(at + layout.ea, at + layout.ip), 0);
  bytes.set(message.subarray(at + layout.ip, at + layout.gw), SEEN_IP);
  bytes.set(message.subarray(at + layout.gw, at + layout.reference), SEEN_GATEWAY);
  bytes.set(message.subarray(at + layout.reference, at + layout.length), SEEN_REFERENCE);
  if (isForeign) bytes[0] = FOREIGN_MARK;
  return String.fromCharCode(...bytes);
}
