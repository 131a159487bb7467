/** What comments say of packets, and that no packet can break them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DROP_REASONS, dropReasonIndex } from "../../src/base/drop-reason.js";
import { type IpAddress, parseIp, sameAddress } from "../../src/base/ip.js";
import { CaptureDescriber, type MappingView } from "../../src/capture/describe.js";
import {
  type CaptureRecord,
  FROM_TUNNEL,
  PATH_FAST,
  PATH_SLOW,
  SIDE_LOCAL,
  SIDE_TUNNEL,
  TO_TUNNEL,
  VERDICT_DROPPED,
  VERDICT_FORWARDED,
} from "../../src/tables/capture-ring.js";
import { buildDraft } from "../../src/wire/draft-header.js";
import { buildIpv4 } from "../../src/wire/ipv4.js";
import { buildTunnel } from "../../src/wire/tunnel-header.js";
import { Dice } from "../forward/fast-world.js";

const SEED = Number(process.env.IPREF_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
const [OWN, FAR, HOST, ENCODED] = ["192.0.2.1", "198.51.100.7", "10.1.0.5", "10.240.0.22"].map(
  (text) => parseIp(text)!,
) as [IpAddress, IpAddress, IpAddress, IpAddress];
const UDP = Uint8Array.of(0x14, 0xe9, 0, 7, 0, 8, 0, 0);
const NOTHING = new Uint8Array(0);

const NO_MAPPINGS: MappingView = { iprefOf: () => undefined, nativeOf: () => undefined };
/** HOST is OWN + 77, ENCODED is FAR + 1025. */
const MAPPINGS: MappingView = {
  iprefOf: (address) => {
    if (sameAddress(address, HOST)) return { context: OWN, reference: 77n };
    return sameAddress(address, ENCODED) ? { context: FAR, reference: 1025n } : undefined;
  },
  nativeOf: ({ context, reference }) => {
    if (sameAddress(context, OWN) && reference === 77n) return HOST;
    return sameAddress(context, FAR) && reference === 1025n ? ENCODED : undefined;
  },
};

const NATIVE = buildIpv4(
  {
    ...{ source: HOST, destination: ENCODED, trafficClass: 0, ttl: 64, protocol: 17 },
    ...{ dontFragment: true, fragmentOffset: 0, moreFragments: false, identification: 1 },
  },
  UDP,
);
const HEADER = {
  source: { context: OWN, reference: 77n },
  destination: { context: FAR, reference: 1025n },
  ...{ ttl: 64, protocol: 17, dontFragment: true, fragment: undefined },
};
const TUNNEL = buildTunnel(HEADER, UDP);

function record(of: Partial<CaptureRecord>): CaptureRecord {
  const { native = NOTHING, tunnel = NOTHING } = of;
  return {
    ...{ timeMs: 1, direction: TO_TUNNEL, path: PATH_FAST, verdict: VERDICT_FORWARDED, reason: 0 },
    ...{ sides: 3, native, nativeLength: native.length, tunnel, tunnelLength: tunnel.length },
    ...{ remote: FAR, remotePort: 1045 },
    ...of,
  };
}

function describer(mappings = NO_MAPPINGS, publicAddress = OWN): CaptureDescriber {
  return new CaptureDescriber({ publicAddress, mappings });
}

test("Both packets together tell both names of both ends", () => {
  const both = record({ native: NATIVE, tunnel: TUNNEL });
  const { comment, source, protocol, length } = describer().describe(both, SIDE_TUNNEL);
  const ends = "10.1.0.5 = 192.0.2.1 + 77 -> 10.240.0.22 = 198.51.100.7 + 1025";
  assert.equal(comment, `${ends}; fast path; forwarded`);
  assert.deepEqual([source.port, protocol, length], [5353, "udp", TUNNEL.length]);
});

