/**
 * Connection to the gateway's mapper socket for `MapperClient` (spec/resolver.md 1.8,
 * spec/mapper.md 2.1): SOCK_SEQPACKET, one message a packet. Main thread.
 */

import type { MapperLink, MapperLinkEvents, MapperTransport } from "../dns/mapper-client.js";
import type { Reactor } from "./reactor.js";
import { connectSeqpacket } from "./seqpacket.js";
import type { SeqpacketConnection } from "./seqpacket-connection.js";

/** A transport to the socket at `path`. Connecting to a UNIX socket never waits. */
export function mapperTransport(reactor: Reactor, path: string): MapperTransport {
  return { connect: (events) => open(reactor, path, events) };
}

function open(
  reactor: Reactor,
  path: string,
  events: MapperLinkEvents,
): MapperLink | { readonly error: string } {
  let connection: SeqpacketConnection;
  try {
    connection = connectSeqpacket(reactor, path, {
      onMessages: (source, messages) => {
        for (const { bytes } of messages) if (!source.isClosed) events.onMessage(bytes);
      },
      onClose: () => events.onClose(),
    });
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
  return {
    send: (message) => connection.send(message),
    close: () => connection.close(),
  };
}
