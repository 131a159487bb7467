/** For each drop reason a gateway and a packet that it drops for this reason. */

import type { DropReason } from "../../src/base/drop-reason.js";
import { formatIp, zeroAddress } from "../../src/base/ip.js";
import {
  MESSAGE_BAD_CONTROL,
  MESSAGE_BAD_SEGMENT_SIZE,
  MESSAGE_TRUNCATED,
  SEND_FAILED,
  SEND_TOO_BIG,
  VNET_HEADER_BYTES,
} from "../../src/forward/ports.js";
import {
  PUBLIC_ADDRESS,
  usualWorld,
  type WorldSettings,
} from "../control/inspection/explain-world.js";
import {
  datagram,
  firstOfEcho,
  HOST,
  native,
  REMOTE,
  SITUATIONS,
  type Situation,
  UDP,
} from "../control/inspection/situations.js";
import { FOUR, FROM_LOCAL, FROM_TUNNEL, SIX, tunnel } from "../translate/drop-packets.js";
import { ip } from "../translate/gateway-double.js";
import type { DropWorld, Oddities, PortDetails } from "./drop-world.js";

/** A gateway, what has happened to it, and the packet. */
export interface Provocation extends Omit<Situation, "before" | "isAboutAnswer" | "version"> {
  readonly world: WorldSettings;
  readonly oddities?: Oddities;
  readonly details?: PortDetails;
  readonly before?: (world: DropWorld) => void | Promise<void>;
  /** What makes the gateway drop the packet; its arrival, when absent. */
  readonly act?: (world: DropWorld) => void;
  /** Reasons under which the same packet is counted as well. */
  readonly also?: readonly DropReason[];
}

const [USUAL, USUAL_SIX] = [usualWorld(4), usualWorld(6)];
/** The mappings of the sites of the drop packets. */
const SITE: WorldSettings = {
  hosts: "172.17.1.11 a #= pub + 1111\n10.241.2.21 b #= ext 198.51.100.2 + 2222\n",
  encodeNet: "10.240.0.0/12",
};
const SITE_SIX: WorldSettings = {
  hosts: "fd02:98::22 a #= pub + 1111\nfdeb:128:0:7::731 b #= ext 198.51.100.2 + 2222\n",
  encodeNet: "fdeb:128:0:7::/64",
};

/** The largest message that a slot of a worker holds becomes a packet of one octet too many. */
const LONGEST_PAYLOAD_BYTES = 65_536 - 20;
/** Packets of this size fill a ring of 1 MiB. */
const FILLER = { ...UDP, size: 60_000, df: false };
const FILLERS = 18;
/** Mappings at a time in a small table; half of them are for local hosts. */
const SMALL_TABLE = 64;

/** Published remote hosts until the small table is full. */
const FULL_SITE: WorldSettings = {
  ...SITE,
  hosts: Array.from({ length: SMALL_TABLE }, (_, index) =>
    index === 0
      ? "172.17.1.11 a #= pub + 1111\n"
      : `10.241.2.${index} b${index} #= ext 198.51.100.${2 + (index >> 3)} + ${2000 + index}\n`,
  ).join(""),
};

/** Packets that are refused wherever they come from, whatever was before. */
const BAD_PACKETS: readonly Provocation[] = [
  ...FROM_LOCAL.map(([reason, packet, sites], index) => ({
    reason,
    about: `packet ${index + 1} of the local network`,
    // An error about an error is all that must not be answered here.
    ...(reason === "icmp-not-answered" && { also: ["local-destination-unknown"] as const }),
    world: sites === SIX ? SITE_SIX : SITE,
    side: "local" as const,
    packet: () => packet,
  })),
  ...FROM_TUNNEL.map(([reason, packet, sites], index) => ({
    reason,
    about: `datagram ${index + 1}`,
    world: sites === SIX ? SITE_SIX : SITE,
    side: "tunnel" as const,
    packet: () => packet,
    from: formatIp(sites.publicB),
  })),
];

