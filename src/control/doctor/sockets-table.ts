/**
 * Who holds a UDP or TCP port: /proc/net/udp and its like (proc_pid_net(5)), judged. Pure.
 */

import type { IpAddress } from "../../base/ip.js";
import { isUnspecified, sameAddress } from "../../base/ip.js";
import { type Finding, judgeOf, shellWord } from "./finding.js";

/** One bound socket. */
export interface BoundSocket {
  readonly address: IpAddress;
  readonly port: number;
  /** Number of the socket's inode, which links of /proc/PID/fd name. */
  readonly inode: string;
}

/** State "listening" of TCP sockets (include/net/tcp_states.h). */
const TCP_LISTEN = "0A";

/** Bound sockets of a table; of TCP those that listen. */
export function boundSockets(text: string, protocol: "udp" | "tcp"): BoundSocket[] {
  return text.split("\n").flatMap((line) => {
    const words = line.trim().split(/\s+/);
    const match = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(words[1] ?? "");
    if (match === null || words.length < 10) return [];
    if (protocol === "tcp" && words[3] !== TCP_LISTEN) return [];
    const address = addressOfHex(match[1]!);
    return [{ address, port: Number.parseInt(match[2]!, 16), inode: words[9]! }];
  });
}

/** 32-bit words in host order, little-endian on both supported machines. */
function addressOfHex(hex: string): IpAddress {
  const bytes = new Uint8Array(hex.length / 2);
  for (let index = 0; index < bytes.length; index++) {
    const at = (index & ~3) + (3 - (index & 3));
    bytes[index] = Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16);
  }
  return { version: bytes.length === 4 ? 4 : 6, bytes };
}

/** True when a socket keeps another one from binding `address` and the same port. */
export function isInTheWay(socket: BoundSocket, address: IpAddress): boolean {
  if (isUnspecified(socket.address) || isUnspecified(address)) {
    // "::" takes IPv4 as well unless IPV6_V6ONLY is set, which the table does not tell.
    return socket.address.version === address.version || isUnspecified(socket.address);
  }
  return sameAddress(socket.address, address);
}

/** A process, as far as it may be seen. */
export interface Holder {
  readonly pid: number;
  readonly name: string;
  /** systemd unit of /proc/PID/cgroup, such as "named.service". */
  readonly unit: string | undefined;
}

/** A port that a part of the system binds. */
export interface PortFacts {
  readonly check: "tunnel-port" | "dns-port";
  /** "UDP 1045". */
  readonly what: string;
  readonly isBound: boolean;
  /** The process that holds it; undefined when it cannot be seen, or nobody does. */
  readonly holder: Holder | undefined;
  /** Process ids of our part. */
  readonly owners: readonly number[];
  /** Our part runs. */
  readonly isPartRunning: boolean;
  /** Makes our part leave the taken address alone; undefined when it needs that very one. */
  readonly avoid: string | undefined;
  readonly restart: string;
}

/** The port is ours, or free. */
export function judgePort(facts: PortFacts): Finding {
  const { check, what, isBound, holder, owners, isPartRunning, restart } = facts;
  const judge = judgeOf(check, what);
  if (!isBound) {
    if (!isPartRunning) return judge.pass("is free");
    return judge.fail("nobody listens there though the system runs", restart);
  }
  if (holder === undefined) {
    if (isPartRunning) return judge.pass("is bound; only root sees by whom");
    return judge.skip("is taken; run the doctor as root to see by whom");
  }
  const { pid, name, unit } = holder;
  if (owners.includes(pid)) return judge.pass(`is ours (process ${pid})`);
  const stop = unit === undefined ? `kill ${pid}` : `systemctl disable --now ${shellWord(unit)}`;
  const who = `${name} (process ${pid}${unit === undefined ? "" : `, ${unit}`})`;
  if (facts.avoid === undefined) return judge.fail(`is taken by ${who}`, stop);
  return judge.fail(
    `is taken by ${who} at a loopback address`,
    { command: facts.avoid, note: "answers the local network only" },
    { command: stop, note: "or" },
  );
}

/** The systemd service in the text of /proc/PID/cgroup. */
export function serviceOf(cgroup: string): string | undefined {
  return /\/([\w@:.\\-]+\.service)(?:\/|$)/m.exec(cgroup)?.[1];
}
