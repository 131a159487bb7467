/** What a gateway did with the packets of a vector, and how the judgement words a difference. */

import type { DropReason } from "../../base/drop-reason.js";
import type { IpAddress } from "../../base/ip.js";

/** One packet that left the gateway. */
export interface Output {
  readonly side: "tunnel" | "local";
  readonly bytes: Uint8Array;
  /** Of a tunnel packet: where the datagram goes. */
  readonly destination?: IpAddress;
  readonly port?: number;
}

export interface Played {
  readonly outputs: readonly Output[];
  readonly drops: readonly DropReason[];
}

/** Changes of the gateway's configuration for a comparison run. */
export interface PlayChanges {
  /** Replaces the path MTU of the tunnel. */
  readonly tunnelMtu?: number;
}

/** Plays packets through a fresh gateway of the vector's configuration. */
export type Play = (inputs: readonly Uint8Array[], changes?: PlayChanges) => Promise<Played>;

/** One thing that is not as it should be. */
export interface Difference {
  readonly vector: string;
  /** Index of the output, when there are several. */
  readonly output?: number;
  readonly field: string;
  readonly offset?: number;
  readonly expected: string;
  readonly got: string;
}

/** A difference before it is known to which vector it belongs. */
export type Finding = Omit<Difference, "vector">;

/** The finding about a gateway that threw; nothing that arrives may make it do so. */
export function thrown(error: unknown): Finding {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return { field: "gateway", expected: "a result", got: text };
}
