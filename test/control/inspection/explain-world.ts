/** A gateway in memory with two published mappings, and questions to its control socket. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { toHex } from "../../../src/base/hex.js";
import { formatIp, parseIp } from "../../../src/base/ip.js";
import { type Gateway, startGateway } from "../../../src/control/gateway.js";
import { type GatewaySettings, parseGatewayFlags } from "../../../src/control/gateway-flags.js";
import type { ControlReply } from "../../../src/control/inspection/api.js";
import type {
  ExplainFlow,
  ExplainQuestion,
  ExplainReport,
  WhoReport,
} from "../../../src/control/inspection/explain-report.js";
import { Log } from "../../../src/control/log.js";
import { STORE_SHELVES, type StoreShelf } from "../../../src/mapper/store.js";
import { RING_FROM_LOCAL, RING_FROM_TUNNEL } from "../../../src/tables/packet-ring.js";
import { FakeMachine, settle } from "../fake-machine.js";

export const REMOTE_GATEWAY = "203.0.113.1";
export const PUBLIC_ADDRESS = "198.51.100.1";
const HOSTS = {
  4: "10.1.0.22 web #= pub + 1025\n10.240.0.22 web.example #= ext 203.0.113.1 + 1025\n",
  6: "2001:db8:1::22 web #= pub + 1025\nfd00:240::22 web.example #= ext 203.0.113.1 + 1025\n",
};
const ENCODE_NETS = { 4: "10.240.0.0/12", 6: "fd00:240::/64" };

/** What a world is made of; the defaults are two published mappings. */
export interface WorldSettings {
  readonly hosts: string;
  readonly encodeNet: string;
}

/** The usual mappings for a local network of this version. */
export function usualWorld(version: 4 | 6): WorldSettings {
  return { hosts: HOSTS[version], encodeNet: ENCODE_NETS[version] };
}

/** A running gateway over a machine in memory. */
export class ExplainWorld {
  readonly machine = new FakeMachine();
  readonly #settings: WorldSettings;
  gateway!: Gateway;

  constructor(settings: WorldSettings = usualWorld(4)) {
    this.#settings = settings;
  }

  async start(...flags: string[]): Promise<this> {
    this.machine.file = { kind: "text", text: this.#settings.hosts };
    const fixed = ["-gateway", PUBLIC_ADDRESS, "-hosts", "/h", "-mapper-socket", "/s"];
    const encodeNet = ["-encode-net", this.#settings.encodeNet];
    const parsed = parseGatewayFlags([...fixed, ...encodeNet, ...flags]);
    assert.ok(parsed.kind === "settings");
    const settings = this.changed(parsed.settings);
    const log = new Log({ ...settings, write: () => {}, nowMs: () => 0 });
    this.gateway = await startGateway(settings, this.machine, log);
    await settle();
    return this;
  }

  /** Settings that no flag can ask for. */
  protected changed(settings: GatewaySettings): GatewaySettings {
    return settings;
  }

  /** A packet that an egress worker hands over. */
  fromLocal(packet: Uint8Array): void {
    const address = parseIp("0.0.0.0")!;
    const item = { kind: RING_FROM_LOCAL, address, port: 0, typeOfService: 0, packet } as const;
    this.machine.forwarding!.onPacket(item);
  }

  /** A datagram that an ingress worker hands over. */
  fromTunnel(packet: Uint8Array, from = REMOTE_GATEWAY, port = 1045): void {
    const address = parseIp(from)!;
    const item = { kind: RING_FROM_TUNNEL, address, port, typeOfService: 0, packet } as const;
    this.machine.forwarding!.onPacket(item);
  }

  /** Drops since the start, by name. */
  drops(): Map<string, number> {
    const found = new Map<string, number>();
    for (const line of this.gateway.status()) {
      const match = /^dropped ([a-z0-9-]+): ([0-9]+)/.exec(line);
      if (match !== null) found.set(match[1]!, Number(match[2]));
    }
    return found;
  }

  async ask(method: string, path: string, body: string): Promise<ControlReply> {
    const [name, search = ""] = path.split("?");
    const handler = this.machine.controlRoutes.get(`${method} ${name}`);
    assert.ok(handler, `${method} ${name}`);
    return await handler({
      method,
      path: name!,
      query: new URLSearchParams(search),
      body: new TextEncoder().encode(body),
      caller: { pid: 1, uid: 0, gid: 0 },
      signal: new AbortController().signal,
    });
  }

  async explain(question: ExplainQuestion): Promise<ExplainReport> {
    const reply = await this.ask("POST", "/explain", JSON.stringify(question));
    assert.equal(reply.status, 200, String(reply.body));
    return JSON.parse(String(reply.body)) as ExplainReport;
  }

  /** A refused question: status and sentence. */
  async refusal(question: unknown): Promise<string> {
    const reply = await this.ask("POST", "/explain", JSON.stringify(question));
    const { error } = JSON.parse(String(reply.body)) as { error: string };
    return `${reply.status} ${error}`;
  }

  async who(address: string): Promise<WhoReport> {
    const reply = await this.ask("GET", `/who?${new URLSearchParams({ address })}`, "");
    assert.equal(reply.status, 200, String(reply.body));
    return JSON.parse(String(reply.body)) as WhoReport;
  }

  /** Everything that can be seen of the gateway, as one hash: memory, store, outputs. */
  digest(): string {
    const hash = createHash("sha256");
    const { forwarding, sent, written, store, events } = this.machine;
    const { memory, plan } = forwarding!;
    // Up to the records in use, and all that lies before them.
    hash.update(new Uint8Array(memory, 0, plan.addressesOffset + 64 * 4096));
    for (const { destination, port, payload } of sent) {
      hash.update(`${formatIp(destination)} ${port} ${toHex(payload)}\n`);
    }
    for (const packet of written) hash.update(`${toHex(packet)}\n`);
    hash.update(events.join());
    for (const shelf of STORE_SHELVES) hash.update(dump(store, shelf));
    hash.update(this.gateway.status().join("\n"));
    return hash.digest("hex");
  }
}

function dump(store: FakeMachine["store"], shelf: StoreShelf): string {
  const entries = [...store.load().entries(shelf)];
  return entries.map(({ key, value }) => `${shelf} ${key} ${toHex(value)}`).join("\n");
}

/** A flow with the usual values. */
export function flow(
  source: string,
  destination: string,
  more: Partial<ExplainFlow> = {},
): ExplainFlow {
  const usual = { protocol: 6, port: 443, sourcePort: 49_152, df: true, syn: true };
  return { source, destination, ...usual, ...more };
}

/** A report as lines, as the command prints them without colours. */
export function linesOf({ packet, steps, verdict }: ExplainReport): string[] {
  const marks = { ok: "+", note: ".", drop: "x" } as const;
  return [
    packet,
    ...steps.map(({ title, result, text }) => `${marks[result]} ${title}: ${text}`),
    verdict.text,
    ...(verdict.told === undefined ? [] : [verdict.told]),
  ];
}
