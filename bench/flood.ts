// Child process of the forwarding benchmark: sends packets that take the slow path, as fast as it
// can, for a number of seconds.
//
//   node flood.js unknown|fragments|echo ADDRESS SECONDS      prints the number of sent packets
//
// unknown: datagrams to addresses around ADDRESS that stand for nobody; fragments: datagrams of
// 3,000 octets to ADDRESS, which the sender's kernel cuts; echo: as `fragments` with ping(8).

import { spawn } from "node:child_process";
import { performance } from "node:perf_hooks";
import { formatIp, parseIp } from "../src/base/ip.js";
import * as libc from "../src/platform/libc.js";
import { allocateMemory } from "../src/platform/memory.js";
import { encodeSockaddrInto, SOCKADDR_IN6_LENGTH } from "../src/platform/sockaddr.js";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const PORT = 9;
const BYTES = { unknown: 64, fragments: 3_000 } as const;
const PER_CHECK = 256;
/** Unknown addresses tried in turn. */
const ADDRESSES = 250;

function flood(kind: "unknown" | "fragments", text: string, seconds: number): number {
  const address = parseIp(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  const memory = allocateMemory(SOCKADDR_IN6_LENGTH + 4 + BYTES.fragments);
  const end = encodeSockaddrInto(memory.view, 0, address, PORT);
  const last = end - 1 - (address.version === 6 ? 4 : 8);
  const fd = libc.socket(address.version === 4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
  if (fd < 0) throw new Error(`no socket for ${formatIp(address)}`);
  const endMs = performance.now() + 1_000 * seconds;
  let sent = 0;
  while (performance.now() < endMs) {
    for (let count = 0; count < PER_CHECK; count++) {
      if (kind === "unknown") memory.bytes[last] = 2 + (sent % ADDRESSES);
      const body = memory.address + SOCKADDR_IN6_LENGTH + 4;
      if (libc.sendto(fd, body, BYTES[kind], 0, memory.address, end) >= 0) sent++;
    }
  }
  libc.close(fd);
  return sent;
}

const [kind, target, seconds] = process.argv.slice(2);
if (kind === "echo") {
  const args = ["-f", "-q", "-s", "3000", "-l", "1000", "-w", seconds!, target!];
  spawn("ping", args, { stdio: ["ignore", "inherit", "inherit"] });
} else console.log(flood(kind as "unknown" | "fragments", target!, Number(seconds)));
