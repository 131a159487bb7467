/**
 * Life of one gateway (spec/mapper.md 7.2, 7.3): opens everything in order, joins the parts, and
 * gives everything back in the opposite order. All mappings are restored before any socket opens,
 * and the mapper socket opens last.
 */

import { formatIp, formatPrefix, isUnspecified } from "../base/ip.js";
import { formatReference } from "../base/reference.js";
import { formatOffloads, OFFLOAD_NAMES, type Offloads } from "../forward/offloads.js";
import { Committer } from "../mapper/committer.js";
import { Mapper } from "../mapper/mapper.js";
import { startTimeBase, storeMismatch } from "../mapper/time-base.js";
import { KnownAddresses } from "../tables/known-addresses.js";
import { CleanUp } from "./clean-up.js";
import type { GatewaySettings } from "./gateway-flags.js";
import { GatewayHealth, type HealthReport, okCheck } from "./health.js";
import { HostsLoader } from "./hosts-loader.js";
import type { ControlRoutes } from "./inspection/api.js";
import { gatewayPages } from "./inspection/gateway-pages.js";
import {
  type ForwardingFacts,
  gatewayRoutes,
  type InspectionParts,
} from "./inspection/gateway-routes.js";
import { RateSampler } from "./inspection/rates.js";
import type { Log } from "./log.js";
import { type MapperSocket, startMapperSocket } from "./mapper-socket.js";
import { openMonitoring } from "./monitoring-port.js";
import { mssMax, ownEncodedAddress, PacketDesk } from "./packet-desk.js";
import type { Forwarding, Machine, OpenedStore } from "./ports.js";
import { makeSharedState, type SharedState } from "./shared-state.js";
import { statusLines } from "./status-lines.js";
import { tunMtuBytes } from "./tun-mtu.js";

/** Ethernet; used when nothing is known of the public interface (spec/mapper.md 7.1). */
const INTERFACE_MTU_DEFAULT = 1500;
/** Clock of the shared tables, expiry, refresh and housekeeping. */
const TICK_MS = 1000;

/** A running gateway. */
export interface Gateway {
  /** Resolves when the gateway cannot go on. */
  readonly failure: Promise<Error>;
  /** Reads the hosts file again now. */
  reloadHosts(): void;
  /** Counters for the log. */
  status(): readonly string[];
  /** Whether it works; asks the workers. */
  live(): Promise<HealthReport>;
  /** Gives everything back: takes nothing new, stores what is waiting, closes. */
  stop(): Promise<void>;
}

/** What the parts of a gateway share. */
interface Stage {
  readonly settings: GatewaySettings;
  readonly machine: Machine;
  readonly log: Log;
  readonly cleanUp: CleanUp;
  readonly shared: SharedState;
  readonly mapper: Mapper;
  readonly nowSeconds: () => number;
  readonly fail: (error: Error) => void;
  /** Who waits for commits, in the order in which they are told. */
  readonly settled: Set<(token: number, isStored: boolean) => void>;
}

/** Starts a gateway. What was opened is closed again when something fails. */
export async function startGateway(
  settings: GatewaySettings,
  machine: Machine,
  log: Log,
): Promise<Gateway> {
  const cleanUp = new CleanUp();
  try {
    let fail = (_error: Error) => {};
    const failure = new Promise<Error>((resolve) => {
      fail = resolve;
    });
    const stage = openMapper(settings, machine, log, cleanUp, fail);
    const hosts = startHosts(stage);
    const forwarding = settings.isDevmode ? undefined : await startForwarding(stage);
    const health = makeHealth(stage, forwarding, hosts);
    const rates = startTick(stage, forwarding?.desk, health);
    const mapperSocket = startSocket(stage);
    const parts: InspectionParts = {
      ...{ ...stage, rates, health, mapperSocket },
      desk: forwarding?.desk,
      facts: forwarding?.facts,
      startedMs: machine.wallClockMs(),
    };
    const pages = gatewayPages(parts);
    await startControl(stage, gatewayRoutes(parts, pages));
    const port = await openMonitoring({ where: settings.metrics, pages, machine, log });
    cleanUp.add(() => port.close());
    describe(stage);
    return {
      failure,
      reloadHosts: () => hosts?.load(),
      status: () => statusLines(stage.shared.totals, stage.mapper.statistics()),
      live: () => health.live(),
      stop: () => cleanUp.run(),
    };
  } catch (error) {
    await cleanUp.run();
    throw error;
  }
}

