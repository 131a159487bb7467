/** A system of an afternoon, for tests of what is shown. */

import type {
  AgentPartStatus,
  ResolverStatus,
  SupervisorStatus,
} from "../../../src/control/inspection/part-status.js";
import type { PeerEntry } from "../../../src/control/inspection/peers.js";
import type { GatewayStatus } from "../../../src/control/inspection/status.js";

const COMMON = { version: "0.1.0", isHealthy: true, problems: [] };

export const GATEWAY: GatewayStatus = {
  ...COMMON,
  part: "gateway",
  pid: 4242,
  uptimeSeconds: 7380,
  addresses: {
    bind: "10.1.0.2",
    port: 1045,
    public: "198.51.100.7",
    reference: "1",
    encodeNet: "10.240.0.0/12",
    ownEncoded: "10.240.0.1",
    mapperSocket: "/run/ipref/mapper.sock",
    hostsFile: "/etc/hosts",
  },
  forwarding: {
    tun: "ipref0",
    tunMtuBytes: 1452,
    interfaceMtuBytes: 1500,
    kernel: "wasm",
    lanes: 2,
    offloads: ["csum", "tso", "gso", "gro"],
    offloadsRefused: ["uso"],
  },
  traffic: {
    windowSeconds: 5,
    toTunnel: {
      packets: 1_234_567,
      bytes: 1_600_000_000,
      slowPackets: 12,
      rate: { packetsPerSecond: 147_000, bitsPerSecond: 1.53e9 },
    },
    fromTunnel: { packets: 9, bytes: 700, slowPackets: 3, rate: null },
  },
  mappings: {
    byKind: {
      remote: { published: 1, dynamic: 12_345, provisional: 2, resting: 3, pending: 0 },
      local: { published: 4, dynamic: 5, provisional: 0, resting: 0, pending: 1 },
    },
    records: 12_361,
    recordsMax: 2_097_152,
    encodedUsed: 12_350,
    encodedMax: 983_040,
    created: 13_000,
    expired: 655,
    storeFailures: 0,
  },
  peers: { count: 22, max: 1024 },
  sources: [
    {
      name: "home.example:example.com",
      recordCount: 4,
      isLoading: false,
      isStale: false,
      isConnected: true,
      lastHeardSecondsAgo: 130,
      lastDataSecondsAgo: 4000,
    },
    {
      name: "old.example:example.org",
      recordCount: 7,
      isLoading: false,
      isStale: true,
      isConnected: false,
      lastHeardSecondsAgo: 50_000,
      lastDataSecondsAgo: null,
    },
  ],
  drops: [
    {
      reason: "local-destination-unknown",
      meaning: "No remote host has this encoded address; sender was told",
      count: 1234,
      perSecond: 0.4,
    },
    { reason: "ttl-expired", meaning: "The time to live ran out", count: 1, perSecond: null },
  ],
  checks: [{ name: "store", state: "ok", detail: "takes changes" }],
};

export const PEERS: readonly PeerEntry[] = [
  {
    address: "203.0.113.1",
    port: 1045,
    isVerified: true,
    isSettled: true,
    pathMtuBytes: 1500,
    lastReceivedSecondsAgo: 0,
    lastSentSecondsAgo: 0,
    sent: {
      packets: 1_000_000,
      bytes: 1_400_000_000,
      rate: { packetsPerSecond: 130_000, bitsPerSecond: 1.5e9 },
    },
    received: {
      packets: 500_000,
      bytes: 30_000_000,
      rate: { packetsPerSecond: 60_000, bitsPerSecond: 29e6 },
    },
  },
  {
    address: "203.0.113.200",
    port: 40_001,
    isVerified: false,
    isSettled: true,
    pathMtuBytes: 1420,
    lastReceivedSecondsAgo: null,
    lastSentSecondsAgo: 75,
    sent: { packets: 3, bytes: 180, rate: null },
    received: { packets: 0, bytes: 0, rate: null },
  },
];

export const RESOLVER: ResolverStatus = {
  ...COMMON,
  part: "resolver",
  pid: 4243,
  uptimeSeconds: 7379,
  listening: ["127.0.0.1:53", "[::1]:53"],
  blocks: [
    { zones: [".:53"], plugins: ["ipref", "cache", "forward"] },
    { zones: ["home.example.:53"], plugins: ["file"] },
  ],
  upstreams: [
    { server: "192.0.2.53:53", isDown: false, isLooping: false, failedChecks: 0 },
    { server: "192.0.2.54:53", isDown: true, isLooping: false, failedChecks: 3 },
  ],
  cacheEntries: 321,
  queriesInFlight: 1,
  tcpConnections: 0,
  mappers: [{ socket: "/run/ipref/mapper.sock", isReady: true }],
};

export const AGENT: AgentPartStatus = {
  ...COMMON,
  part: "agent",
  pid: 4244,
  uptimeSeconds: 7378,
  mapperSocket: "/run/ipref/mapper.sock",
  isMapperConnected: true,
  intervalSeconds: 3540,
  sources: [
    {
      name: "home.example:example.com",
      hostCount: 4,
      isDelivered: true,
      places: [
        {
          label: "192.0.2.1:53",
          serial: 2026112101,
          recordCount: 4,
          lastSyncSecondsAgo: 3600,
          failure: null,
        },
        {
          label: "192.0.2.2:53",
          serial: null,
          recordCount: null,
          lastSyncSecondsAgo: null,
          failure: "transfer refused",
        },
      ],
    },
  ],
};

export const SUPERVISOR: SupervisorStatus = {
  ...COMMON,
  part: "up",
  pid: 4241,
  uptimeSeconds: 7381,
  supervised: [
    { name: "gateway", pid: 4242, restarts: 0 },
    { name: "resolver", pid: 4243, restarts: 0 },
    { name: "agent", pid: 4244, restarts: 2 },
  ],
};
