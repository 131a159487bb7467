/**
 * NOTIFY to secondaries (RFC 1996, spec/resolver.md 3.6): after start and after each reload, to
 * every `to` address; 3 attempts over 10 s, then a warning.
 */

import { formatIp } from "../../../base/ip.js";
import { randomBits } from "../../../base/random.js";
import { ANSWER_COUNT_OFFSET, MessageBuilder } from "../../../wire/dns/builder.js";
import { decodeMessage } from "../../../wire/dns/message.js";
import {
  CLASS_IN,
  FLAG_AA,
  FLAG_OPCODE_SHIFT,
  FLAG_QR,
  OPCODE_NOTIFY,
  TYPE_SOA,
  UDP_SIZE_MIN_BYTES,
} from "../../../wire/dns/numbers.js";
import type { Environment } from "../../ports.js";
import type { Endpoint } from "../../query.js";
import type { ZoneVersion } from "../../zone/source.js";

const ATTEMPTS = 3;
const ATTEMPT_MS = 3300;

/** The message for a zone. */
export function notifyMessage(version: ZoneVersion, id: number): Uint8Array {
  const target = new Uint8Array(2 * UDP_SIZE_MIN_BYTES);
  const builder = new MessageBuilder();
  builder.begin(target, target.length, id, (OPCODE_NOTIFY << FLAG_OPCODE_SHIFT) | FLAG_AA);
  builder.question(version.origin, TYPE_SOA, CLASS_IN);
  builder.record(ANSWER_COUNT_OFFSET, version.soa);
  return target.slice(0, builder.length);
}

/** Tells one secondary; stops early when `isCurrent` says that a newer version took over. */
export async function notifySecondary(
  version: ZoneVersion,
  to: Endpoint,
  from: Endpoint | undefined,
  environment: Environment,
  isCurrent: () => boolean,
): Promise<void> {
  const id = Number(randomBits(environment.random, 16));
  const message = notifyMessage(version, id);
  for (let attempt = 0; attempt < ATTEMPTS && isCurrent(); attempt++) {
    const reply = await environment.datagrams.exchange(message, to, from, ATTEMPT_MS);
    if (reply !== undefined && isAcknowledged(reply, id)) return;
  }
  if (!isCurrent()) return;
  const where = `${formatIp(to.address)} port ${to.port}`;
  const text = `No answer to NOTIFY for ${version.origin} from ${where}`;
  environment.log.write("WARNING", "transfer", text);
}

/** Any response to our NOTIFY; even a refusal proves that it arrived (RFC 1996 4.8). */
function isAcknowledged(bytes: Uint8Array, id: number): boolean {
  const decoded = decodeMessage(bytes);
  if (!decoded.ok || decoded.message.id !== id) return false;
  const { flags } = decoded.message;
  return (flags & FLAG_QR) !== 0 && ((flags >>> FLAG_OPCODE_SHIFT) & 15) === OPCODE_NOTIFY;
}
