/** Judges of the machine: privileges, TUN driver, versions, clock, disk, sockets, ports. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp } from "../../../src/base/ip.js";
import type { Finding } from "../../../src/control/doctor/finding.js";
import {
  type ClockFacts,
  type DiskFacts,
  judgeClock,
  judgeDisk,
  judgePrivileges,
  judgeSocket,
  judgeTunDevice,
  judgeVersions,
  type SocketFacts,
} from "../../../src/control/doctor/machine.js";
import {
  boundSockets,
  isInTheWay,
  judgePort,
  type PortFacts,
  serviceOf,
} from "../../../src/control/doctor/sockets-table.js";

const ALL = (1n << 41n) - 1n;
const without = (bit: number) => ALL & ~(1n << BigInt(bit));

/** "VERDICT evidence | fix | fix". */
function line({ verdict, evidence, fixes }: Finding): string {
  return [`${verdict} ${evidence}`, ...fixes.map(({ command }) => command)].join(" | ");
}

test("judgePrivileges() wants the right to bind ports only where ports are privileged", () => {
  const facts = {
    who: "this user",
    isRunning: false,
    effective: without(10),
    lowestPort: 53,
    unprivilegedPortStart: 1024,
    command: "ipref",
  };
  assert.match(
    line(judgePrivileges(facts)),
    /^FAIL lacks CAP_NET_BIND_SERVICE.*\| sudo ipref doctor$/,
  );
  assert.equal(judgePrivileges({ ...facts, lowestPort: 1045 }).verdict, "PASS");
  assert.equal(judgePrivileges({ ...facts, unprivilegedPortStart: 0 }).verdict, "PASS");
  assert.equal(judgePrivileges({ ...facts, isRunning: true }).verdict, "PASS");
  assert.match(
    line(judgePrivileges({ ...facts, effective: 0n })),
    /^FAIL lacks CAP_NET_ADMIN, CAP_NET_B/,
  );
  assert.equal(judgePrivileges({ ...facts, effective: ALL }).verdict, "PASS");
});

test("judgeTunDevice() tells a missing device from one that may not be opened", () => {
  const right = {
    path: "/dev/net/tun",
    kind: "character device",
    numbers: "10:200",
    error: undefined,
    isRoot: true,
  } as const;
  assert.equal(judgeTunDevice(right).verdict, "PASS");
  assert.match(
    line(judgeTunDevice({ ...right, kind: undefined })),
    /^FAIL does not exist \| modprobe/,
  );
  assert.match(
    line(judgeTunDevice({ ...right, error: "EPERM" })),
    /EPERM \| chmod 0666 \/dev\/net\/tun$/,
  );
  assert.equal(judgeTunDevice({ ...right, error: "EACCES", isRoot: false }).verdict, "SKIP");
  assert.match(line(judgeTunDevice({ ...right, error: "ENODEV" })), /ENODEV \| modprobe tun$/);
});

test("judgeVersions() compares Node.js, kernel and running parts", () => {
  const facts = {
    node: "20.20.2",
    kernel: "6.1.0-18-amd64",
    own: "1.2.0",
    running: [],
    restart: "again",
  };
  assert.deepEqual(
    judgeVersions(facts).map(({ verdict }) => verdict),
    ["PASS", "PASS"],
  );
  const verdicts = (node: string, kernel: string) =>
    judgeVersions({ ...facts, node, kernel }).map(({ verdict }) => verdict);
  assert.deepEqual(verdicts("18.19.0", "6.2.0"), ["FAIL", "PASS"]);
  assert.deepEqual(verdicts("20.18.9", "4.19.0-26"), ["FAIL", "FAIL"]);
  assert.deepEqual(verdicts("22.0.0", "nonsense"), ["PASS", "FAIL"]);
  const running = [
    { part: "gateway", version: "1.1.0" },
    { part: "resolver", version: "1.2.0" },
  ];
  assert.deepEqual(
    judgeVersions({ ...facts, running })
      .slice(2)
      .map(line),
    ["WARN runs version 1.1.0, installed is 1.2.0 | again", "PASS version 1.2.0"],
  );
});

test("judgeClock() refuses a time before the build and one that nobody keeps", () => {
  const nowMs = Date.UTC(2026, 10, 21);
  const facts: ClockFacts = { nowMs, builtMs: nowMs, isSynchronized: true, hasTimesyncd: true };
  assert.match(line(judgeClock(facts)), /^PASS 2026-11-21 00:00 UTC, synchronised$/);
  const old = judgeClock({ ...facts, nowMs: 0 });
  assert.match(line(old), /^FAIL 1970-01-01 00:00 is before .* \| timedatectl set-ntp true$/);
  assert.equal(judgeClock({ ...facts, nowMs: Date.UTC(2400, 0) }).verdict, "FAIL");
  assert.equal(judgeClock({ ...facts, isSynchronized: undefined }).verdict, "SKIP");
  const lonely = judgeClock({ ...facts, isSynchronized: false, hasTimesyncd: false });
  assert.match(
    line(lonely),
    /^WARN .* \| apt-get update && apt-get install -y systemd-timesyncd && /,
  );
});

