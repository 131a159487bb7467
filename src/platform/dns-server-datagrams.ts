/** One datagram out, one back: NOTIFY (spec/resolver.md 3.6). Main thread, node:dgram. */

import { createSocket } from "node:dgram";
import { formatIp } from "../base/ip.js";
import type { Datagrams } from "../dns/ports.js";
import type { Endpoint } from "../dns/query.js";

/** Exchanges over connected sockets, so that nobody but the peer is heard. */
export const systemDatagrams: Datagrams = {
  exchange(message, to, from, timeoutMs) {
    return new Promise((resolve) => {
      const socket = createSocket({ type: to.address.version === 4 ? "udp4" : "udp6" });
      const timer = setTimeout(() => finish(undefined), timeoutMs);
      let isDone = false;
      const finish = (reply: Uint8Array | undefined): void => {
        if (isDone) return;
        isDone = true;
        clearTimeout(timer);
        socket.close();
        resolve(reply);
      };
      socket.on("error", () => finish(undefined));
      socket.on("message", (reply) => finish(reply));
      const connect = (): void => {
        socket.connect(to.port, formatIp(to.address), () => {
          if (!isDone) socket.send(message, (error) => error && finish(undefined));
        });
      };
      const source = sourceOf(from, to);
      if (source === undefined) connect();
      else socket.bind({ address: source }, connect);
    });
  },
};

/** The address of `from`, not its port: that one belongs to the listener. */
function sourceOf(from: Endpoint | undefined, to: Endpoint): string | undefined {
  if (from === undefined || from.address.version !== to.address.version) return undefined;
  return from.address.bytes.every((octet) => octet === 0) ? undefined : formatIp(from.address);
}
