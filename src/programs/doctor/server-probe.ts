/**
 * What a DNS server says about the two names that only the own DNS server knows
 * (control/doctor/names.ts). Waits for a server no longer than ANSWER_MS.
 */

import { formatIp, type IpAddress, parseIp, sameAddress } from "../../base/ip.js";
import {
  ENCODED_NAME,
  PLAIN_ADDRESS,
  PLAIN_NAME,
  type ProbeAnswer,
  type ServerProbe,
} from "../../control/doctor/names.js";
import { serverResolver } from "../../platform/agent-resolver.js";
import { systemDatagrams } from "../../platform/dns-server-datagrams.js";
import { systemRandom } from "../../platform/random.js";
import { readU16 } from "../../wire/bytes.js";
import { MessageBuilder } from "../../wire/dns/builder.js";
import { decodeMessage } from "../../wire/dns/message.js";
import { nameOf } from "../../wire/dns/name.js";
import { CLASS_IN, FLAG_CD, FLAG_RD, TYPE_A, TYPE_AAAA } from "../../wire/dns/numbers.js";

const ANSWER_MS = 2000;
const QUESTION_BYTES_MAX = 512;

const silent = Symbol("silent");

/** Asks a server, which may be written with a zone that nobody understands. */
export async function probeServer(
  server: string,
  port: number,
  ownEncoded: IpAddress,
): Promise<ServerProbe> {
  const address = parseIp(server);
  if (address === undefined) {
    const reason = "its address is not understood";
    return { server, encoded: "error", plain: "error", isValidating: false, reason };
  }
  const resolver = serverResolver([{ address, port }]);
  const [encoded, plain] = await Promise.all([
    answerOf(resolver.addresses(ENCODED_NAME, ownEncoded.version), ownEncoded),
    answerOf(resolver.addresses(PLAIN_NAME, 4), parseIp(PLAIN_ADDRESS)!),
  ]);
  const reason = encoded.reason === "" ? plain.reason : encoded.reason;
  const isFailing = reason.includes("SERVFAIL");
  const isValidating = isFailing && (await answersUnchecked(address, port, ownEncoded));
  return { server, encoded: encoded.answer, plain: plain.answer, isValidating, reason };
}

async function answerOf(
  asked: ReturnType<ReturnType<typeof serverResolver>["addresses"]>,
  wanted: IpAddress,
): Promise<{ answer: ProbeAnswer; reason: string }> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<typeof silent>((resolve) => {
    timer = setTimeout(() => resolve(silent), ANSWER_MS);
  });
  const result = await Promise.race([asked, late]);
  clearTimeout(timer);
  if (result === silent) return { answer: "no answer", reason: "it does not answer" };
  if (result.kind === "absent") return { answer: "absent", reason: "" };
  if (result.kind === "failed") return { answer: "error", reason: result.reason };
  const isRight = result.addresses.some((address) => sameAddress(address, wanted));
  return { answer: isRight ? "right" : "wrong", reason: "" };
}

/** True when the server answers once it is told not to validate (RFC 4035 3.2.2, CD). */
async function answersUnchecked(
  server: IpAddress,
  port: number,
  wanted: IpAddress,
): Promise<boolean> {
  const message = new Uint8Array(QUESTION_BYTES_MAX);
  const builder = new MessageBuilder();
  const id = systemRandom().word() & 0xffff;
  builder.begin(message, QUESTION_BYTES_MAX, id, FLAG_RD | FLAG_CD);
  const type = wanted.version === 4 ? TYPE_A : TYPE_AAAA;
  builder.question(nameOf(`${ENCODED_NAME}.`), type, CLASS_IN);
  const question = message.slice(0, builder.length);
  const to = { address: server, port };
  const reply = await systemDatagrams.exchange(question, to, undefined, ANSWER_MS);
  if (reply === undefined || reply.length < 2 || readU16(reply, 0) !== id) return false;
  const decoded = decodeMessage(reply);
  if (!decoded.ok) return false;
  return decoded.message.answer.some(
    (record) =>
      record.type === type &&
      formatIp({ version: wanted.version, bytes: record.data }) === formatIp(wanted),
  );
}