const STATES: readonly Provocation[] = SITUATIONS.map((situation) => {
  const { isAboutAnswer, version, ...rest } = situation;
  return {
    ...rest,
    world: version === 6 ? USUAL_SIX : USUAL,
    ...(isAboutAnswer && { also: ["local-destination-unknown"] as const }),
  };
});

/** A device header. */
function device(...octets: number[]): PortDetails {
  const header = new Uint8Array(VNET_HEADER_BYTES);
  header.set(octets);
  return { header };
}

const LOCAL = { world: USUAL, side: "local" } as const;
const TUNNEL = { world: USUAL, side: "tunnel" } as const;
const fromHost = () => native(HOST, REMOTE, UDP);
const toHost = () => datagram(1025, 1025n, UDP);

/** What the kernel hands over with packets and messages (vnet-header.ts, ports.ts). */
const AT_THE_PORTS: readonly Provocation[] = [
  {
    ...LOCAL,
    reason: "local-bad-offload",
    about: "a super-packet of a kind that does not exist",
    packet: fromHost,
    details: device(0, 9),
  },
  {
    ...LOCAL,
    reason: "local-bad-segment-size",
    about: "a TCP super-packet of segments without octets",
    packet: () => native(HOST, REMOTE, { protocol: 6, size: 1200 }),
    details: device(1, 1),
  },
  {
    ...LOCAL,
    reason: "local-bad-checksum-place",
    about: "a checksum in the IP header",
    packet: fromHost,
    details: device(1, 0, 0, 0, 0, 0, 2, 0, 2, 0),
  },
  {
    ...TUNNEL,
    reason: "tunnel-bad-control",
    about: "a message with control data of another kind",
    packet: toHost,
    details: { segmentSize: MESSAGE_BAD_CONTROL },
  },
  {
    ...TUNNEL,
    reason: "tunnel-bad-segment-size",
    about: "a message whose control data has a segment size of 0",
    packet: toHost,
    details: { segmentSize: MESSAGE_BAD_SEGMENT_SIZE },
  },
  {
    ...TUNNEL,
    reason: "tunnel-bad-segment-size",
    about: "a message shorter than its segments",
    packet: toHost,
    details: { segmentSize: 9000 },
  },
  {
    ...TUNNEL,
    reason: "tunnel-too-long",
    about: "a message that was cut",
    packet: toHost,
    details: { segmentSize: MESSAGE_TRUNCATED },
  },
  {
    ...LOCAL,
    reason: "slow-path-full",
    about: "a packet for the slow path, which does not keep up",
    flags: ["-max-buffers", "16"],
    before: (world) => {
      world.emptiesRings = false;
      for (let count = 0; count < FILLERS; count++) world.fromLocal(native(HOST, REMOTE, FILLER));
    },
    packet: () => native(HOST, REMOTE, FILLER),
  },
  {
    ...TUNNEL,
    reason: "slow-path-full",
    about: "a datagram for the slow path, which does not keep up",
    flags: ["-max-buffers", "16"],
    before: (world) => {
      world.emptiesRings = false;
      for (let count = 0; count < FILLERS; count++) world.fromTunnel(datagram(1025, 1025n, FILLER));
    },
    packet: () => datagram(1025, 1025n, FILLER),
  },
];

/** The remote gateway is known, and knows us: workers take packets in both directions. */
function openWay(world: DropWorld): void {
  world.fromLocal(fromHost());
  world.fromTunnel(toHost());
  world.fromLocal(fromHost());
}

/** What the kernel refuses. */
const REFUSED: readonly Provocation[] = [
  ...([SEND_FAILED, SEND_TOO_BIG] as const).map((outcome) => ({
    ...LOCAL,
    reason: "send-failed" as const,
    about: `a worker's datagram that the kernel refuses, ${outcome}`,
    before: (world: DropWorld) => {
      openWay(world);
      world.workers.tunnel.outcome = outcome;
    },
    packet: fromHost,
  })),
  {
    ...LOCAL,
    reason: "send-failed",
    about: "a datagram of the slow path that the kernel refuses",
    before: (world) => {
      world.machine.sendResult = "failed";
    },
    packet: fromHost,
  },
  {
    ...TUNNEL,
    reason: "write-failed",
    about: "a worker's packet that the device refuses",
    before: (world) => {
      openWay(world);
      world.workers.tun.refuses = true;
    },
    packet: toHost,
  },
  {
    ...TUNNEL,
    reason: "write-failed",
    about: "a packet of the slow path that the device refuses",
    before: (world) => {
      world.machine.takesPackets = false;
    },
    packet: toHost,
  },
];