/** Store, shared memory, mapper: steps 4 and 5 of spec/mapper.md 7.2. */
function openMapper(
  settings: GatewaySettings,
  machine: Machine,
  log: Log,
  cleanUp: CleanUp,
  fail: (error: Error) => void,
): Stage {
  const { store, notices } = openStore(settings, machine);
  for (const notice of notices) log.error(notice, "store-opened");
  let drain = () => Promise.resolve();
  cleanUp.add(async () => {
    await drain();
    await store.close();
  });
  const shared = makeSharedState(settings, machine);
  const state = store.load();
  const { baseMs, startSeconds } = startTimeBase(state, machine.wallClockMs());
  const startMs = machine.monotonicMs();
  const nowSeconds = () => startSeconds + Math.floor((machine.monotonicMs() - startMs) / 1000);
  shared.control.setNowSeconds(startSeconds);
  const settled: Stage["settled"] = new Set();
  const mapper: Mapper = new Mapper({
    config: {
      encodeNet: settings.encodeNet,
      ownEncoded: ownEncodedAddress(settings.encodeNet),
      publicAddress: settings.publicAddress,
      gatewayReference: settings.gatewayReference,
    },
    table: shared.addresses,
    random: machine.random,
    nowSeconds,
    timeBaseMs: baseMs,
    onChangesWaiting: () => committer.kick(),
    onSettled: (token, isStored) => {
      for (const tell of settled) tell(token, isStored);
    },
    onEvent: ({ level, kind, text }) => log[level](text, `mapper-${kind}`),
  });
  const committer = new Committer(store, () => mapper);
  mapper.restore(state);
  drain = () => committer.drain();
  return { settings, machine, log, cleanUp, shared, mapper, nowSeconds, fail, settled };
}

function openStore(settings: GatewaySettings, machine: Machine): OpenedStore {
  const { dataFolder, localVersion, tunnelVersion } = settings;
  const opened = machine.openStore(dataFolder, localVersion, tunnelVersion);
  const mismatch = storeMismatch(opened.store.load(), localVersion, tunnelVersion);
  if (mismatch === undefined) return opened;
  void opened.store.close();
  throw new ConfigurationError(
    `Cannot use the mappings in ${dataFolder}: they are of ${mismatch}; ` +
      "choose another -data directory or move them away",
  );
}

/** The configuration is well-formed and cannot work here; exit status 78. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
}

function startHosts({ settings, mapper, machine, log, cleanUp }: Stage): HostsLoader | undefined {
  if (settings.hostsFile === undefined) return undefined;
  const hosts = new HostsLoader(settings.hostsFile, mapper, machine, log);
  cleanUp.add(() => hosts.close());
  hosts.start();
  return hosts;
}

interface Forwarded {
  readonly desk: PacketDesk;
  readonly workers: Forwarding;
  readonly facts: ForwardingFacts;
}

/** Tunnel socket, TUN device and workers: steps 8 to 10 of spec/mapper.md 7.2. */
async function startForwarding(stage: Stage): Promise<Forwarded> {
  const { settings, machine, log, cleanUp, shared, mapper, nowSeconds } = stage;
  const interfaceMtuBytes = findInterfaceMtu(settings, machine, log);
  const tunnel = machine.openTunnel(
    settings.bind,
    settings.port,
    settings.offloads,
    settings.lanes,
  );
  cleanUp.add(() => tunnel.close());
  const ownEncoded = ownEncodedAddress(settings.encodeNet);
  const mtuBytes = tunMtuBytes(interfaceMtuBytes, settings.localVersion, settings.tunnelVersion);
  const seed = machine.random.word();
  const tun = machine.openTun({
    address: ownEncoded,
    prefixBits: settings.encodeNet.bits,
    mtuBytes,
    offloads: settings.offloads,
    queues: settings.lanes,
    side: { seed },
  });
  cleanUp.add(() => tun.close());
  if (tun.known) shared.addresses.publishKnown(new KnownAddresses(tun.known, seed));
  for (const warning of tun.warnings) log.warning(warning, "device-setting");
  const desk = new PacketDesk({
    ...{ settings, ownEncoded, interfaceMtuBytes, shared, tunnel, tun, machine, log, nowSeconds },
    lookup: mapper,
  });
  stage.settled.add((_token, isStored) => {
    if (isStored) desk.retryWaiting();
    else desk.refuseWaiting();
  });
  cleanUp.add(() => stage.settled.clear());
  const forwarding = await machine.startForwarding({
    memory: shared.memory,
    plan: shared.plan,
    settings: {
      localVersion: settings.localVersion,
      tunnelVersion: settings.tunnelVersion,
      decrementTtl: settings.decrementTtl,
      // With -trace every packet takes the slow path, where it is shown.
      carriesTcp: !settings.isTraced,
      carriesUdp: !settings.isTraced,
      carriesIcmp: !settings.isTraced,
    },
    offloads: { ...tun.offloads, ...tunnel.offloads },
    localMssMax: mssMax(settings, interfaceMtuBytes),
    coalesceUs: settings.coalesceUs,
    tun,
    tunnel,
    onPacket: (item) => desk.take(item),
    onFailure: stage.fail,
  });
  cleanUp.add(() => forwarding.stop());
  log.info(`tun device ${tun.name} ${formatIp(ownEncoded)}, mtu ${mtuBytes}`, "device");
  if (settings.lanes > 1) log.info(`lanes: ${settings.lanes}`, "lanes");
  const offloads = { ...tun.offloads, ...tunnel.offloads };
  describeOffloads(settings.offloads, offloads, log);
  const facts = { tunName: tun.name, tunMtuBytes: mtuBytes, interfaceMtuBytes, offloads };
  return { desk, workers: forwarding, facts };
}