test("One packet alone is completed from the mappings, as far as they go", () => {
  const reason = dropReasonIndex("ttl-expired") + 1;
  const drop = { path: PATH_SLOW, verdict: VERDICT_DROPPED, reason } as const;
  const why = "slow path; dropped: ttl-expired (The time to live ran out; the sender was told)";
  const ends = "10.1.0.5 = 192.0.2.1 + 77 -> 10.240.0.22 = 198.51.100.7 + 1025";
  const native = record({ native: NATIVE, ...drop });
  const tunnel = record({ tunnel: TUNNEL, ...drop });
  const known = describer(MAPPINGS);
  assert.equal(known.comment(native, SIDE_LOCAL), `${ends}; ${why}`);
  assert.equal(known.comment(tunnel, SIDE_TUNNEL), `${ends}; ${why}`);
  const unknown = describer();
  assert.equal(unknown.comment(native, SIDE_LOCAL), `10.1.0.5 -> 10.240.0.22; ${why}`);
  const outside = "192.0.2.1 + 77 -> 198.51.100.7 + 1025";
  assert.equal(unknown.comment(tunnel, SIDE_TUNNEL), `${outside}; ${why}`);
});

test("A context that the packet leaves out is the address of the datagram", () => {
  const zero = parseIp("0.0.0.0")!;
  const away = { context: zero, reference: 1025n };
  const here = { context: zero, reference: 77n };
  const expected = "198.51.100.7 + 1025 -> 192.0.2.1 + 77; fast path; forwarded";
  for (const tunnel of [
    buildDraft({ ...HEADER, source: away, destination: here }, UDP),
    buildTunnel({ ...HEADER, source: away, destination: here }, UDP),
  ]) {
    const arrived = record({ tunnel, direction: FROM_TUNNEL });
    assert.equal(describer().comment(arrived, SIDE_TUNNEL), expected);
  }
  const toGateway = describer(NO_MAPPINGS, zero).comment(
    record({ tunnel: buildDraft(HEADER, UDP), direction: FROM_TUNNEL }),
    SIDE_TUNNEL,
  );
  assert.equal(toGateway, "198.51.100.7 + 77 -> ?; fast path; forwarded");
});

test("A fragment and a whole packet with the same octets in front have comments of their own", () => {
  const fragment = { offset: 0, moreFragments: true, identification: 0xc000_0201 };
  const known = describer();
  const seen = [TUNNEL, buildTunnel({ ...HEADER, fragment }, UDP), TUNNEL].map((tunnel) =>
    known.comment(record({ native: NATIVE, tunnel }), SIDE_TUNNEL),
  );
  assert.equal(new Set(seen).size, 1);
  const other = buildTunnel({ ...HEADER, source: { context: OWN, reference: 78n }, fragment }, UDP);
  assert.match(known.comment(record({ native: NATIVE, tunnel: other }), SIDE_TUNNEL), /\+ 78 ->/);
});

test("Whatever octets arrive, there is a comment of printable characters", () => {
  console.log(`seed ${SEED}`);
  const dice = new Dice(SEED);
  const known = describer(MAPPINGS);
  for (let round = 0; round < 5000; round++) {
    const octets = (model: Uint8Array) => {
      if (dice.percent(30)) return dice.bytes(dice.below(120));
      const bytes = model.slice(0, dice.percent(50) ? model.length : dice.below(model.length));
      if (bytes.length > 0) bytes[dice.below(bytes.length)] = dice.below(256);
      return bytes;
    };
    const isDrop = dice.percent(50);
    const odd = record({
      native: octets(NATIVE),
      tunnel: octets(TUNNEL),
      direction: dice.pick([TO_TUNNEL, FROM_TUNNEL] as const),
      path: dice.pick([PATH_FAST, PATH_SLOW] as const),
      verdict: isDrop ? VERDICT_DROPPED : VERDICT_FORWARDED,
      reason: isDrop ? 1 + dice.below(DROP_REASONS.length) : 0,
    });
    for (const side of [SIDE_LOCAL, SIDE_TUNNEL] as const) {
      assert.match(known.comment(odd, side), /^[ -~]+ -> [ -~]+; (fast|slow) path; [ -~]+$/);
    }
  }
});
