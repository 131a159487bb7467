/** Which address of this machine the kernel would send from, ip(7). Nothing is sent. */

import { createSocket } from "node:dgram";
import { formatIp, type IpAddress, isUnspecified, parseIp } from "../base/ip.js";

/** connect(2) of a UDP socket chooses route and source address; the port has no meaning. */
const ANY_PORT = 9;

/** The source address towards `destination`; undefined when no route leads there. */
export function sourceAddress(destination: IpAddress): Promise<IpAddress | undefined> {
  const socket = createSocket(destination.version === 4 ? "udp4" : "udp6");
  return new Promise((resolve) => {
    const finish = (found: string | undefined): void => {
      socket.close();
      const address = found === undefined ? undefined : parseIp(found);
      resolve(address === undefined || isUnspecified(address) ? undefined : address);
    };
    socket.once("error", () => finish(undefined));
    socket.connect(ANY_PORT, formatIp(destination), () => finish(socket.address().address));
  });
}