/** Which offloads are in use, and which ones the kernel has refused. */
function describeOffloads(asked: Offloads, used: Offloads, log: Log): void {
  log.info(`offloads in use: ${formatOffloads(used)}`, "offloads");
  const refused = OFFLOAD_NAMES.filter((name) => asked[name] && !used[name]);
  const text = `offloads that this kernel refuses: ${refused.join(" ")}`;
  if (refused.length > 0) log.warning(text, "offloads");
}

/** spec/mapper.md 7.1, -gateway-ifc-mtu. */
function findInterfaceMtu(settings: GatewaySettings, machine: Machine, log: Log): number {
  if (settings.interfaceMtuBytes > 0) return settings.interfaceMtuBytes;
  const address = isUnspecified(settings.bind) ? settings.publicAddress : settings.bind;
  const found = isUnspecified(address) ? undefined : machine.interfaceMtu(address);
  if (found !== undefined) return found;
  log.warning(
    `public interface not found by ${formatIp(address)}; assuming an MTU of ` +
      `${INTERFACE_MTU_DEFAULT} (-gateway-ifc-mtu sets another)`,
    "interface-mtu",
  );
  return INTERFACE_MTU_DEFAULT;
}

/** The clock of the tables and all that is done once a second; the samples that it takes. */
function startTick(stage: Stage, desk: PacketDesk | undefined, health: GatewayHealth): RateSampler {
  const { machine, cleanUp, shared, mapper, nowSeconds, log } = stage;
  const { totals, peerTotals } = shared;
  const peers = () => desk?.remoteGateways() ?? [];
  const rates = new RateSampler({ totals, peerTotals, peers });
  let isTold = false;
  /** A worker may find out later that the device refuses what the socket has taken. */
  const tellRefusedGroups = (): void => {
    if (isTold || shared.totals.total("send-groups-off") === 0) return;
    isTold = true;
    const text = "the network device refuses grouped datagrams (gso): they are now sent singly";
    log.warning(text, "offloads");
  };
  const timer = machine.every(TICK_MS, () => {
    const now = nowSeconds();
    shared.control.setNowSeconds(now);
    mapper.sweep();
    desk?.housekeeping();
    rates.tick(machine.monotonicMs());
    health.noteTick();
    tellRefusedGroups();
    log.flush();
    log.tick("timer", `tick ${now}`);
  });
  cleanUp.add(() => timer.close());
  return rates;
}

/** Health of the gateway; it hears of the store and of the ticks. */
function makeHealth(
  { settings, machine, settled }: Stage,
  forwarding: Forwarded | undefined,
  hosts: HostsLoader | undefined,
): GatewayHealth {
  const workers = forwarding?.workers;
  const health = new GatewayHealth({
    probe: workers && ((timeoutMs) => workers.probe(timeoutMs)),
    monotonicMs: () => machine.monotonicMs(),
    tickMs: TICK_MS,
    readiness: () => [
      okCheck("device", forwarding?.facts.tunName ?? "none in -devmode"),
      okCheck("tunnel socket", workers ? `port ${settings.port}` : "none in -devmode"),
      okCheck("mapper socket", settings.mapperSocket),
      hosts?.health ?? okCheck("hosts file", "none"),
    ],
  });
  settled.add((_token, isStored) => health.noteStored(isStored));
  return health;
}

function startSocket(stage: Stage): MapperSocket {
  const { settings, machine, log, mapper, cleanUp, settled } = stage;
  const socket = startMapperSocket({ settings, machine, log, mapper });
  settled.add((token, isStored) => socket.settled(token, isStored));
  cleanUp.add(() => socket.close());
  return socket;
}

/** The control socket; a gateway that cannot have it forwards all the same. */
async function startControl(stage: Stage, routes: ControlRoutes): Promise<void> {
  const { settings, machine, log, cleanUp } = stage;
  const { controlSocket: path, controlGroup } = settings;
  if (path === undefined) return;
  try {
    const server = await machine.serveControl(path, controlGroup, routes);
    cleanUp.add(() => server.close());
    log.info(`control socket ${path}`, "control-socket");
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    log.warning(`no control socket: ${reason}`, "control-refused");
  }
}

function describe({ settings, log }: Stage): void {
  const pub = isUnspecified(settings.publicAddress) ? "unknown" : formatIp(settings.publicAddress);
  log.info(
    `gateway ${pub} + ${formatReference(settings.gatewayReference)}, bound to ` +
      `${formatIp(settings.bind)} port ${settings.port}, encode net ` +
      `${formatPrefix(settings.encodeNet)}`,
    "gateway",
  );
  log.info(`mapper socket ${settings.mapperSocket}`, "mapper-socket");
}
