// Sites behind NAT, and hosts that nobody published: spec/tunnel.md 7.1 to 7.3, spec/mapper.md 3.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { captureTunnel } from "../../src/programs/demo/capture.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { assertPing, createLab, type Lab, logs, TCP_PORT, traffic } from "../support/lab.js";

const why = await whyNoNamespaces(["ip", "nft", "ping", "tcpdump"]);
const skip = why === undefined ? false : why.reason;

/** Enough for several round trips of a window. */
const TRANSFER_BYTES = 300_000;

for (const tunnelVersion of [4, 6] as const) {
  describe(`a gateway behind NAT in client mode, tunnel IPv${tunnelVersion}`, {
    skip,
    concurrency: 1,
    timeout: 120_000,
  }, () => {
    let lab: Lab;
    before(async () => {
      lab = await createLab({
        sites: [{ localVersion: 4, nat: "symmetric" }, { localVersion: 6 }],
        tunnelVersion,
        gateways: [{ publicAddress: "unknown" }, {}],
      });
    });
    after(async () => lab?.destroy());

    it("reaches a published host from behind NAT, from a port the NAT chose", async () => {
      const [way] = lab.directions;
      const { network } = lab;
      const where = { namespace: network.internet, device: "site1" };
      const { packets } = await captureTunnel(network.namespaces, where, 2, () =>
        assertPing(lab, way.from, way.target),
      );
      const [request, answer] = packets;
      assert.ok(request && answer, `nothing captured${logs(lab)}`);
      assert.equal(request.outerSource, way.fromSite.publicAddress);
      assert.ok(request.sourcePort >= 40_000, `NAT kept port ${request.sourcePort}`);
      assert.equal(request.source.context, tunnelVersion === 4 ? "0.0.0.0" : "::");
      assert.equal(answer.destinationPort, request.sourcePort);
    });

    it("carries TCP from behind NAT", async () => {
      const { from, target } = lab.directions[0];
      const args = ["tcp", target, String(TCP_PORT), String(TRANSFER_BYTES)];
      const result = await traffic(lab, from, args);
      assert.equal(result.ok, true, JSON.stringify(result) + logs(lab));
    });

    it("lets the other side reach the host behind NAT after first contact", async () => {
      const { from, target } = lab.directions[1];
      await assertPing(lab, from, target);
      const args = ["tcp", target, String(TCP_PORT), String(TRANSFER_BYTES)];
      const result = await traffic(lab, from, args);
      assert.equal(result.ok, true, JSON.stringify(result) + logs(lab));
    });
  });
}

describe("a gateway behind NAT with UDP 1045 forwarded", { skip, timeout: 90_000 }, () => {
  let lab: Lab;
  before(async () => {
    lab = await createLab({
      sites: [{ localVersion: 4, nat: "forward" }, { localVersion: 4 }],
      tunnelVersion: 4,
    });
  });
  after(async () => lab?.destroy());

  it("is reached first from outside", async () => {
    const { from, target } = lab.directions[1];
    await assertPing(lab, from, target);
  });

  it("reaches out as well", async () => {
    const { from, target } = lab.directions[0];
    await assertPing(lab, from, target);
  });
});

describe("a host that nobody published", { skip, timeout: 90_000 }, () => {
  let lab: Lab;
  before(async () => {
    lab = await createLab({
      sites: [{ localVersion: 4, hosts: 2 }, { localVersion: 4 }],
      tunnelVersion: 4,
    });
  });
  after(async () => lab?.destroy());

  it("gets answers through a reference allocated for it", async () => {
    const { network } = lab;
    const { target, fromSite } = lab.directions[0];
    const client = fromSite.hosts[1];
    assert.ok(client);
    const where = { namespace: network.internet, device: "site1" };
    const { packets } = await captureTunnel(network.namespaces, where, 2, () =>
      assertPing(lab, client, target),
    );
    assert.notEqual(packets[0]?.source.reference, "1025");
    assert.equal(packets[0]?.source.context, fromSite.publicAddress);
    assert.deepEqual(packets[1]?.destination, packets[0]?.source);
  });

  it("appears to the other side as an allocated encoded address", async () => {
    const { target, fromSite } = lab.directions[0];
    const client = fromSite.hosts[1];
    assert.ok(client);
    const result = await traffic(lab, client, ["tcp", target, String(TCP_PORT), "1000"]);
    assert.equal(result.ok, true, JSON.stringify(result) + logs(lab));
    const seenAs = String(result.seenAs).replace("::ffff:", "");
    assert.match(seenAs, /^10\.2(4|5)\d\.\d+\.\d+$/);
    const back = await assertPing(lab, lab.directions[1].from, seenAs);
    assert.match(back.stdout, new RegExp(`from ${seenAs}`));
  });
});
