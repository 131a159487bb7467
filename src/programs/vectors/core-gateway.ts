/**
 * The gateway under test: the real slow path, translation, remote gateways, mapper and mapper socket
 * service over memory instead of a kernel and a disk, with clocks and randomness of its own.
 */

import type { DropReason } from "../../base/drop-reason.js";
import { type IpAddress, sameAddress } from "../../base/ip.js";
import { seededRandom } from "../../base/random.js";
import { MapperService } from "../../broker/mapper-service.js";
import { RemoteGateways } from "../../forward/remote-gateways.js";
import { SlowPath } from "../../forward/slow-path.js";
import { PeerTableWriter, peerTableBytes } from "../../tables/peer-table.js";
import { DEFAULT_PROTOCOLS } from "../../translate/settings.js";
import type { Output, Played } from "./played.js";
import type { Answer, TestGateway } from "./test-gateway.js";
import type { VectorConfig } from "./vector-file.js";
import { startVectorMapper } from "./vector-mapper.js";

const SEED = 1;
const PEERS_MAX = 64;
const LOCAL_HOSTS_MAX = 64;
/** Path MTU of a tunnel whose vector names none (spec/tunnel.md 7.1). */
const DEFAULT_PATH_MTU = 65_535;

/** Starts a gateway with the mappings of a configuration. */
export function startCoreGateway(config: VectorConfig): TestGateway {
  let outputs: Output[] = [];
  let drops: DropReason[] = [];
  let answers: Answer[] = [];
  let nowSeconds = 1000;
  const memory = new ArrayBuffer(peerTableBytes(PEERS_MAX));
  const random = seededRandom(SEED);
  const { mapper, settle } = startVectorMapper({
    config,
    random,
    nowSeconds: () => nowSeconds,
    onSettled: (token, isStored) => {
      service.settled(token, isStored);
      slowPath.retryWaiting();
    },
  });
  const service = new MapperService({
    mapper,
    versions: { local: config.local_version, tunnel: config.tunnel_version },
    nowMs: () => nowSeconds * 1000,
    reply: (connection, bytes) => void answers.push({ connection, message: bytes.slice() }),
    onComplaint: () => undefined,
  });
  const slowPath = new SlowPath({
    settings: {
      localVersion: config.local_version,
      tunnelVersion: config.tunnel_version,
      encodeNet: config.ea_net,
      ownEncoded: config.ea_ip,
      gatewayReference: config.gw_ref,
      decrementTtl: config.dec_ttl,
      protocols: DEFAULT_PROTOCOLS,
      dropCongestionMarks: false,
    },
    publicAddress: config.gw_pub,
    lookup: mapper,
    remotes: new RemoteGateways({
      table: new PeerTableWriter(memory, 0, PEERS_MAX),
      defaultPort: config.remote_gw_port,
      pathMtu: () => config.tunnel_mtu ?? DEFAULT_PATH_MTU,
    }),
    output: {
      sendTunnel(destination, port, packet) {
        outputs.push({ side: "tunnel", bytes: packet.slice(), destination, port });
        return "sent";
      },
      writeLocal(packet) {
        outputs.push({ side: "local", bytes: packet.slice() });
        return true;
      },
      drop: (reason) => void drops.push(reason),
    },
    random,
    tunnelPort: config.gw_port,
    localHostsMax: LOCAL_HOSTS_MAX,
    isOwnAddress: (address: IpAddress) => sameAddress(address, config.gw_pub),
    nowMs: () => nowSeconds * 1000,
    nowSeconds: () => nowSeconds,
  });
  return {
    fromLocal: (packet) => slowPath.fromLocal(packet),
    fromTunnel: (datagram, source, port) => slowPath.fromTunnel(datagram, source, port),
    fromClient: (connection, message) => service.handle(connection, message),
    settle,
    advance: (seconds) => {
      nowSeconds += seconds;
      mapper.sweep();
    },
    take(): Played {
      const played = { outputs, drops };
      outputs = [];
      drops = [];
      return played;
    },
    takeAnswers() {
      const taken = answers;
      answers = [];
      return taken;
    },
  };
}
