/** A gateway as the vectors see it: what goes in, what comes out. One under test is a real core. */

import type { IpAddress } from "../../base/ip.js";
import type { Played } from "./played.js";
import type { VectorConfig } from "./vector-file.js";

/** A message that the mapper socket service sent to a client. */
export interface Answer {
  readonly connection: number;
  readonly message: Uint8Array;
}

export interface TestGateway {
  /** A packet from the local network. */
  fromLocal(packet: Uint8Array): void;
  /** The payload of a UDP datagram. */
  fromTunnel(datagram: Uint8Array, source: IpAddress, sourcePort: number): void;
  /** A message on the mapper socket; `connection` numbers the client. */
  fromClient(connection: number, message: Uint8Array): void;
  /** Lets everything finish that waits for the store. */
  settle(): Promise<void>;
  /** Moves the clocks on. */
  advance(seconds: number): void;
  /** What came out since the last call. */
  take(): Played;
  /** Answers on the mapper socket since the last call. */
  takeAnswers(): readonly Answer[];
}

/** Starts a gateway with the mappings of a configuration. */
export type StartGateway = (config: VectorConfig) => TestGateway;
