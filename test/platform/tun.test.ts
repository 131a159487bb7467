import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseIp } from "../../src/base/ip.js";
import * as libc from "../../src/platform/libc.js";
import { allocateMemory } from "../../src/platform/memory.js";
import { interfaceMtu, isOwnAddress, readMtu } from "../../src/platform/network-interfaces.js";
import { SystemCallError } from "../../src/platform/system-error.js";
import { IFF_MULTI_QUEUE, openTun, openTunQueue } from "../../src/platform/tun.js";
import { enterPrivateNetwork, run, SKIP_WITHOUT_ROOT } from "./private-network.js";

const OPTIONS_4 = { address: parseIp("10.240.0.1")!, prefixBits: 12, mtuBytes: 1400 };
const OPTIONS_6 = { address: parseIp("fd00:240::1")!, prefixBits: 64, mtuBytes: 1300 };

function setting(path: string): string {
  return readFileSync(`/proc/sys/net/${path}`, "utf8").trim();
}

/** Packets that the kernel has put on the device so far. */
function readPackets(fd: number): Uint8Array[] {
  const memory = allocateMemory(65_536);
  const packets: Uint8Array[] = [];
  for (;;) {
    const got = libc.read(fd, memory.address, 65_536);
    if (got <= 0) return packets;
    packets.push(memory.bytes.slice(0, got));
  }
}

/** An MLDv2 report to ff02::16 behind a router-alert option (RFC 3810 5.2). */
function isListenerReport(packet: Buffer): boolean {
  return (
    packet.subarray(24, 40).toString("hex") === `ff02${"0".repeat(26)}16` && packet[48] === 143
  );
}

describe("TUN device", { skip: SKIP_WITHOUT_ROOT }, () => {
  before(() => enterPrivateNetwork());

  test("openTun() configures address, MTU, queue and prefix route of an IPv4 device", () => {
    const tun = openTun(OPTIONS_4);
    try {
      assert.equal(tun.name, "ipref0");
      assert.match(run("ip", "addr", "show", tun.name), /inet 10\.240\.0\.1\/12/);
      assert.match(run("ip", "link", "show", tun.name), /UP.*mtu 1400.*qlen 1000/);
      assert.match(run("ip", "route"), /10\.240\.0\.0\/12 dev ipref0/);
      assert.equal(setting("ipv4/conf/ipref0/accept_local"), "1");
      assert.equal(setting("ipv4/conf/ipref0/rp_filter"), "0");
      assert.equal(setting("ipv6/conf/ipref0/disable_ipv6"), "1");
      assert.equal(readMtu(tun.name), 1400);
      assert.equal(interfaceMtu(parseIp("10.241.2.3")!), 1400);
      assert.ok(isOwnAddress(parseIp("10.240.0.1")!));
    } finally {
      tun.close();
    }
    assert.equal(readMtu("ipref0"), undefined);
  });

  test("openTun() makes an IPv6 address usable at once", () => {
    const tun = openTun(OPTIONS_6);
    try {
      const addresses = run("ip", "-6", "addr", "show", tun.name);
      assert.match(addresses, /inet6 fd00:240::1\/64/);
      assert.doesNotMatch(addresses, /tentative|fe80/);
      assert.match(run("ip", "-6", "route"), /fd00:240::\/64 dev ipref0/);
      assert.equal(readMtu(tun.name), 1300);
    } finally {
      tun.close();
    }
  });

  for (const options of [OPTIONS_4, OPTIONS_6]) {
    const { version } = options.address;
    test(`an idle IPv${version} device carries at most multicast listener reports`, async () => {
      writeFileSync("/proc/sys/net/ipv6/conf/all/forwarding", "1");
      const tun = openTun(options);
      try {
        await sleep(1500);
        const packets = readPackets(tun.fd).map((packet) => Buffer.from(packet));
        const others = packets.filter((packet) => !isListenerReport(packet));
        assert.deepEqual(others, []);
        if (version === 4) assert.deepEqual(packets, []);
      } finally {
        tun.close();
        writeFileSync("/proc/sys/net/ipv6/conf/all/forwarding", "0");
      }
    });
  }

  test("openTun() warns of switched-off forwarding without changing it", () => {
    writeFileSync("/proc/sys/net/ipv4/ip_forward", "0");
    writeFileSync("/proc/sys/net/ipv4/conf/all/rp_filter", "1");
    const tun = openTun(OPTIONS_4);
    tun.close();
    assert.equal(tun.warnings.length, 2);
    assert.match(tun.warnings[0]!, /net\.ipv4\.ip_forward=1/);
    assert.match(tun.warnings[1]!, /rp_filter=0/);
    assert.equal(setting("ipv4/ip_forward"), "0");
    writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
    writeFileSync("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
    const quiet = openTun(OPTIONS_4);
    quiet.close();
    assert.deepEqual(quiet.warnings, []);
  });

  test("openTun() refuses a name that is in use and leaves no descriptor", () => {
    const tun = openTun({ ...OPTIONS_4, name: "taken0" });
    try {
      const second = () => openTun({ ...OPTIONS_4, name: "taken0" });
      assert.throws(second, (error: SystemCallError) => {
        assert.ok(error instanceof SystemCallError);
        assert.equal(error.code, "EBUSY");
        assert.match(error.message, /taken0.*choose another name/);
        return true;
      });
    } finally {
      tun.close();
    }
  });

  test("openTunQueue() opens further queues of a multi-queue device", () => {
    const tun = openTun({ ...OPTIONS_4, flags: IFF_MULTI_QUEUE });
    const queue = openTunQueue(tun.name, IFF_MULTI_QUEUE);
    assert.equal(queue.name, tun.name);
    libc.close(queue.fd);
    tun.close();
  });
});
