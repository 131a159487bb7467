/** What the desk of the slow path tells a capture (capture/desk-tap.ts). Bytes are borrowed. */

import type { DropReason } from "../base/drop-reason.js";
import type { IpAddress } from "../base/ip.js";
import type { SendResult } from "../forward/slow-path-options.js";

/** Hears of one packet after the other. */
export interface PacketTap {
  /** A packet from the local network is taken; `wasHeld`: again, after it was held. */
  fromLocal(packet: Uint8Array, wasHeld: boolean): void;
  /** A datagram of the tunnel is taken. */
  fromTunnel(packet: Uint8Array, remote: IpAddress, port: number, wasHeld: boolean): void;
  /** A tunnel packet has been given to the kernel. */
  sent(remote: IpAddress, port: number, packet: Uint8Array, result: SendResult): void;
  /** A native packet has been given to the kernel, which has taken it or not. */
  written(packet: Uint8Array, isTaken: boolean): void;
  dropped(reason: DropReason): void;
  /** The packet is done. */
  end(): void;
}
