/** The machine that the gateway runs on: joins the platform layer to the ports of control. */

import { readFileSync } from "node:fs";
import type {
  ClientConnection,
  ClientHandlers,
  Closable,
  FileText,
  Machine,
  TunInterface,
  TunnelSocket,
} from "../control/ports.js";
import { VNET_HEADER_BYTES } from "../forward/ports.js";
import { monotonicMs, wallClockMs } from "../platform/clock.js";
import { startControlServer } from "../platform/control-server.js";
import { FileWatch } from "../platform/file-watch.js";
import * as libc from "../platform/libc.js";
import { allocateMemory } from "../platform/memory.js";
import { openMonitoringPort } from "../platform/monitoring-port.js";
import { interfaceMtu, listAddresses } from "../platform/network-interfaces.js";
import { processUsage } from "../platform/process-usage.js";
import { systemRandom } from "../platform/random.js";
import type { Reactor } from "../platform/reactor.js";
import { SeqpacketListener } from "../platform/seqpacket.js";
import type { SeqpacketConnection } from "../platform/seqpacket-connection.js";
import { openLmdbStore } from "../platform/store-lmdb.js";
import { openTun } from "../platform/tun.js";
import { openLaneSockets } from "../platform/tunnel-lanes.js";
import { readErrorQueue } from "../platform/udp-errors.js";
import { queryPathMtu, sendTo } from "../platform/udp-socket.js";
import { programVersion } from "../platform/version.js";
import { allocateWasmMemory, type WasmMemory } from "../platform/wasm.js";
import { startForwarding } from "./forwarding.js";
import type { KernelChoice } from "./kernel-choice.js";

/** A full socket buffer is tried again this often before a packet of the slow path is lost. */
const SEND_ATTEMPTS_MAX = 3;
const PACKET_BYTES_MAX = 65_535;

interface WithDescriptors {
  /** One for each lane. */
  readonly fds: readonly number[];
  /** Of the TUN device: its side queue, where there is one. */
  readonly sideFd?: number | undefined;
}

/**
 * The real machine. `reactor` dispatches its events and stays owned by the caller. `kernel` is what
 * the forwarding workers run.
 */
export function systemMachine(reactor: Reactor, kernel: KernelChoice): Machine {
  const memories = new WeakMap<SharedArrayBuffer, WasmMemory>();
  return {
    version: programVersion(),
    kernel: kernel.module === undefined ? "ts" : "wasm",
    random: systemRandom(),
    monotonicMs,
    wallClockMs,
    allocateShared(bytes) {
      const memory = allocateWasmMemory(bytes);
      memories.set(memory.buffer, memory);
      return memory.buffer;
    },
    openStore(directory, encodedVersion, gatewayVersion) {
      const store = openLmdbStore({ directory, encodedVersion, gatewayVersion });
      return { store, notices: store.notices };
    },
    interfaceMtu,
    ownAddresses: () => listAddresses().map(({ address }) => address),
    openTunnel,
    openTun: openTunInterface,
    startForwarding(request) {
      const { fds: tunFds, sideFd } = request.tun as TunInterface & WithDescriptors;
      const tunnelFds = (request.tunnel as TunnelSocket & WithDescriptors).fds;
      const { module } = kernel;
      const memory = memories.get(request.memory)!;
      const wasm = module && { module, memory };
      return startForwarding(request, { tunFds, sideFd, tunnelFds, wasm }, reactor);
    },
    listen: (path, group, handlers) => listen(reactor, path, group, handlers),
    serveControl: (path, group, routes) => startControlServer({ path, group, routes }),
    serveHttp: openMonitoringPort,
    processUsage,
    readText,
    watchFile: (path, onChange) => new FileWatch(path, onChange),
    every,
  };
}

const openTunnel: Machine["openTunnel"] = (bind, port, { gso, gro }, lanes) => {
  const sockets = openLaneSockets({ address: bind, port, joinsDatagrams: gro }, lanes);
  const [socket] = sockets;
  const tunnel: TunnelSocket & WithDescriptors = {
    fds: sockets.map(({ fd }) => fd),
    port: socket.port,
    offloads: { gso, gro: socket.joinsDatagrams },
    send(destination, destinationPort, payload) {
      for (let attempt = 0; attempt < SEND_ATTEMPTS_MAX; attempt++) {
        const result = sendTo(socket.fd, payload, destination, destinationPort);
        if (result.ok) return "sent";
        if (result.code === "EMSGSIZE") return "too-big";
      }
      return "failed";
    },
    pathMtu: (destination) => queryPathMtu(bind, destination, port),
    takeErrors: () => sockets.flatMap(({ fd }) => readErrorQueue(fd)),
    close() {
      for (const each of sockets) each.close();
    },
  };
  return tunnel;
};

const openTunInterface: Machine["openTun"] = (request) => {
  const device = openTun(request);
  // An empty device header: the packet is ordinary and its checksum complete.
  const headerBytes = device.offloads.csum ? VNET_HEADER_BYTES : 0;
  const buffer = allocateMemory(headerBytes + PACKET_BYTES_MAX);
  const tun: TunInterface & WithDescriptors = {
    fds: device.queueFds,
    sideFd: device.side?.fd,
    known: device.side?.known,
    name: device.name,
    offloads: device.offloads,
    warnings: device.warnings,
    write(packet) {
      if (packet.length > PACKET_BYTES_MAX) return false;
      buffer.bytes.set(packet, headerBytes);
      const length = headerBytes + packet.length;
      return libc.write(device.fd, buffer.address, length) === length;
    },
    close: () => device.close(),
  };
  return tun;
};

function listen(
  reactor: Reactor,
  path: string,
  group: string | undefined,
  handlers: ClientHandlers,
): Closable {
  const clients = new Map<SeqpacketConnection, ClientConnection>();
  let nextId = 1;
  return new SeqpacketListener(reactor, group === undefined ? { path } : { path, group }, {
    onConnect(connection) {
      const client: ClientConnection = {
        id: nextId++,
        credentials: connection.peer,
        send: (message) => void connection.send(message),
        close: () => connection.close(),
      };
      clients.set(connection, client);
      handlers.onConnect(client);
    },
    onMessages(connection, messages) {
      const client = clients.get(connection)!;
      for (const { bytes, isTruncated } of messages) {
        if (connection.isClosed) return;
        handlers.onMessage(client, bytes, isTruncated);
      }
    },
    onClose(connection, reason) {
      const client = clients.get(connection)!;
      clients.delete(connection);
      handlers.onClose(client, reason);
    },
  });
}

function readText(path: string): FileText {
  try {
    return { kind: "text", text: readFileSync(path, "utf8") };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    return code === "ENOENT" || code === "ENOTDIR"
      ? { kind: "missing" }
      : { kind: "unreadable", reason: code };
  }
}

function every(intervalMs: number, work: () => void): Closable {
  const timer = setInterval(work, intervalMs);
  return { close: () => clearInterval(timer) };
}
