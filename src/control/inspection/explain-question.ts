/** Reading what `POST /explain` is asked. Everything here comes from outside. */

import { fromHex } from "../../base/hex.js";
import { type IpAddress, parseIp } from "../../base/ip.js";
import { type IprefAddress, parseIprefAddress } from "../../base/reference.js";
import { PROTOCOL_TCP } from "../../wire/packet-fields.js";
import type { ExplainFlow, ExplainRaw } from "./explain-report.js";

/** Octets of a question: a packet of 64 KiB in hexadecimal, and room. */
export const QUESTION_BYTES_MAX = 160_000;
/** A little more than IP can carry: the reason why it cannot shall be shown. */
const PACKET_BYTES_MAX = 65_600;
const PORT_MAX = 65_535;
/** Where a made packet comes from when nothing is said: an ephemeral port (RFC 6335 6). */
const SOURCE_PORT = 49_152;

/** A question that cannot be answered; the message is a sentence. */
export class QuestionRefused extends Error {
  override readonly name = "QuestionRefused";
}

/** One end of a flow. */
export type End =
  | { readonly kind: "native"; readonly address: IpAddress }
  | { readonly kind: "ipref"; readonly ipref: IprefAddress };

type Fields = Readonly<Record<string, unknown>>;

/** Reads the body; throws QuestionRefused. */
export function readQuestion(body: Uint8Array): ExplainFlow | ExplainRaw {
  if (body.length > QUESTION_BYTES_MAX) throw new QuestionRefused("The question is too long");
  const value = parseJson(body);
  if (typeof value !== "object" || value === null) {
    throw new QuestionRefused("Expected a JSON object");
  }
  const fields = value as Fields;
  return "packet" in fields ? readRaw(fields) : readFlow(fields);
}

/** Reads an address or an IPREF address; throws QuestionRefused. */
export function readEnd(name: string, text: string): End {
  const address = parseIp(text);
  if (address !== undefined) return { kind: "native", address };
  const ipref = parseIprefAddress(text);
  if (ipref !== undefined) return { kind: "ipref", ipref };
  throw new QuestionRefused(
    `Cannot read the ${name} '${text.slice(0, 80)}': expected an address such as 10.1.0.5, or an ` +
      "IPREF address such as 198.51.100.7 + 1025",
  );
}

/** The bytes of a raw packet; throws QuestionRefused. */
export function readPacket({ packet }: ExplainRaw): Uint8Array {
  const bytes = fromHex(packet);
  if (bytes === undefined) {
    throw new QuestionRefused("Cannot read the packet: expected pairs of hexadecimal digits");
  }
  if (bytes.length <= PACKET_BYTES_MAX) return bytes;
  throw new QuestionRefused(`The packet has ${bytes.length} octets; more than ${PACKET_BYTES_MAX}`);
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body)) as unknown;
  } catch {
    throw new QuestionRefused("Expected a JSON object");
  }
}

function readFlow(fields: Fields): ExplainFlow {
  return {
    source: textField(fields, "source"),
    destination: textField(fields, "destination"),
    protocol: numberField(fields, "protocol", PROTOCOL_TCP, 255),
    port: numberField(fields, "port", 0, PORT_MAX),
    sourcePort: numberField(fields, "sourcePort", SOURCE_PORT, PORT_MAX),
    size: fields.size === undefined ? undefined : numberField(fields, "size", 0, 65_535),
    df: fields.df === true,
    syn: fields.syn === true,
  };
}

function readRaw(fields: Fields): ExplainRaw {
  const { side, from } = fields;
  if (side !== "local" && side !== "tunnel") {
    throw new QuestionRefused("Cannot read the side: expected local or tunnel");
  }
  return {
    packet: textField(fields, "packet"),
    side,
    from: from === undefined ? undefined : textField(fields, "from"),
    fromPort:
      fields.fromPort === undefined ? undefined : numberField(fields, "fromPort", 0, PORT_MAX),
  };
}

function textField(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === "string") return value;
  throw new QuestionRefused(`Cannot read the ${name}: expected text`);
}

function numberField(fields: Fields, name: string, fallback: number, max: number): number {
  const value = fields[name] ?? fallback;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max) {
    return value;
  }
  throw new QuestionRefused(`Cannot read the ${name}: expected a number from 0 to ${max}`);
}
