/**
 * Outcomes of translation that both directions share (spec/tunnel.md 3, 4.8, 6.1).
 */

import type { DropReason } from "../base/drop-reason.js";
import type { IcmpFragment } from "./fragments-of-icmp.js";

/** The sender is told, when `mayAnswer…` and the caller's limits allow it (6.1, 6.3, 6.4). */
export interface TranslationError {
  readonly kind: "error";
  readonly error: "network-unreachable" | "time-exceeded";
  readonly reason: DropReason;
}

/** Nobody is told. A refused first fragment of ICMP names its message (9 S16). */
export interface TranslationDrop {
  readonly kind: "drop";
  readonly reason: DropReason;
  readonly icmpFragment?: IcmpFragment;
}

/** Keep the untranslated packet until the last fragment shows the length (4.8). */
export interface TranslationHold {
  readonly kind: "hold";
  readonly icmpFragment: IcmpFragment;
}

/** A mapping is being stored; keep the untranslated packet and translate it again later. */
export interface TranslationPending {
  readonly kind: "pending";
}

/** A drop without further consequences. */
export function drop(reason: DropReason): TranslationDrop {
  return { kind: "drop", reason };
}

/** A drop of layer-4 data; `part` tells of which ICMP message, when it was a fragment of one. */
export function dropPart(reason: DropReason, part: IcmpFragment | undefined): TranslationDrop {
  return part?.part === "first" ? { kind: "drop", reason, icmpFragment: part } : drop(reason);
}
