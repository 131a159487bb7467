// Every mix of local version, tunnel version and remote local version, with real hosts, real
// routers and real programs: ping, TCP, UDP, closed ports, traceroute, fragments, path MTU.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { captureTunnel } from "../../src/programs/demo/capture.js";
import type { IpVersion } from "../../src/programs/demo/network.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import {
  answeredCount,
  assertPing,
  CLOSED_PORT,
  createLab,
  type Direction,
  type Lab,
  logs,
  ping,
  pingOverhead,
  REFERENCES,
  reportedMtu,
  TCP_PORT,
  traffic,
  UDP_PORT,
} from "../support/lab.js";

/** "3 MB over TCP", each way. */
const TRANSFER_BYTES = 3_000_000;

const ECHO_SIZES = [0, 1, 7, 64, 511, 1200, 1399, 1400, 2000, 4000, 8000];

/** Minimum MTU of IPv6, RFC 8200 section 5. */
const IPV6_MTU_MIN = 1280;

const why = await whyNoNamespaces(["ip", "nft", "ping", "traceroute", "tcpdump"]);
const skip = why === undefined ? false : why.reason;

async function checkTransfer({ from, target }: Direction, lab: Lab, bytes: number): Promise<void> {
  const result = await traffic(lab, from, ["tcp", target, String(TCP_PORT), String(bytes)]);
  assert.equal(result.ok, true, `TCP to ${target}: ${JSON.stringify(result)}${logs(lab)}`);
  assert.equal(result.bytes, bytes);
}

async function checkEcho({ from, target }: Direction, lab: Lab, sizes: number[]): Promise<void> {
  const result = await traffic(lab, from, ["udp", target, String(UDP_PORT), sizes.join(",")]);
  const wanted = Object.fromEntries(sizes.map((size) => [size, "ok"]));
  assert.deepEqual(result.results, wanted, `UDP to ${target}${logs(lab)}`);
}

/** Sends packets that must not be fragmented until they fit; every answer must be a smaller MTU. */
async function checkDontFragment(lab: Lab, way: Direction, startBytes: number): Promise<number> {
  const overhead = pingOverhead(way.fromSite.localVersion);
  let size = startBytes;
  let smallest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round += 1) {
    const args = ["-M", "do", "-c", "3", "-i", "0.3", "-s", String(size - overhead)];
    const result = await ping(lab, way.from, way.target, args);
    const mtu = reportedMtu(result);
    if (mtu === undefined) {
      const text = `${way.label}, ${size} octets: ${result.stdout}${result.stderr}${logs(lab)}`;
      assert.ok(answeredCount(result.stdout) > 0, `neither an answer nor an MTU: ${text}`);
      break;
    }
    assert.ok(mtu < size || answeredCount(result.stdout) > 0, `MTU ${mtu} for ${size} octets`);
    smallest = Math.min(smallest, mtu);
    size = mtu;
  }
  assert.ok(smallest < startBytes, `${way.label}: no MTU was reported`);
  const args = ["-M", "do", "-c", "3", "-i", "0.3", "-s", String(smallest - overhead)];
  await assertPing(lab, way.from, way.target, args);
  return smallest;
}

function defineCombination(local1: IpVersion, tunnel: IpVersion, local2: IpVersion): void {
  describe(`local IPv${local1}, tunnel IPv${tunnel}, remote IPv${local2}`, {
    skip,
    concurrency: 1,
    timeout: 240_000,
  }, () => {
    let lab: Lab;
    before(async () => {
      lab = await createLab({
        sites: [
          { localVersion: local1, addressesPerHost: REFERENCES.length },
          { localVersion: local2, addressesPerHost: REFERENCES.length },
        ],
        tunnelVersion: tunnel,
        transit: true,
      });
    });
    after(async () => lab?.destroy());
    defineBasics(() => lab);
    defineReferences(() => lab);
    definePathMtu(() => lab);
  });
}

