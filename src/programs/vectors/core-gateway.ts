/**
 * The gateway under test: the real slow path, translation, remote gateways, mapper and mapper
 * socket service over memory instead of a kernel and a disk, with clocks and randomness of its own.
 */

import type { DropReason } from "../../base/drop-reason.js";
import { type IpAddress, sameAddress } from "../../base/ip.js";
import { seededRandom } from "../../base/random.js";
import { MapperService } from "../../broker/mapper-service.js";
import { RemoteGateways } from "../../forward/remote-gateways.js";
import { SlowPath } from "../../forward/slow-path.js";
import type { SlowPathOutput } from "../../forward/slow-path-options.js";
import { PeerTableWriter, peerTableBytes } from "../../tables/peer-table.js";
import { DEFAULT_PROTOCOLS, type TranslationSettings } from "../../translate/settings.js";
import type { Output, Played } from "./played.js";
import type { Answer, TestGateway } from "./test-gateway.js";
import type { VectorConfig } from "./vector-file.js";
import { startVectorMapper, type VectorMapper } from "./vector-mapper.js";

const SEED = 1;
const PEERS_MAX = 64;
const LOCAL_HOSTS_MAX = 64;
/** Path MTU of a tunnel whose vector names none: no packet is too large (spec/tunnel.md 7.5). */
const DEFAULT_PATH_MTU = 65_535;
/** Mapper seconds at the start. */
const START_SECONDS = 1000;

/** Starts a gateway with the mappings of a configuration. */
export function startCoreGateway(config: VectorConfig): TestGateway {
  return new CoreGateway(config);
}

class CoreGateway implements TestGateway {
  readonly #vectorMapper: VectorMapper;
  readonly #service: MapperService;
  readonly #slowPath: SlowPath;
  #outputs: Output[] = [];
  #drops: DropReason[] = [];
  #answers: Answer[] = [];
  #seconds = START_SECONDS;

  constructor(config: VectorConfig) {
    const random = seededRandom(SEED);
    const nowSeconds = () => this.#seconds;
    this.#vectorMapper = startVectorMapper({
      config,
      random,
      nowSeconds,
      onSettled: (token, isStored) => {
        this.#service.settled(token, isStored);
        this.#slowPath.retryWaiting();
      },
    });
    this.#service = new MapperService({
      mapper: this.#vectorMapper.mapper,
      versions: { local: config.local_version, tunnel: config.tunnel_version },
      nowMs: () => this.#seconds * 1000,
      reply: (connection, bytes) => {
        this.#answers.push({ connection, message: bytes.slice() });
      },
      onComplaint: () => undefined,
    });
    this.#slowPath = new SlowPath({
      settings: translationSettings(config),
      publicAddress: config.gw_pub,
      lookup: this.#vectorMapper.mapper,
      remotes: emptyDirectory(config),
      output: this.#slowPathOutput(),
      random,
      tunnelPort: config.gw_port,
      localHostsMax: LOCAL_HOSTS_MAX,
      isOwnAddress: (address) => sameAddress(address, config.gw_pub),
      onNarrowPaths: () => undefined,
      nowMs: () => this.#seconds * 1000,
      nowSeconds,
    });
  }

  #slowPathOutput(): SlowPathOutput {
    return {
      sendTunnel: (destination, port, packet) => {
        this.#outputs.push({ side: "tunnel", bytes: packet.slice(), destination, port });
        return "sent";
      },
      writeLocal: (packet) => {
        this.#outputs.push({ side: "local", bytes: packet.slice() });
        return true;
      },
      drop: (reason) => {
        this.#drops.push(reason);
      },
    };
  }

  fromLocal(packet: Uint8Array): void {
    this.#slowPath.fromLocal(packet);
  }

  fromTunnel(datagram: Uint8Array, source: IpAddress, sourcePort: number): void {
    this.#slowPath.fromTunnel(datagram, source, sourcePort);
  }

  fromClient(connection: number, message: Uint8Array): void {
    this.#service.handle(connection, message);
  }

  settle(): Promise<void> {
    return this.#vectorMapper.settle();
  }

  advance(seconds: number): void {
    this.#seconds += seconds;
    this.#vectorMapper.mapper.sweep();
  }

  take(): Played {
    const played = { outputs: this.#outputs, drops: this.#drops };
    this.#outputs = [];
    this.#drops = [];
    return played;
  }

  takeAnswers(): readonly Answer[] {
    const answers = this.#answers;
    this.#answers = [];
    return answers;
  }
}

function translationSettings(config: VectorConfig): TranslationSettings {
  return {
    localVersion: config.local_version,
    tunnelVersion: config.tunnel_version,
    encodeNet: config.ea_net,
    ownEncoded: config.ea_ip,
    gatewayReference: config.gw_ref,
    decrementTtl: config.dec_ttl,
    protocols: DEFAULT_PROTOCOLS,
    dropCongestionMarks: false,
  };
}

function emptyDirectory(config: VectorConfig): RemoteGateways {
  return new RemoteGateways({
    table: new PeerTableWriter(new ArrayBuffer(peerTableBytes(PEERS_MAX)), 0, PEERS_MAX),
    defaultPort: config.remote_gw_port,
    pathMtu: () => config.tunnel_mtu ?? DEFAULT_PATH_MTU,
  });
}
