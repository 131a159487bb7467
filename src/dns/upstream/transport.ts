/**
 * What the upstream client needs from sockets. `platform` implements it with the kernel; tests with
 * scripted servers and simulated time. Nothing here throws: a refusal is a text.
 */

import type { UpstreamServer, UpstreamTls } from "../ports.js";
import type { Endpoint } from "../query.js";

/** Longest question: header 12, name 255, type and class 4, OPT 11 (RFC 1035 4.1, RFC 6891 6.1). */
export const QUESTION_MESSAGE_MAX_BYTES = 12 + 255 + 4 + 11;

/** Who waits for datagrams of one exchange. */
export interface DatagramReceiver {
  /** A datagram from the server's address and port. Borrows bytes[0, length). */
  onDatagram(bytes: Uint8Array, length: number): void;
  /** The network refused: nobody listens, or there is no way there. */
  onRefused(detail: string): void;
}

/** One question on its own source port. */
export interface DatagramExchange {
  /** Room for the question, `QUESTION_MESSAGE_MAX_BYTES`; keeps its content until `release`. */
  readonly message: Uint8Array;
  /** Sends message[0, length); returns what went wrong at once, such as "ENETUNREACH". */
  send(length: number): string | undefined;
  /** Gives the source port back; no call of the receiver follows. */
  release(): void;
}

/** A server that can be asked by datagram. */
export interface DatagramTarget {
  /**
   * A connected socket with a source port that the kernel has chosen for this exchange alone
   * (spec/resolver.md 4.4), or the reason why there is none.
   */
  open(receiver: DatagramReceiver): DatagramExchange | string;
}

/** UDP towards servers. */
export interface DatagramTransport {
  target(endpoint: Endpoint): DatagramTarget;
}

/** Who waits for the octets of one connection. */
export interface StreamEvents {
  /** The connection (with TLS: and its handshake) is complete. */
  onOpen(): void;
  /** Borrows `chunk`. */
  onChunk(chunk: Uint8Array): void;
  /** Called once, also when connecting failed. */
  onClose(detail: string): void;
}

/** One connection. Written octets wait until it is open. */
export interface StreamConnection {
  /** Takes `bytes`. */
  write(bytes: Uint8Array): void;
  /** Ends the connection; no event follows. */
  close(): void;
}

/** TCP and TLS towards servers. */
export interface StreamTransport {
  connect(
    server: UpstreamServer,
    tls: UpstreamTls | undefined,
    events: StreamEvents,
  ): StreamConnection;
}