function defineBasics(lab: () => Lab): void {
  const both = async (check: (way: Direction) => Promise<unknown>): Promise<void> => {
    for (const way of lab().directions) await check(way);
  };
  it("pings both ways", () => both(({ from, target }) => assertPing(lab(), from, target)));
  it("carries 3 MB over TCP both ways with equal SHA-256", () =>
    both((way) => checkTransfer(way, lab(), TRANSFER_BYTES)));
  it("echoes UDP of every size", () => both((way) => checkEcho(way, lab(), ECHO_SIZES)));
  it("gives a connected UDP socket ECONNREFUSED from a closed port", () =>
    both(async ({ from, target }) => {
      const result = await traffic(lab(), from, ["refused", target, String(CLOSED_PORT)]);
      assert.deepEqual(result, { ok: true, error: "ECONNREFUSED" }, logs(lab()));
    }));
  it("ends a traceroute at the encoded address", () =>
    both(async ({ from, target }) => {
      const { stdout } = await lab().network.namespaces.exec(from.namespace, "traceroute", [
        ...["-n", "-q", "1", "-N", "1", "-w", "2", "-m", "8", target],
      ]);
      const last = stdout.trim().split("\n").at(-1) ?? "";
      assert.match(last, new RegExp(`^\\s*\\d+\\s+${target}\\s`), `${stdout}${logs(lab())}`);
    }));
  it("answers echo to the gateway's own reference", () =>
    both(({ from, fromSite }) => assertPing(lab(), from, lab().encodedGateway(fromSite))));
}

function defineReferences(lab: () => Lab): void {
  REFERENCES.forEach(({ text, octets }, index) => {
    it(`carries references of ${octets} wire octets, ${text}`, async () => {
      const { network } = lab();
      for (const { from, fromSite, toSite } of lab().directions) {
        const target = lab().encoded(fromSite, index);
        const source = from.addresses[index] ?? "";
        const where = { namespace: network.internet, device: "site1" };
        const { packets } = await captureTunnel(network.namespaces, where, 2, () =>
          assertPing(lab(), from, target, ["-c", "2", "-i", "0.2", "-I", source]),
        );
        assert.deepEqual(
          packets.map((packet) => packet.referenceOctets),
          [octets, octets],
        );
        const there = { context: toSite.publicAddress, reference: text };
        const here = { context: fromSite.publicAddress, reference: text };
        assert.deepEqual(packets[0]?.source, here);
        assert.deepEqual(packets[0]?.destination, there);
        assert.deepEqual(packets[1]?.source, there);
        assert.deepEqual(packets[1]?.destination, here);
      }
    });
  });
}

function definePathMtu(lab: () => Lab): void {
  it("answers a 3,000-byte ping without DF", async () => {
    for (const { from, target } of lab().directions) {
      await assertPing(lab(), from, target, ["-c", "4", "-i", "0.3", "-M", "dont", "-s", "3000"]);
    }
  });
  it("reports the MTU to a packet with DF that is too large", async () => {
    for (const way of lab().directions) {
      const mtu = await checkDontFragment(lab(), way, 1500);
      assert.ok(mtu >= IPV6_MTU_MIN && mtu < 1500, `${way.label}: MTU ${mtu}`);
    }
  });
  it("works across a path of 1,280 octets in the middle", async () => {
    await lab().network.setTransitMtu(IPV6_MTU_MIN);
    await lab().network.forgetPathMtu();
    for (const way of lab().directions) {
      await assertPing(lab(), way.from, way.target);
      await checkTransfer(way, lab(), 1_000_000);
      await checkEcho(way, lab(), [64, 1200, 1400, 4000]);
    }
    for (const way of lab().directions) {
      await lab().network.forgetPathMtu();
      const mtu = await checkDontFragment(lab(), way, 1500);
      assert.ok(mtu <= IPV6_MTU_MIN, `${way.label}: MTU ${mtu}`);
      if (way.fromSite.localVersion === 6) assert.equal(mtu, IPV6_MTU_MIN);
    }
  });
}

describe("eight combinations of IP versions", { skip, concurrency: 2 }, () => {
  for (const local1 of [4, 6] as const) {
    for (const tunnel of [4, 6] as const) {
      for (const local2 of [4, 6] as const) defineCombination(local1, tunnel, local2);
    }
  }
});
