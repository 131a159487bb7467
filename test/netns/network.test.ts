// The namespace library itself: what it builds works, and it leaves nothing behind.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { describe, it } from "node:test";
import { decodeDatagram, parseDump } from "../../src/programs/demo/capture.js";
import { Namespaces, run } from "../../src/programs/demo/namespaces.js";
import { createNetwork } from "../../src/programs/demo/network.js";
import { missingSentence, whyNoNamespaces } from "../../src/programs/demo/requirements.js";

const why = await whyNoNamespaces(["ip", "nft", "ping"]);
const skip = why === undefined ? false : why.reason;

describe("createNetwork()", { skip, timeout: 60_000 }, () => {
  it("routes between sites, through NAT and a narrow middle, and removes everything", async () => {
    const network = await createNetwork({
      sites: [{ localVersion: 4 }, { localVersion: 4 }],
      tunnelVersion: 4,
      transit: true,
      plainRoute: true,
    });
    const [site1, site2] = network.sites;
    const { namespaces } = network;
    try {
      const target = site2.hosts[0].plainAddress;
      const host = site1.hosts[0].namespace;
      const plain = await namespaces.exec(host, "ping", ["-c", "1", "-W", "2", target]);
      assert.equal(plain.code, 0, plain.stdout);
      await network.setTransitMtu(1280);
      const args = ["-c", "1", "-W", "2", "-M", "do", "-s", "1400", target];
      assert.match((await namespaces.exec(host, "ping", args)).stdout, /mtu = 1280/);
    } finally {
      await network.destroy();
    }
    assert.ok(!existsSync(namespaces.directory));
    const list = await run("ip", ["netns", "list"]);
    assert.ok(!list.stdout.includes(namespaces.token), list.stdout);
  });

  it("hides a site behind NAT", async () => {
    const network = await createNetwork({
      sites: [{ localVersion: 6, nat: "masquerade" }, { localVersion: 4 }],
      tunnelVersion: 6,
    });
    const [site1, site2] = network.sites;
    try {
      const out = ["-c", "1", "-W", "2", site2.publicAddress];
      const outward = await network.namespaces.exec(site1.gatewayNamespace, "ping", out);
      assert.equal(outward.code, 0, outward.stdout);
      const inward = ["-c", "1", "-W", "1", site1.bindAddress];
      const result = await network.namespaces.exec(site2.gatewayNamespace, "ping", inward);
      assert.notEqual(result.code, 0, "the private address answers across the Internet");
    } finally {
      await network.destroy();
    }
  });

  it("ends the programs it started and no others", async () => {
    const namespaces = new Namespaces();
    const bystander = new Namespaces();
    const child = namespaces.spawn(await namespaces.add("a"), "sleep", ["60"]);
    const other = bystander.spawn(await bystander.add("a"), "sleep", ["60"]);
    try {
      await namespaces.destroy();
      assert.ok(!existsSync(`/proc/${child.pid}/ns/net`));
      assert.ok(existsSync(`/proc/${other.pid}/ns/net`));
    } finally {
      await bystander.destroy();
    }
  });
});

describe("missingSentence()", () => {
  it("is silent when nothing is missing", () => assert.equal(missingSentence(["sh"]), undefined));
  it("names the program and how to install it", () => {
    assert.match(missingSentence(["no-such-program"]) ?? "", /no-such-program.*apt-get install/);
  });
});

// The datagram of spec/tunnel.md 6.2 behind IPv4 and UDP headers, as tcpdump -x prints it.
const DUMP = `12:00:00.000000 IP 198.51.100.1.1045 > 203.0.113.5.1045: UDP, length 60
\t0x0000:  4500 0034 0001 0000 4011 0000 c633 6401
\t0x0010:  cb00 7105 0415 0415 0020 0000 1040 4001
\t0x0020:  c633 6401 cb00 7105 0000 0001 0000 2a0b
`;

describe("parseDump()", () => {
  it("reads addresses, ports and references of a tunnel packet", () => {
    assert.deepEqual(parseDump(DUMP), [
      {
        outerSource: "198.51.100.1",
        outerDestination: "203.0.113.5",
        sourcePort: 1045,
        destinationPort: 1045,
        referenceOctets: 4,
        source: { context: "198.51.100.1", reference: "1" },
        destination: { context: "203.0.113.5", reference: "10763" },
        protocol: 1,
        ttl: 64,
      },
    ]);
  });
  it("ignores what is not a tunnel packet", () => {
    assert.deepEqual(parseDump("nothing here"), []);
    for (let length = 0; length < 48; length += 1) {
      assert.equal(decodeDatagram(new Uint8Array(length).fill(0x45)), undefined);
    }
  });
});
