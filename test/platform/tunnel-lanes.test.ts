import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatIp, type IpAddress, parseIp } from "../../src/base/ip.js";
import { SystemCallError } from "../../src/platform/system-error.js";
import { openLaneSockets } from "../../src/platform/tunnel-lanes.js";
import {
  openUdpSocket,
  receiveFrom,
  sendTo,
  type UdpSocket,
} from "../../src/platform/udp-socket.js";

const LANES = 4;
const FLOWS = 64;
const ROUNDS = 5;

/** A tunnel packet of format G without fragment information (spec/tunnel.md 2.1). */
function tunnelPacket(
  version: 4 | 6,
  flow: { references: 0 | 1 | 2; source: number; destination: number; ports: number },
  more: { protocol?: number; length?: number; serial?: number } = {},
): Uint8Array {
  const contexts = version === 4 ? 8 : 32;
  const reference = 4 << flow.references;
  const layer4 = 4 + contexts + 2 * reference;
  const packet = new Uint8Array(layer4 + (more.length ?? 20));
  const view = new DataView(packet.buffer);
  packet.set([0x10 | (flow.references << 2), version << 4, 64, more.protocol ?? 17]);
  view.setUint32(4 + contexts + reference - 4, flow.source);
  view.setUint32(layer4 - 4, flow.destination);
  view.setUint32(layer4, flow.ports);
  view.setUint32(layer4 + 8, more.serial ?? 0);
  return packet;
}

/** Which sockets a packet came out of; all queues are empty afterwards. */
function receivers(sockets: readonly UdpSocket[]): number[] {
  return sockets.flatMap((socket, index) => {
    const found: number[] = [];
    while (receiveFrom(socket.fd) !== undefined) found.push(index);
    return found;
  });
}

function open(address: IpAddress, joinsDatagrams: boolean) {
  return openLaneSockets({ address, port: 0, joinsDatagrams }, LANES);
}

for (const text of ["127.0.0.1", "::1"]) {
  const address = parseIp(text)!;
  const { version } = address;
  describe(`openLaneSockets() on ${text}`, () => {
    test("spreads inner flows of one remote gateway and keeps each in one socket", () => {
      const sockets = open(address, false);
      const sender = openUdpSocket({ address, port: 0 });
      try {
        const used = new Set<number>();
        for (let flow = 0; flow < FLOWS; flow++) {
          const references = (flow % 3) as 0 | 1 | 2;
          const ends = {
            references,
            source: 1025,
            destination: 2000,
            ports: 40_000 * 65_536 + flow,
          };
          const home = new Set<number>();
          for (let serial = 0; serial < ROUNDS; serial++) {
            const packet = tunnelPacket(version, ends, { serial, length: 20 + 100 * serial });
            assert.ok(sendTo(sender.fd, packet, address, sockets[0].port).ok);
            const got = receivers(sockets);
            assert.equal(got.length, 1, `flow ${flow}: the packet came ${got.length} times`);
            home.add(got[0]!);
          }
          assert.equal(home.size, 1, `flow ${flow} came out of sockets ${[...home]}`);
          used.add([...home][0]!);
        }
        assert.equal(used.size, LANES, `only sockets ${[...used]} were used`);
      } finally {
        for (const socket of [...sockets, sender]) socket.close();
      }
    });

    test("spreads hosts by their references, and echo without looking at its data", () => {
      const sockets = open(address, false);
      const sender = openUdpSocket({ address, port: 0 });
      try {
        const used = new Set<number>();
        for (let host = 0; host < FLOWS; host++) {
          const home = new Set<number>();
          for (let serial = 0; serial < ROUNDS; serial++) {
            const ends = { references: 2 as const, source: host, destination: 7, ports: serial };
            const packet = tunnelPacket(version, ends, { protocol: 1 });
            assert.ok(sendTo(sender.fd, packet, address, sockets[0].port).ok);
            home.add(receivers(sockets)[0]!);
          }
          assert.equal(home.size, 1);
          used.add([...home][0]!);
        }
        assert.ok(used.size > 1, `only sockets ${[...used]} were used`);
      } finally {
        for (const socket of [...sockets, sender]) socket.close();
      }
    });

    test("gives what is too short or of another format to some socket", () => {
      const sockets = open(address, false);
      const sender = openUdpSocket({ address, port: 0 });
      try {
        const ends = { references: 2 as const, source: 1, destination: 2, ports: 3 };
        const whole = tunnelPacket(version, ends);
        for (let length = 0; length <= whole.length; length++) {
          sendTo(sender.fd, whole.subarray(0, length), address, sockets[0].port);
          assert.equal(receivers(sockets).length, 1, `${length} octets`);
        }
        sendTo(sender.fd, Uint8Array.of(0, 0, 64, 17, 0, 0, 0, 1), address, sockets[0].port);
        assert.deepEqual(receivers(sockets), [0]);
      } finally {
        for (const socket of [...sockets, sender]) socket.close();
      }
    });

    test("keeps a remote gateway in one socket when the kernel joins datagrams", () => {
      const sockets = open(address, true);
      const sender = openUdpSocket({ address, port: 0 });
      try {
        assert.ok(sockets[0].joinsDatagrams, "UDP_GRO is refused here");
        const home = new Set<number>();
        for (let flow = 0; flow < FLOWS; flow++) {
          const ends = { references: 0 as const, source: flow, destination: 9, ports: flow };
          sendTo(sender.fd, tunnelPacket(version, ends), address, sockets[0].port);
          for (const index of receivers(sockets)) home.add(index);
        }
        assert.equal(home.size, 1);
      } finally {
        for (const socket of [...sockets, sender]) socket.close();
      }
    });

    test("refuses a port that another program's lanes share, and names the address", () => {
      const sockets = open(address, true);
      try {
        const again = () => openLaneSockets({ address, port: sockets[0].port }, LANES);
        assert.throws(again, (error: unknown) => {
          assert.ok(error instanceof SystemCallError);
          assert.equal(error.code, "EADDRINUSE");
          assert.ok(error.message.includes(formatIp(address)), error.message);
          return true;
        });
      } finally {
        for (const socket of sockets) socket.close();
      }
    });
  });
}
