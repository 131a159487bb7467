/**
 * Opens the UDP sockets of the DNS server and says who holds a port that is taken. socket(7),
 * ip(7), ipv6(7), udp(7).
 */

import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { formatIp, type IpAddress, isUnspecified } from "../base/ip.js";
import * as libc from "./libc.js";
import { allocateMemory } from "./memory.js";
import {
  AF_INET,
  AF_INET6,
  decodeSockaddr,
  encodeSockaddrInto,
  SOCKADDR_IN6_LENGTH,
} from "./sockaddr.js";
import { lastRefusal, processName, refused, type SystemCallError } from "./system-error.js";
import {
  IP_MTU_DISCOVER,
  IPV6_MTU_DISCOVER,
  IPV6_V6ONLY,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  setOption,
} from "./udp-socket.js";

// linux/in.h, linux/in6.h
const IP_PKTINFO_OPTION = 8;
const IPV6_RECVPKTINFO = 49;
/** The interface's MTU counts, forged path MTU messages do not (IP_PMTUDISC_OMIT, Linux 3.15). */
const PMTUDISC_OMIT = 5;

/** spec/resolver.md 2.5. */
const RECEIVE_BUFFER_BYTES = 4 << 20;

/** struct sockaddr_in6: scope identifier behind the address. */
const SOCKADDR_IN6_SCOPE = 24;

/** An open socket. */
export interface DnsUdpSocket {
  readonly fd: number;
  readonly address: IpAddress;
  readonly port: number;
  close(): void;
}

const scratch = allocateMemory(64);
const SCRATCH_LENGTH = 32;

/** Opens a socket at an address; `scope` is the interface of a link-local one. May throw. */
export function openDnsSocket(address: IpAddress, port: number, scope = 0): DnsUdpSocket {
  const family = address.version === 4 ? AF_INET : AF_INET6;
  const fd = libc.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw lastRefusal(`open an IPv${address.version} UDP socket`, "socket");
  try {
    setOptions(fd, address);
    bindTo(fd, address, port, scope);
    return { fd, address, port: boundPort(fd), close: () => void libc.close(fd) };
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

function setOptions(fd: number, address: IpAddress): void {
  if (!setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)) {
    setOption(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_BYTES);
  }
  if (address.version === 4) {
    setOption(fd, SOL_IP, IP_MTU_DISCOVER, PMTUDISC_OMIT);
    if (isUnspecified(address)) needOption(fd, SOL_IP, IP_PKTINFO_OPTION, "IP_PKTINFO");
    return;
  }
  needOption(fd, SOL_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY");
  setOption(fd, SOL_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_OMIT);
  if (isUnspecified(address)) needOption(fd, SOL_IPV6, IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO");
}

function needOption(fd: number, level: number, name: number, what: string): void {
  if (!setOption(fd, level, name, 1)) throw lastRefusal(`set ${what} on a socket`, "setsockopt");
}

function bindTo(fd: number, address: IpAddress, port: number, scope: number): void {
  const length = encodeSockaddrInto(scratch.view, 0, address, port);
  if (address.version === 6) scratch.view.setUint32(SOCKADDR_IN6_SCOPE, scope, true);
  if (libc.bindSocket(fd, scratch.address, length) < 0) {
    throw listenRefusal(libc.lastErrorName(), "udp", address, port);
  }
}

function boundPort(fd: number): number {
  scratch.view.setUint32(SCRATCH_LENGTH, SOCKADDR_IN6_LENGTH, true);
  if (libc.getsockname(fd, scratch.address, scratch.address + SCRATCH_LENGTH) < 0) {
    throw lastRefusal("read the port of a socket", "getsockname");
  }
  return decodeSockaddr(scratch.view, 0)?.port ?? 0;
}

/** The error for an address that cannot be listened on. `code` is the name of the errno. */
export function listenRefusal(
  code: string,
  transport: "udp" | "tcp",
  address: IpAddress,
  port: number,
): SystemCallError {
  const host = address.version === 6 ? `[${formatIp(address)}]` : formatIp(address);
  const action = `listen on ${transport}://${host}:${port}`;
  if (code === "EADDRINUSE") return refused(action, "bind", code, inUseAdvice(transport, port));
  if (code === "EACCES") {
    const advice = "run as root, give CAP_NET_BIND_SERVICE, or use a port above 1023";
    return refused(action, "bind", code, advice);
  }
  return refused(action, "bind", code);
}

/** Who holds the port, as far as /proc tells, and the ways out. */
function inUseAdvice(transport: "udp" | "tcp", port: number): string {
  const holder = portHolder(transport, port);
  const flag = transport === "udp" ? "u" : "t";
  const who =
    holder === undefined
      ? `\`ss -${flag}lpn sport = ${port}\` shows its holder`
      : `pid ${holder.pid} (${holder.name}) holds it`;
  const isStub = holder?.name.startsWith("systemd-resolve") ?? false;
  const stop = isStub
    ? "set DNSStubListener=no in /etc/systemd/resolved.conf and restart systemd-resolved"
    : "stop that program";
  return `${who}; ${stop}, or let this server use another address ('bind' in the Corefile) or port`;
}

interface Holder {
  readonly pid: string;
  readonly name: string;
}

/** The process that holds a port, looked up in /proc/net and among open files (proc(5)). */
function portHolder(transport: "udp" | "tcp", port: number): Holder | undefined {
  const inodes = new Set(
    [transport, `${transport}6`].flatMap((table) => inodesOf(`/proc/net/${table}`, port)),
  );
  if (inodes.size === 0) return undefined;
  const pid = readdirSync("/proc").find((name) => /^[0-9]+$/.test(name) && holds(name, inodes));
  return pid === undefined ? undefined : { pid, name: processName(pid) };
}

/** TCP_LISTEN of net/tcp_states.h as /proc/net/tcp prints it; UDP sockets show 07. */
const STATES = new Set(["0A", "07"]);

function inodesOf(table: string, port: number): string[] {
  if (!existsSync(table)) return [];
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = readFileSync(table, "utf8").split("\n").slice(1);
  const fields = rows.map((row) => row.trim().split(/\s+/));
  const found = fields.filter((row) => row[1]?.endsWith(wanted) && STATES.has(row[3] ?? ""));
  return found.map((row) => `socket:[${row[9]}]`);
}

function holds(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return inodes.has(readlinkSync(`/proc/${pid}/fd/${fd}`));
      } catch {
        return false; // closed meanwhile
      }
    });
  } catch {
    return false; // the process has ended, or belongs to somebody else
  }
}
