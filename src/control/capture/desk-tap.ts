/**
 * Captures what passes the slow path: hears of each packet that comes in, of everything that
 * leaves and of each drop, and joins them to records when the packet is done. Main thread; there
 * is a tap only while a capture is on.
 */

import { type DropReason, dropReasonIndex } from "../../base/drop-reason.js";
import { type IpAddress, zeroAddress } from "../../base/ip.js";
import type { SendResult } from "../../forward/slow-path-options.js";
import {
  type CaptureDirection,
  type CaptureRecord,
  type CaptureVerdict,
  FROM_TUNNEL,
  KEPT_BYTES,
  PATH_SLOW,
  SIDE_LOCAL,
  SIDE_TUNNEL,
  TO_TUNNEL,
  VERDICT_ANSWERED,
  VERDICT_DROPPED,
  VERDICT_FORWARDED,
  VERDICT_HELD,
  VERDICT_MADE,
} from "../../tables/capture-ring.js";
import type { PacketTap } from "../packet-tap.js";

/** A packet that left the slow path. */
interface Output {
  readonly side: typeof SIDE_LOCAL | typeof SIDE_TUNNEL;
  readonly packet: Uint8Array;
  readonly length: number;
  readonly remote: IpAddress;
  readonly port: number;
  readonly isTaken: boolean;
}

/** The packet that is being worked on. */
interface Input {
  readonly side: typeof SIDE_LOCAL | typeof SIDE_TUNNEL;
  readonly packet: Uint8Array;
  readonly remote: IpAddress;
  readonly port: number;
  /** It has been shown before, when it was held. */
  readonly wasHeld: boolean;
}

/** What a tap works with. */
export interface DeskTapOptions {
  /** Octets of each packet to keep. */
  readonly snaplen: number;
  readonly tunnelVersion: 4 | 6;
  readonly nowMs: () => number;
  readonly take: (record: CaptureRecord) => void;
}

const NOTHING = new Uint8Array(0);

/** The tap of one capture. */
export class DeskTap implements PacketTap {
  readonly #options: DeskTapOptions;
  readonly #nobody: IpAddress;
  #input: Input | undefined;
  /** When the packet was taken: what it has become may already have been answered at the end. */
  #takenMs: number | undefined;
  #outputs: Output[] = [];
  #reasons: number[] = [];

  constructor(options: DeskTapOptions) {
    this.#options = options;
    this.#nobody = zeroAddress(options.tunnelVersion);
  }

  fromLocal(packet: Uint8Array, wasHeld: boolean): void {
    this.end();
    this.#takenMs = this.#options.nowMs();
    this.#input = { side: SIDE_LOCAL, packet, remote: this.#nobody, port: 0, wasHeld };
  }

  fromTunnel(packet: Uint8Array, remote: IpAddress, port: number, wasHeld: boolean): void {
    this.end();
    this.#takenMs = this.#options.nowMs();
    this.#input = { side: SIDE_TUNNEL, packet, remote, port, wasHeld };
  }

  sent(remote: IpAddress, port: number, packet: Uint8Array, result: SendResult): void {
    // What is too big comes again in smaller pieces, or is dropped.
    if (result === "too-big") return;
    this.#output(SIDE_TUNNEL, packet, remote, port, result === "sent");
  }

  written(packet: Uint8Array, isTaken: boolean): void {
    this.#output(SIDE_LOCAL, packet, this.#nobody, 0, isTaken);
  }

