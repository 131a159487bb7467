/**
 * UDP socket for NOTIFY (RFC 1996): hands datagrams to the DNS agent and sends its replies. Main
 * thread. Few datagrams come here; what is malformed or from strangers is dropped by the agent.
 */

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { formatIp, type IpAddress, parseIp } from "../base/ip.js";
import { refused } from "./system-error.js";

/** A reply, or undefined when the datagram gets none. */
export type NotifyHandler = (message: Uint8Array, from: IpAddress) => Uint8Array | undefined;

/** An open socket. */
export interface NotifySocket {
  readonly port: number;
  close(): void;
}

/** Listens; rejects with SystemCallError when the address or the port is not to be had. */
export function listenForNotify(
  address: IpAddress,
  port: number,
  handle: NotifyHandler,
): Promise<NotifySocket> {
  const type = address.version === 4 ? "udp4" : "udp6";
  const socket = createSocket({ type, ipv6Only: false });
  return new Promise((resolve, reject) => {
    socket.once("error", (error: NodeJS.ErrnoException) => {
      socket.close();
      const action = `listen for NOTIFY at ${formatIp(address)} port ${port}`;
      const advice = "choose another address or port with -notify";
      reject(error.code === undefined ? error : refused(action, "bind", error.code, advice));
    });
    socket.bind({ address: formatIp(address), port }, () => {
      socket.removeAllListeners("error");
      socket.on("error", () => {}); // a reply that cannot be sent is sent again by nobody
      socket.on("message", (bytes, from) => answer(socket, bytes, from, handle));
      resolve({ port: socket.address().port, close: () => socket.close() });
    });
  });
}

function answer(socket: Socket, bytes: Buffer, from: RemoteInfo, handle: NotifyHandler): void {
  const sender = parseIp(from.address.replace(/%.*$/, "").replace(/^::ffff:(?=[0-9]+\.)/, ""));
  if (sender === undefined) return;
  const reply = handle(new Uint8Array(bytes), sender);
  if (reply !== undefined) socket.send(reply, from.port, from.address);
}
