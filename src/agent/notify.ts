/**
 * NOTIFY (RFC 1996) from the configured servers: answered, and taken as a hint to ask for the SOA
 * soon; its content is never trusted (spec/dns-agent.md 9, 2). Whoever is not a server of the zone
 * gets no answer.
 */

import type { IpAddress } from "../base/ip.js";
import { MessageBuilder } from "../wire/dns/builder.js";
import {
  CLASS_IN,
  FLAG_AA,
  FLAG_OPCODE_SHIFT,
  FLAG_QR,
  OPCODE_NOTIFY,
  RCODE_NOERROR,
  RCODE_NOTAUTH,
  TYPE_SOA,
} from "../wire/dns/numbers.js";
import { RequestView } from "../wire/dns/request.js";
import type { ServerFetcher } from "./fetchers.js";
import type { Fetcher } from "./poller.js";
import type { AgentWorld } from "./ports.js";
import type { Source } from "./source.js";
import { checkRequest, findTsig, signMessage, type TsigKey, type TsigRecord } from "./tsig.js";

const REPLY_BYTES_MAX = 512;

/** Handles one datagram; the reply, or undefined when there is none. Borrows the message. */
export function handleNotify(
  message: Uint8Array,
  from: IpAddress,
  sources: readonly Source[],
  world: AgentWorld,
): Uint8Array | undefined {
  const request = new RequestView();
  if (request.read(message, message.length) !== undefined) return undefined;
  if (request.opcode !== OPCODE_NOTIFY) return undefined;
  if (request.type !== TYPE_SOA || request.class !== CLASS_IN) return undefined;
  const concerned = sources.filter(({ spec }) => spec.publicZone.equals(request.name));
  const servers = concerned
    .flatMap(({ fetchers }) => fetchers.filter(isServer))
    .filter((server) => server.hasAddress(from));
  if (servers.length === 0) return undefined;
  const tsig = findTsig(message);
  if (tsig === "malformed") return undefined;
  if (tsig === undefined) {
    for (const source of concerned) source.hint();
    return replyTo(request, RCODE_NOERROR);
  }
  const key = servers.map((server) => server.key).find((one) => isValid(message, tsig, one, world));
  if (key === undefined) return replyTo(request, RCODE_NOTAUTH);
  for (const source of concerned) source.hint();
  const reply = replyTo(request, RCODE_NOERROR);
  return signMessage(reply, key, world.hmac, world.clock.unixSeconds(), tsig.mac).message;
}

function isServer(fetcher: Fetcher): fetcher is ServerFetcher {
  return "hasAddress" in fetcher;
}

function isValid(
  message: Uint8Array,
  tsig: TsigRecord,
  key: TsigKey | undefined,
  world: AgentWorld,
): boolean {
  if (key === undefined) return false;
  const nowSeconds = world.clock.unixSeconds();
  return checkRequest(message, tsig, key, world.hmac, nowSeconds) === undefined;
}

function replyTo(request: RequestView, rcode: number): Uint8Array {
  const target = new Uint8Array(REPLY_BYTES_MAX);
  const flags = FLAG_QR | FLAG_AA | (OPCODE_NOTIFY << FLAG_OPCODE_SHIFT) | rcode;
  const builder = new MessageBuilder();
  builder.begin(target, REPLY_BYTES_MAX, request.id, flags);
  builder.question(request.name, request.type, request.class);
  return target.slice(0, builder.length);
}
