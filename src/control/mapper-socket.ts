/**
 * The mapper socket: joins its connections to the mapper's protocol (spec/mapper.md 2). Who may
 * connect is decided by the mode of the socket file; who has connected may resolve and publish.
 */

import { type Complaint, MapperService } from "../broker/mapper-service.js";
import type { Mapper } from "../mapper/mapper.js";
import {
  COMMAND_GET_EA,
  COMMAND_HOST_DATA,
  COMMAND_HOST_DATA_HASH,
  MESSAGE_HEADER_BYTES,
  MODE_MASK,
  MODE_NACK,
  MODE_REQUEST,
  OFFSET_COMMAND,
  setMessageLength,
  setMessageMode,
} from "../wire/mapper-message.js";
import type { GatewaySettings } from "./gateway-flags.js";
import type { Log } from "./log.js";
import type { MapperSocketCounts } from "./metrics/gateway.js";
import type { ClientConnection, Closable, Machine } from "./ports.js";

/** How often replies that wait too long for the store are looked for. */
const EXPIRE_INTERVAL_MS = 50;

/**
 * New mappings a second that one user other than root may cause: more than any resolver needs, and
 * too few to fill the default encode net within a quarter of an hour (spec/mapper.md 8, item 6).
 */
const NEW_PER_USER_RATE = 1000;

/** Faults of -devmode (spec/mapper.md 7.1), in percent. */
const DEVMODE_LOST_PERCENT = { [COMMAND_HOST_DATA]: 30, [COMMAND_HOST_DATA_HASH]: 7 } as const;
const DEVMODE_NACK_PERCENT = 3;

/** Parts of the socket. */
export interface MapperSocketParts {
  readonly settings: GatewaySettings;
  readonly machine: Pick<Machine, "listen" | "random" | "monotonicMs" | "every">;
  readonly log: Log;
  readonly mapper: Mapper;
}

/** Told of a message that has come (`isReceived`) or goes; `message` is borrowed. */
export type MessageTap = (
  message: Uint8Array,
  client: ClientConnection["credentials"],
  isReceived: boolean,
) => void;

/** The open socket. */
export interface MapperSocket extends Closable {
  /** Hears of every message while a capture wants them. */
  tap: MessageTap | undefined;
  /** A batch of the mapper was stored or refused. */
  settled(token: number, isStored: boolean): void;
  /** What has come and gone, for metrics. */
  counts(): MapperSocketCounts;
}

/** Listens and serves. Throws when the path is taken or not accessible. */
export function startMapperSocket(parts: MapperSocketParts): MapperSocket {
  const { settings, machine, log, mapper } = parts;
  const clients = new Map<number, ClientConnection>();
  const messages = { received: 0, sent: 0 };
  const faults = settings.isDevmode ? new DevmodeFaults(machine.random) : undefined;
  const service = new MapperService({
    mapper,
    versions: { local: settings.localVersion, tunnel: settings.tunnelVersion },
    nowMs: () => machine.monotonicMs(),
    reply: (id, bytes) => {
      messages.sent++;
      const client = clients.get(id);
      const sent = faults === undefined ? bytes : faults.reply(bytes);
      client?.send(sent);
      if (client !== undefined) socket.tap?.(sent, client.credentials, false);
    },
    newPerUserRate: NEW_PER_USER_RATE,
    onComplaint: (kind, id, count) => complain(log, clients.get(id), kind, count),
  });
  const listener = machine.listen(settings.mapperSocket, settings.mapperGroup, {
    onConnect(client) {
      clients.set(client.id, client);
      const { uid, pid } = client.credentials;
      service.connected(client.id, { uid, mayResolve: true, mayPublish: true });
      log.debug("mbroker", `client ${client.id} of pid ${pid}, uid ${uid} has connected`);
    },
    onMessage(client, message, isTruncated) {
      messages.received++;
      socket.tap?.(message, client.credentials, true);
      if (faults?.loses(message) === true) return;
      if (log.isTraced) log.trace(`mapper socket, client ${client.id}: ${hex(message)}`);
      service.handle(client.id, message, isTruncated);
      watchHeld();
    },
    onClose(client, reason) {
      clients.delete(client.id);
      service.disconnected(client.id);
      tellClosed(log, client, reason);
    },
  });
  let timer: Closable | undefined;
  /** A timer runs only while replies wait: an idle gateway does nothing. */
  function watchHeld(): void {
    if (timer !== undefined || service.heldCount === 0) return;
    timer = machine.every(EXPIRE_INTERVAL_MS, () => {
      service.expire();
      if (service.heldCount > 0) return;
      timer?.close();
      timer = undefined;
    });
  }
  const socket: MapperSocket = {
    tap: undefined,
    settled: (token, isStored) => service.settled(token, isStored),
    counts: () => ({
      ...messages,
      clients: clients.size,
      held: service.heldCount,
      complaints: service.complaints(),
    }),
    close() {
      timer?.close();
      listener.close();
    },
  };
  return socket;
}

function tellClosed(log: Log, { id }: ClientConnection, reason: string): void {
  if (reason === "send-queue-full") {
    const text = `mapper socket: a client does not read its answers: closed ${id}`;
    log.warning(text, "mapper-client-slow");
  }
  log.debug("mbroker", `client ${id}: ${reason}`);
}

function complain(
  log: Log,
  client: ClientConnection | undefined,
  kind: Complaint,
  count: number,
): void {
  const from = client === undefined ? "a client that is gone" : `pid ${client.credentials.pid}`;
  log.error(`mapper socket: ${kind}, from ${from} (${count} so far)`, "mapper-client-fault");
}

/** Loses messages and refuses requests at random, to test DNS agents. */
class DevmodeFaults {
  readonly #random: Machine["random"];

  constructor(random: Machine["random"]) {
    this.#random = random;
  }

  /** True when a message shall be treated as lost. */
  loses(message: Uint8Array): boolean {
    const command = (message[OFFSET_COMMAND] ?? 0) ^ MODE_REQUEST;
    const percent = DEVMODE_LOST_PERCENT[command as keyof typeof DEVMODE_LOST_PERCENT];
    return percent !== undefined && this.#happens(percent);
  }

  /** The answer, or a refusal in its place. */
  reply(bytes: Uint8Array): Uint8Array {
    if (!this.#happens(DEVMODE_NACK_PERCENT)) return bytes;
    const isEncodedAddress = (bytes[OFFSET_COMMAND]! & ~MODE_MASK) === COMMAND_GET_EA;
    const refusal = isEncodedAddress ? bytes.slice(0, MESSAGE_HEADER_BYTES) : bytes.slice();
    setMessageMode(refusal, MODE_NACK);
    setMessageLength(refusal, refusal.length);
    return refusal;
  }

  #happens(percent: number): boolean {
    return this.#random.word() % 100 < percent;
  }
}

function hex(message: Uint8Array): string {
  return Array.from(message, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
