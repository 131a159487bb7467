/** Translating one packet as the egress loop does it. */

import type { FastEgress } from "../../src/forward/fast-egress.js";
import { PacketBatch } from "../../src/forward/ports.js";
import { RESULT_UNKNOWN } from "../../src/kernel/translation.js";

/** What became of a packet: where its tunnel packet begins, 0 for none, and where that goes. */
export interface TakenPacket {
  readonly start: number;
  readonly address: number;
  readonly port: number;
}

const batch = new PacketBatch(1);

/** One packet without device header: by the kernel if it translates, else by FastEgress. */
export function takeEgress(fast: FastEgress, offset: number, length: number): TakenPacket {
  batch.count = 0;
  batch.addLocal(offset, length);
  if (fast.translateBatch(batch, false)) {
    const start = fast.resultOf(0);
    const address = start + fast.contextOffset;
    if (start !== RESULT_UNKNOWN) return { start, address, port: fast.portOf(0) };
  }
  const start = fast.translate(offset, length);
  return { start, address: fast.addressOffset, port: fast.port };
}
