/**
 * MC_GET_EA as its client sees it, dialect oldv1 (spec/mapper.md 2.2 to 2.6, spec/resolver.md 1.8).
 *
 *   request  header  ea 0  ip 0  gw  reference  string item with the name
 *   ACK      header  ea    ip 0  gw  reference
 *   NACK     header
 */

import { addressLength, copyAddress, type IpAddress, type IpVersion } from "../base/ip.js";
import { type Reference, writeReferenceInto } from "../base/reference.js";
import {
  COMMAND_GET_EA,
  ipverOf,
  MESSAGE_HEADER_BYTES,
  MESSAGE_SIGNATURE,
  MODE_ACK,
  MODE_NACK,
  MODE_REQUEST,
  OFFSET_COMMAND,
  OFFSET_ID,
  OFFSET_IPVER,
  OFFSET_LENGTH,
  OFFSET_RESERVED,
  OFFSET_SIGNATURE,
  recordLayout,
  stringItemBytes,
  writeHeaderInto,
  writeStringItemInto,
} from "../wire/mapper-message.js";

/** The count of a string item has one octet (spec/mapper.md 2.4). */
const NAME_BYTES_MAX = 255;

/** A request for id 0; `setRequestId` completes it. Names that do not fit are cut. */
export function buildGetEaRequest(
  context: IpAddress,
  reference: Reference,
  name: string,
  encodedVersion: IpVersion,
): Uint8Array {
  const versions = { local: encodedVersion, tunnel: context.version };
  const layout = recordLayout("oldv1", versions);
  const text = name.slice(0, NAME_BYTES_MAX);
  const recordEnd = MESSAGE_HEADER_BYTES + layout.length;
  const length = recordEnd + (text === "" ? 0 : stringItemBytes(text.length));
  const message = new Uint8Array(length);
  writeHeaderInto(message, MODE_REQUEST | COMMAND_GET_EA, 0, ipverOf(versions), length);
  message.set(context.bytes, MESSAGE_HEADER_BYTES + layout.gw);
  writeReferenceInto(message, MESSAGE_HEADER_BYTES + layout.reference, reference);
  if (text !== "") writeStringItemInto(message, recordEnd, text);
  return message;
}

/** Writes the packet id. */
export function setRequestId(message: Uint8Array, id: number): void {
  message[OFFSET_ID] = id >>> 8;
  message[OFFSET_ID + 1] = id;
}

/** Packet id of a message with a header. */
export function messageId(message: Uint8Array): number {
  return (message[OFFSET_ID]! << 8) | message[OFFSET_ID + 1]!;
}

/** True when length, signature, length field and reserved octet are those of a message. */
export function isMapperMessage(message: Uint8Array): boolean {
  const { length } = message;
  if (length < MESSAGE_HEADER_BYTES || length % 4 !== 0) return false;
  const words = (message[OFFSET_LENGTH]! << 8) | message[OFFSET_LENGTH + 1]!;
  return (
    4 * words === length &&
    message[OFFSET_SIGNATURE] === MESSAGE_SIGNATURE &&
    message[OFFSET_RESERVED] === 0
  );
}

/** What a reply to `request` says. */
export type GetEaReply =
  | { readonly kind: "address"; readonly address: IpAddress }
  | { readonly kind: "refused" }
  /** Well formed, but for another IPREF address: a late answer to an id that is used again. */
  | { readonly kind: "foreign" }
  | { readonly kind: "malformed" };

const REFUSED: GetEaReply = { kind: "refused" };
const FOREIGN: GetEaReply = { kind: "foreign" };
const MALFORMED: GetEaReply = { kind: "malformed" };

/** Reads a reply that passed `isMapperMessage` and has the id of `request`. Copies the address. */
export function readGetEaReply(reply: Uint8Array, request: Uint8Array): GetEaReply {
  if (reply[OFFSET_IPVER] !== request[OFFSET_IPVER]) return MALFORMED;
  const command = reply[OFFSET_COMMAND]!;
  if (command === (MODE_NACK | COMMAND_GET_EA)) {
    return reply.length === MESSAGE_HEADER_BYTES ? REFUSED : MALFORMED;
  }
  if (command !== (MODE_ACK | COMMAND_GET_EA)) return MALFORMED;
  const local: IpVersion = reply[OFFSET_IPVER]! >> 4 === 4 ? 4 : 6;
  const tunnel: IpVersion = (reply[OFFSET_IPVER]! & 15) === 4 ? 4 : 6;
  const layout = recordLayout("oldv1", { local, tunnel });
  const end = MESSAGE_HEADER_BYTES + layout.length;
  if (reply.length !== end) return MALFORMED;
  for (let at = MESSAGE_HEADER_BYTES + addressLength(local); at < end; at++) {
    if (reply[at] !== request[at]) return FOREIGN;
  }
  const address = copyAddress(reply, MESSAGE_HEADER_BYTES, local);
  return address.bytes.every((octet) => octet === 0) ? MALFORMED : { kind: "address", address };
}