test("judgeDisk() counts room, inodes and the right to write", () => {
  const facts: DiskFacts = {
    folder: "/var/lib/ipref",
    mountPoint: "/var",
    freeBytes: 1e9,
    totalBytes: 4e9,
    freeInodes: 1e5,
    isReadOnly: false,
    writeError: undefined,
    disposable: ["/var/log/journal"],
  };
  assert.equal(judgeDisk(facts).verdict, "PASS");
  const full = judgeDisk({ ...facts, freeBytes: 1e6 });
  assert.match(line(full), /^FAIL 0 MB of 3814 MB free.* \| journalctl --vacuum-size=50M$/);
  const tight = judgeDisk({ ...facts, freeBytes: 1e8, disposable: [] });
  assert.match(line(tight), /^WARN 95 MB of 3814 MB free \| du -xh --max-depth=3 \/var \| sort/);
  assert.match(line(judgeDisk({ ...facts, freeInodes: 3 })), /^FAIL 3 inodes are left/);
  assert.match(
    line(judgeDisk({ ...facts, isReadOnly: true })),
    /read-only \| mount -o remount,rw \/var$/,
  );
  assert.match(
    line(judgeDisk({ ...facts, writeError: "EACCES" })),
    /EACCES \| mkdir -p \/var\/lib\/ipref/,
  );
});

test("judgeSocket() tells left-overs, lost sockets and open doors apart", () => {
  const facts: SocketFacts = {
    path: "/run/my ipref/mapper.sock",
    what: "mapper socket",
    isThere: true,
    isVisible: true,
    isListening: true,
    mode: 0o660,
    isOwnerRunning: true,
    restart: "again",
  };
  assert.equal(line(judgeSocket(facts)), "PASS mode 0660, closed to other users");
  assert.match(
    line(judgeSocket({ ...facts, mode: 0o662 })),
    /^FAIL every user .*chmod 0660 '\/run\/my ipref/,
  );
  assert.match(line(judgeSocket({ ...facts, mode: 0o400 })), /^FAIL .* mode 0400 \| chmod 0660/);
  assert.match(
    line(judgeSocket({ ...facts, isListening: false })),
    /^FAIL .* is dead .* \| again$/,
  );
  assert.match(line(judgeSocket({ ...facts, isThere: false })), /^FAIL .* is gone .* \| again$/);
  const stopped = { ...facts, isOwnerRunning: false };
  assert.match(
    line(judgeSocket(stopped)),
    /^WARN .* left-over .* \| rm '\/run\/my ipref\/mapper\.sock'$/,
  );
  assert.equal(judgeSocket({ ...stopped, isThere: false }).verdict, "SKIP");
  assert.equal(judgeSocket({ ...facts, isVisible: false }).verdict, "SKIP");
});

const ANY_6 = "0".repeat(32);
const DOC_6 = "B80D012000000000000000000100000";
const UDP_TABLE = `  sl  local_address rem_address st tx_queue tr tm->when uid inode
  101: 00000000:0415 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 4711 2 0 0
  102: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 101 0 4712 2 0 0
  bad line
`;
const TCP6_TABLE = `  sl  local_address remote_address st tx rx
   0: ${DOC_6}0:0035 ${ANY_6}:0000 0A 0:0 00:0 0 0 0 99 1
   1: ${DOC_6}0:0035 ${DOC_6}2:1234 01 0:0 00:0 0 0 0 98 1
`;

test("boundSockets() reads addresses in host order, and of TCP the listening ones", () => {
  const udp = boundSockets(UDP_TABLE, "udp").map(({ address, port, inode }) => [
    address.bytes.join("."),
    port,
    inode,
  ]);
  assert.deepEqual(udp, [
    ["0.0.0.0", 1045, "4711"],
    ["127.0.0.53", 53, "4712"],
  ]);
  const tcp = boundSockets(TCP6_TABLE, "tcp");
  assert.equal(tcp.length, 1);
  assert.deepEqual(tcp[0]!.address.bytes, parseIp("2001:db8::1")!.bytes);
});

test("isInTheWay() counts any address as all of them", () => {
  const [any, stub] = boundSockets(UDP_TABLE, "udp");
  assert.equal(isInTheWay(any!, parseIp("10.1.0.2")!), true);
  assert.equal(isInTheWay(stub!, parseIp("10.1.0.2")!), false);
  assert.equal(isInTheWay(stub!, parseIp("0.0.0.0")!), true);
  assert.equal(isInTheWay(stub!, parseIp("::")!), false);
});

test("judgePort() names the holder and ends it by its service where it has one", () => {
  const facts: PortFacts = {
    check: "tunnel-port",
    what: "UDP 1045",
    isBound: true,
    holder: { pid: 7, name: "other", unit: "other.service" },
    owners: [],
    isPartRunning: false,
    avoid: undefined,
    restart: "again",
  };
  assert.match(
    line(judgePort(facts)),
    /^FAIL is taken by other \(process 7, other\.service\) \| systemctl disable --now other\.service$/,
  );
  assert.equal(judgePort({ ...facts, owners: [7] }).verdict, "PASS");
  assert.equal(judgePort({ ...facts, holder: undefined }).verdict, "SKIP");
  assert.equal(judgePort({ ...facts, isBound: false }).verdict, "PASS");
  const lost = judgePort({ ...facts, isBound: false, isPartRunning: true });
  assert.equal(line(lost), "FAIL nobody listens there though the system runs | again");
});

test("serviceOf() finds the service of a process", () => {
  assert.equal(serviceOf("0::/system.slice/named.service\n"), "named.service");
  assert.equal(
    serviceOf("0::/system.slice/system-getty.slice/getty@tty1.service\n"),
    "getty@tty1.service",
  );
  assert.equal(serviceOf("0::/user.slice/user-0.slice/session-1.scope\n"), undefined);
});
