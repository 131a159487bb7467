import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { MapperClient } from "../../src/dns/mapper-client.js";
import { monotonicMs, wallClockMs } from "../../src/platform/clock.js";
import { mapperTransport } from "../../src/platform/mapper-connection.js";
import { systemRandom } from "../../src/platform/random.js";
import { Reactor } from "../../src/platform/reactor.js";
import { SeqpacketListener } from "../../src/platform/seqpacket.js";

/** A client and a place for a gateway's socket. */
function setUp() {
  const directory = mkdtempSync(join(tmpdir(), "mapper-connection-"));
  const path = join(directory, "mapper.sock");
  const reactor = new Reactor();
  const warnings: string[] = [];
  const client = new MapperClient({
    path,
    transport: mapperTransport(reactor, path),
    clock: { monotonicMs, unixMs: wallClockMs },
    timers: {
      after(delayMs, action) {
        const timer = setTimeout(action, delayMs);
        return () => clearTimeout(timer);
      },
    },
    random: systemRandom(),
    log: {
      isDebug: false,
      write: (level, _, text) => {
        if (level === "WARNING") warnings.push(text);
      },
    },
    metrics: { count() {}, observe() {}, gauge() {} },
  });
  const end = () => {
    client.close();
    reactor.close();
    rmSync(directory, { recursive: true });
  };
  return { path, reactor, client, warnings, end };
}

/** A gateway that answers every request with 10.240.0.<low octet of the reference>. */
function listen(reactor: Reactor, path: string): SeqpacketListener {
  return new SeqpacketListener(
    reactor,
    { path },
    {
      onMessages(connection, messages) {
        for (const { bytes } of messages) {
          const reply = bytes.slice(0, 36);
          reply[1] = 0x87;
          reply[7] = 9;
          reply.set([10, 240, 0, bytes[35]!], 8);
          connection.send(reply);
        }
      },
    },
  );
}

const GATEWAY = parseIp("203.0.113.5")!;

test("many requests share one SEQPACKET connection", async () => {
  const { path, reactor, client, end } = setUp();
  const listener = listen(reactor, path);
  try {
    const results = await Promise.all(
      Array.from({ length: 2000 }, (_, index) =>
        client.getEncodedAddress(GATEWAY, BigInt(index + 1), "h.example.", 4),
      ),
    );
    for (const [index, result] of results.entries()) {
      assert.deepEqual(result, {
        kind: "address",
        address: { version: 4, bytes: Uint8Array.of(10, 240, 0, (index + 1) & 255) },
      });
    }
    assert.equal(listener.connectionCount, 1);
  } finally {
    listener.close();
    end();
  }
});

test("a socket that is missing at start or goes away is found again", async () => {
  const { path, reactor, client, warnings, end } = setUp();
  let listener: SeqpacketListener | undefined;
  const ask = (reference: bigint) => client.getEncodedAddress(GATEWAY, reference, "h.example.", 4);
  try {
    client.start();
    const missing = await ask(1n);
    assert.equal(missing.kind, "unavailable");
    assert.match(warnings[0]!, /mapper\.sock/);
    listener = listen(reactor, path);
    await waitFor(() => client.isReady);
    assert.equal((await ask(2n)).kind, "address");
    let lostCount = 0;
    client.onLost(() => lostCount++);
    listener.close();
    await waitFor(() => lostCount === 1);
    listener = listen(reactor, path);
    await waitFor(async () => (await ask(3n)).kind === "address");
  } finally {
    listener?.close();
    end();
  }
});

async function waitFor(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (const endMs = monotonicMs() + 5000; monotonicMs() < endMs; ) {
    if (await isTrue()) return;
    await new Promise((done) => setTimeout(done, 20));
  }
  assert.fail("waited for 5 s");
}
