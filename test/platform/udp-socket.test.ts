import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatIp, parseIp } from "../../src/base/ip.js";
import { decodeSockaddr, encodeSockaddrInto } from "../../src/platform/sockaddr.js";
import { SystemCallError } from "../../src/platform/system-error.js";
import { openTun } from "../../src/platform/tun.js";
import { readErrorQueue } from "../../src/platform/udp-errors.js";
import { openUdpSocket, queryPathMtu, receiveFrom, sendTo } from "../../src/platform/udp-socket.js";
import { enterPrivateNetwork, run, SKIP_WITHOUT_ROOT } from "./private-network.js";

test("encodeSockaddrInto() and decodeSockaddr() are inverse and fill every byte", () => {
  for (const [text, lengthBytes] of [
    ["192.0.2.7", 16],
    ["2001:db8::7", 28],
  ] as const) {
    const bytes = new Uint8Array(40).fill(0xa5);
    const view = new DataView(bytes.buffer);
    const end = encodeSockaddrInto(view, 4, parseIp(text)!, 1045);
    assert.equal(end, 4 + lengthBytes);
    assert.ok(!bytes.subarray(4, end).includes(0xa5));
    const decoded = decodeSockaddr(view, 4)!;
    assert.equal(formatIp(decoded.address), text);
    assert.equal(decoded.port, 1045);
  }
  assert.equal(decodeSockaddr(new DataView(new ArrayBuffer(28)), 0), undefined);
});

for (const loopback of ["127.0.0.1", "::1"]) {
  const address = parseIp(loopback)!;

  test(`${loopback}: datagrams of every size arrive with their source`, () => {
    const a = openUdpSocket({ address, port: 0 });
    const b = openUdpSocket({ address, port: 0 });
    try {
      for (const size of [0, 1, 1400, 65_000]) {
        assert.deepEqual(sendTo(a.fd, new Uint8Array(size).fill(7), address, b.port), { ok: true });
        const got = receiveFrom(b.fd)!;
        assert.equal(got.payload.length, size);
        assert.ok(got.payload.every((byte) => byte === 7));
        assert.equal(formatIp(got.source), loopback);
        assert.equal(got.port, a.port);
      }
      assert.equal(receiveFrom(b.fd), undefined);
    } finally {
      a.close();
      b.close();
    }
  });

  test(`${loopback}: a closed port is reported by the error queue, and sending goes on`, async () => {
    const a = openUdpSocket({ address, port: 0 });
    const b = openUdpSocket({ address, port: 0 });
    const closedPort = b.port;
    b.close();
    try {
      sendTo(a.fd, new Uint8Array(10), address, closedPort);
      await sleep(20);
      const errors = readErrorQueue(a.fd);
      assert.equal(errors.length, 1);
      assert.equal(errors[0]!.kind, "refused");
      assert.equal(errors[0]!.port, closedPort);
      assert.equal(formatIp(errors[0]!.destination), loopback);
      assert.equal(errors[0]!.origin, address.version === 4 ? "icmp" : "icmp6");
      assert.deepEqual(sendTo(a.fd, new Uint8Array(10), address, closedPort), { ok: true });
      assert.equal(receiveFrom(a.fd), undefined);
    } finally {
      a.close();
    }
  });

  test(`${loopback}: a port in use is refused with its holder's name`, () => {
    const first = openUdpSocket({ address, port: 0 });
    try {
      assert.throws(
        () => openUdpSocket({ address, port: first.port }),
        (error: SystemCallError) => {
          assert.ok(error instanceof SystemCallError);
          assert.equal(error.code, "EADDRINUSE");
          assert.match(error.message, new RegExp(`port ${first.port}.*pid ${process.pid} `));
          assert.equal(error.exitCode, 69);
          return true;
        },
      );
    } finally {
      first.close();
    }
  });

  test(`${loopback}: several sockets share a port when asked to`, () => {
    const first = openUdpSocket({ address, port: 0, reusePort: true });
    const second = openUdpSocket({ address, port: first.port, reusePort: true });
    assert.equal(second.port, first.port);
    first.close();
    second.close();
  });
}

test("openUdpSocket() names an address that this machine does not have", () => {
  const open = () => openUdpSocket({ address: parseIp("192.0.2.77")!, port: 0 });
  assert.throws(open, /192\.0\.2\.77.*does not have the address/);
});

test("sendTo() reports an unreachable destination by name", () => {
  const socket = openUdpSocket({ address: parseIp("127.0.0.1")!, port: 0 });
  const result = sendTo(socket.fd, new Uint8Array(4), parseIp("255.255.255.255")!, 9);
  assert.equal(result.ok, false);
  socket.close();
});

describe("path MTU", { skip: SKIP_WITHOUT_ROOT }, () => {
  before(() => {
    enterPrivateNetwork();
    openTun({ name: "path4", address: parseIp("192.0.2.1")!, prefixBits: 24, mtuBytes: 1500 });
    openTun({ name: "path6", address: parseIp("2001:db8::1")!, prefixBits: 64, mtuBytes: 1500 });
    run("ip", "route", "add", "198.51.100.0/24", "dev", "path4", "mtu", "1320");
    run("ip", "route", "add", "2001:db8:1::/64", "dev", "path6", "mtu", "1290");
  });

  test("queryPathMtu() answers with the route's MTU, or undefined without a route", () => {
    const any4 = parseIp("0.0.0.0")!;
    const any6 = parseIp("::")!;
    assert.equal(queryPathMtu(any4, parseIp("192.0.2.9")!, 1045), 1500);
    assert.equal(queryPathMtu(parseIp("192.0.2.1")!, parseIp("198.51.100.9")!, 1045), 1320);
    assert.equal(queryPathMtu(any6, parseIp("2001:db8:1::9")!, 1045), 1290);
    assert.equal(queryPathMtu(any4, parseIp("203.0.113.9")!, 1045), undefined);
  });

  test("a datagram larger than the interface is refused with the MTU in the error queue", () => {
    for (const [own, target] of [
      ["192.0.2.1", "192.0.2.9"],
      ["2001:db8::1", "2001:db8::9"],
    ]) {
      const socket = openUdpSocket({ address: parseIp(own!)!, port: 0 });
      const to = parseIp(target!)!;
      const result = sendTo(socket.fd, new Uint8Array(1600), to, 1045);
      assert.deepEqual(result, { ok: false, code: "EMSGSIZE" });
      const errors = readErrorQueue(socket.fd);
      assert.ok(errors.length > 0);
      assert.equal(errors[0]!.kind, "message-too-big");
      assert.equal(errors[0]!.mtuBytes, 1500);
      assert.equal(errors[0]!.origin, "local");
      assert.equal(formatIp(errors[0]!.destination), target);
      assert.equal(errors[0]!.port, to.version === 4 ? 0 : 1045);
      socket.close();
    }
  });
});
