/**
 * A mapper that is not there (spec/dns-agent.md 1, -devmode): 70 % of the data packets are
 * acknowledged after 919 ms, all hashes at once, to try an agent without a gateway.
 */

import { type RandomSource, randomBelow } from "../base/random.js";
import {
  COMMAND_HOST_DATA,
  COMMAND_HOST_DATA_HASH,
  MODE_ACK,
  MODE_REQUEST,
  OFFSET_COMMAND,
  readSourceNames,
  setMessageLength,
  setMessageMode,
} from "../wire/mapper-message.js";
import type { MapperTransport, Timers } from "./ports.js";

const ACK_PERCENT = 70;
const ACK_DELAY_MS = 919;

/** A transport that answers by itself. */
export function devmodeMapper(timers: Timers, random: RandomSource): MapperTransport {
  return {
    connect(events) {
      let isClosed = false;
      const answer = (reply: Uint8Array, delayMs: number) => {
        timers.after(delayMs, () => {
          if (!isClosed) events.onMessage(reply);
        });
      };
      return {
        send(message) {
          const reply = replyTo(message);
          const isData = message[OFFSET_COMMAND] === (MODE_REQUEST | COMMAND_HOST_DATA);
          const isLost = isData && randomBelow(random, 100) >= ACK_PERCENT;
          if (reply !== undefined && !isLost) answer(reply, isData ? ACK_DELAY_MS : 0);
          return true;
        },
        close() {
          isClosed = true;
        },
      };
    },
  };
}

/** The ACK of a message; undefined for others. */
function replyTo(message: Uint8Array): Uint8Array | undefined {
  const command = message[OFFSET_COMMAND]! & ~MODE_REQUEST;
  if (command !== COMMAND_HOST_DATA && command !== COMMAND_HOST_DATA_HASH) return undefined;
  const names = readSourceNames(message, message.length);
  if (names === undefined) return undefined;
  const reply = message.slice(0, names.end);
  setMessageMode(reply, MODE_ACK);
  setMessageLength(reply, reply.length);
  return reply;
}