/** The disk is full, and the gateway has found out. */
async function fillDisk(world: DropWorld): Promise<void> {
  world.machine.store.failure = new Error("No space left on device");
  world.fromLocal(native("10.1.8.8", REMOTE, UDP));
  await world.settled();
}

/** Limits of mapper and gateway, and addresses. */
const LIMITS: readonly Provocation[] = [
  {
    ...LOCAL,
    reason: "reference-exhausted",
    about: "one local host more than the table has room for",
    oddities: { recordsMax: SMALL_TABLE },
    before: async (world) => {
      for (let host = 1; host <= SMALL_TABLE / 2; host++) {
        world.fromLocal(native(`10.1.5.${host}`, REMOTE, UDP));
      }
      await world.settled();
    },
    packet: () => native("10.1.9.9", REMOTE, UDP),
  },
  {
    ...TUNNEL,
    world: FULL_SITE,
    reason: "encoded-address-exhausted",
    about: "one remote host more than the table has room for",
    oddities: { recordsMax: SMALL_TABLE },
    packet: () => tunnel({ source: ip("203.0.113.77") }),
    from: "203.0.113.77",
  },
  {
    ...LOCAL,
    reason: "mapping-storage",
    about: "the first packet of a host while the disk is full",
    before: fillDisk,
    packet: () => native("10.1.9.9", REMOTE, UDP),
  },
  {
    ...TUNNEL,
    reason: "mapping-storage",
    about: "the first datagram of a remote host while the disk is full",
    before: fillDisk,
    packet: () => datagram(9000, 1025n, UDP),
  },
  {
    ...LOCAL,
    world: USUAL_SIX,
    reason: "icmp-fragment-expired",
    about: "a first fragment whose last one does not come within a minute",
    before: (world) => world.fromLocal(firstOfEcho(1)),
    act: (world) => world.machine.pass(60),
    packet: () => firstOfEcho(1),
  },
  {
    ...LOCAL,
    reason: "remote-gateways-full",
    about: "a gateway with room for no remote one",
    oddities: { remoteGatewaysMax: 0 },
    packet: fromHost,
  },
  {
    ...LOCAL,
    reason: "send-source-mismatch",
    about: "a mapping of another public address",
    oddities: { movesTo: ip("198.51.100.99") },
    packet: fromHost,
  },
  {
    ...TUNNEL,
    world: SITE,
    reason: "tunnel-source-own",
    about: "a source context that is our own",
    packet: () => tunnel({ source: FOUR.publicA }),
    from: PUBLIC_ADDRESS,
  },
  {
    ...TUNNEL,
    world: SITE,
    reason: "tunnel-source-not-unicast",
    about: "a datagram from the address of the machine itself",
    packet: () => tunnel({ source: zeroAddress(4) }),
    from: "127.0.0.1",
  },
  {
    ...TUNNEL,
    world: SITE,
    reason: "tunnel-native-too-long",
    about: "a datagram that is longer as a native packet than IP allows",
    packet: () => tunnel({}, new Uint8Array(LONGEST_PAYLOAD_BYTES)),
    from: formatIp(FOUR.publicB),
  },
];

/** All provocations; a reason may have several. */
export const PROVOCATIONS: readonly Provocation[] = [
  ...BAD_PACKETS.filter(({ reason }) => reason !== "tunnel-native-too-long"),
  ...STATES,
  ...AT_THE_PORTS,
  ...REFUSED,
  ...LIMITS,
];