  dropped(reason: DropReason): void {
    const number = dropReasonIndex(reason) + 1;
    if (!this.#reasons.includes(number)) this.#reasons.push(number);
  }

  end(): void {
    const [input, outputs, reasons] = [this.#input, this.#outputs, this.#reasons];
    this.#input = undefined;
    this.#outputs = [];
    this.#reasons = [];
    if (input !== undefined) this.#tell(input, outputs, reasons);
    else this.#tellAlone(outputs, reasons);
    this.#takenMs = undefined;
  }

  /** What has no packet to belong to. */
  #tellAlone(outputs: readonly Output[], reasons: readonly number[]): void {
    for (const output of outputs) this.#tellOutput(output, VERDICT_MADE);
    for (const reason of reasons) {
      this.#record({ side: SIDE_LOCAL, sides: SIDE_LOCAL, verdict: VERDICT_DROPPED, reason });
    }
  }

  #output(
    side: Output["side"],
    packet: Uint8Array,
    remote: IpAddress,
    port: number,
    isTaken: boolean,
  ): void {
    const kept = packet.slice(0, this.#keptMax());
    this.#outputs.push({ side, packet: kept, length: packet.length, remote, port, isTaken });
  }

  #keptMax(): number {
    return Math.max(KEPT_BYTES, this.#options.snaplen);
  }

  /**
   * What has crossed belongs to the packet; what went back is the gateway's own answer, unless a
   * local packet came back because its reference is one of ours. With a drop, only what the kernel
   * refused belongs to the packet: other fragments of it may have gone.
   */
  #tell(input: Input, outputs: readonly Output[], reasons: readonly number[]): void {
    const isDropped = reasons.length > 0;
    const isOwn = ({ side, isTaken }: Output) => side !== input.side && isTaken !== isDropped;
    const crossing = outputs.filter(isOwn);
    const others = outputs.filter((output) => output.isTaken && !isOwn(output));
    if (isDropped) this.#tellDrops(input, crossing, reasons);
    else if (crossing.length > 0) this.#tellCrossing(input, crossing);
    else this.#tellInput(input, inputVerdict(input, others));
    const isHairpin = !isDropped && crossing.length === 0 && input.side === SIDE_LOCAL;
    for (const output of others) {
      const isForwarded = isHairpin || output.side !== input.side;
      this.#tellOutput(output, isForwarded ? VERDICT_FORWARDED : VERDICT_MADE);
    }
  }

  #tellDrops(input: Input, crossing: readonly Output[], reasons: readonly number[]): void {
    const [refused] = crossing;
    for (const [index, reason] of reasons.entries()) {
      this.#record({
        ...partsOf(input, index === 0 ? refused : undefined),
        side: input.side,
        sides: input.side | (index === 0 && refused !== undefined ? refused.side : 0),
        verdict: VERDICT_DROPPED,
        reason,
      });
    }
  }

  /** The packet with what it has become: one packet, or several fragments. */
  #tellCrossing(input: Input, crossing: readonly Output[]): void {
    for (const [index, output] of crossing.entries()) {
      const isInputShown = index === 0 && !input.wasHeld;
      this.#record({
        ...partsOf(input, output),
        side: input.side,
        sides: output.side | (isInputShown ? input.side : 0),
        verdict: VERDICT_FORWARDED,
        reason: 0,
      });
    }
  }

  #tellInput(input: Input, verdict: CaptureVerdict): void {
    if (input.wasHeld && verdict === VERDICT_HELD) return;
    const { side } = input;
    this.#record({ ...partsOf(input, undefined), side, sides: side, verdict, reason: 0 });
  }

  #tellOutput(output: Output, verdict: CaptureVerdict): void {
    const { side } = output;
    const from = side === SIDE_LOCAL ? SIDE_TUNNEL : SIDE_LOCAL;
    this.#record({ ...partsOf(undefined, output), side: from, sides: side, verdict, reason: 0 });
  }

  /** `side`: where the packet came in. */
  #record(
    of: Partial<CaptureRecord> &
      Pick<CaptureRecord, "sides" | "verdict" | "reason"> & { readonly side: number },
  ): void {
    const { side, ...rest } = of;
    const direction: CaptureDirection = side === SIDE_LOCAL ? TO_TUNNEL : FROM_TUNNEL;
    const kept = this.#keptMax();
    const { native = NOTHING, tunnel = NOTHING } = rest;
    this.#options.take({
      timeMs: this.#takenMs ?? this.#options.nowMs(),
      direction,
      path: PATH_SLOW,
      nativeLength: 0,
      tunnelLength: 0,
      remote: this.#nobody,
      remotePort: 0,
      ...rest,
      native: native.subarray(0, kept),
      tunnel: tunnel.subarray(0, kept),
    });
  }
}

function inputVerdict(input: Input, outputs: readonly Output[]): CaptureVerdict {
  if (outputs.length === 0) return VERDICT_HELD;
  return input.side === SIDE_LOCAL ? VERDICT_FORWARDED : VERDICT_ANSWERED;
}

/** Both packets of a record, and the remote gateway of the datagram. */
function partsOf(input: Input | undefined, output: Output | undefined): Partial<CaptureRecord> {
  const whole = input && { ...input, length: input.packet.length };
  const parts = [whole, output].filter((part) => part !== undefined);
  const native = parts.find(({ side }) => side === SIDE_LOCAL);
  const tunnel = parts.find(({ side }) => side === SIDE_TUNNEL);
  return {
    ...(native && { native: native.packet, nativeLength: native.length }),
    ...(tunnel && {
      tunnel: tunnel.packet,
      tunnelLength: tunnel.length,
      remote: tunnel.remote,
      remotePort: tunnel.port,
    }),
  };
}
