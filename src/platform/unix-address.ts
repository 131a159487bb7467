/**
 * UNIX-domain sockets: struct sockaddr_un and the credentials of a peer, unix(7).
 */

import { readFileSync } from "node:fs";
import * as libc from "./libc.js";
import { allocateMemory, cStringInto } from "./memory.js";
import { lastRefusal, refused } from "./system-error.js";

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59; // Linux 4.13
const GROUPS_MAX = 1024;
const PATH_BYTES_MAX = 107; // sun_path has 108 bytes, the last one zero
const SUN_PATH = 2;

/** Who is at the other end of a connection, as of the moment it was made. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

const scratch = allocateMemory(128);
const groupsScratch = allocateMemory(4 + 4 * GROUPS_MAX);

/** A new nonblocking SOCK_SEQPACKET socket. */
export function newSeqpacketSocket(): number {
  const fd = libc.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw lastRefusal("open a UNIX socket", "socket");
  return fd;
}

/** Calls bind or connect with the path; 0 or -1. */
export function callWithPath(call: typeof libc.connect, fd: number, path: string): number {
  if (new TextEncoder().encode(path).length > PATH_BYTES_MAX) {
    throw refused(
      `use the socket path ${path}`,
      "sockaddr_un",
      "ENAMETOOLONG",
      `choose one of at most ${PATH_BYTES_MAX} bytes`,
    );
  }
  scratch.bytes.fill(0);
  scratch.view.setUint16(0, AF_UNIX, true);
  const end = cStringInto(scratch, SUN_PATH, path);
  return call(fd, scratch.address, end);
}

/** Credentials of the peer (SO_PEERCRED: struct ucred, pid 4, uid 4, gid 4). */
export function peerCredentials(fd: number): PeerCredentials {
  const { view, address } = scratch;
  view.setUint32(16, 12, true);
  if (libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, address, address + 16) < 0) {
    return { pid: 0, uid: -1, gid: -1 };
  }
  return {
    pid: view.getInt32(0, true),
    uid: view.getUint32(4, true),
    gid: view.getUint32(8, true),
  };
}

/** Supplementary groups of the peer (SO_PEERGROUPS: an array of gid_t). */
export function peerGroups(fd: number): readonly number[] {
  const { view, address } = groupsScratch;
  view.setUint32(0, 4 * GROUPS_MAX, true);
  if (libc.getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, address + 4, address) < 0) return [];
  const count = view.getUint32(0, true) / 4;
  return Array.from({ length: count }, (_, index) => view.getUint32(4 + 4 * index, true));
}

/** Name of a group id (group(5)); the number itself when it has no name. */
export function groupName(gid: number): string {
  const lines = readFileSync("/etc/group", "utf8").split("\n");
  const fields = lines.map((line) => line.split(":")).find((each) => each[2] === String(gid));
  return fields?.[0] ?? String(gid);
}

/** Group id by name (group(5)) or number; undefined when there is none of that name. */
export function groupId(nameOrId: string): number | undefined {
  if (/^[0-9]+$/.test(nameOrId)) return Number(nameOrId);
  const lines = readFileSync("/etc/group", "utf8").split("\n");
  const fields = lines.map((line) => line.split(":")).find(([name]) => name === nameOrId);
  return fields === undefined ? undefined : Number(fields[2]);
}
