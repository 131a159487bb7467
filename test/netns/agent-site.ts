/** One machine in a namespace: gateway, name servers of three makes, local names, DNS agents. */

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { formatIp, parseIp } from "../../src/base/ip.js";
import { buildGetEaRequest, readGetEaReply } from "../../src/dns/mapper-client-message.js";
import { Reactor } from "../../src/platform/reactor.js";
import { connectSeqpacket } from "../../src/platform/seqpacket.js";
import { repositoryRoot, stopProcess } from "../../src/programs/demo/gateway-process.js";
import { knotServer } from "../../src/programs/demo/home-servers.js";
import { Namespaces, waitFor } from "../../src/programs/demo/namespaces.js";
import { nsdServer } from "../support/name-servers.js";

export const GATEWAY = "198.51.100.1";
export const KEY_TEXT =
  'key "transfer" { algorithm hmac-sha256; secret "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="; };\n';
export const KEY_512_TEXT =
  'key "strong" { algorithm hmac-sha512; secret "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="; };\n';
const START_TIMEOUT_MS = 20_000;

/** A running program and its log. */
export interface Program {
  readonly child: ChildProcess;
  log(): string;
  until(pattern: RegExp, timeoutMs?: number): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<number | string>;
}

/** A zone file: SOA, NS, and the given lines. */
export function zoneText(serial: number, lines: readonly string[]): string {
  const soa = `@ IN SOA ns.invalid. hostmaster.invalid. ${serial} 3600 600 86400 300`;
  return `$TTL 300\n${[soa, "@ IN NS ns.invalid.", ...lines].join("\n")}\n`;
}

/** A TXT line that publishes a host. */
export function published(label: string, reference: string): string {
  return `${label} IN TXT "AA ${GATEWAY} + ${reference}"`;
}

export class AgentSite {
  readonly namespaces = new Namespaces();
  readonly reactor = new Reactor();
  namespace = "";
  #serial = 0;

  get socketPath(): string {
    return join(this.namespaces.directory, "mapper.sock");
  }

  /** Makes the namespace and starts the gateway. */
  async start(): Promise<void> {
    this.namespace = await this.namespaces.add("site");
    await this.namespaces.ip(this.namespace, [
      "link add pub type veth peer name far",
      `address add ${GATEWAY}/24 dev pub`,
      "link set pub up",
      "link set far up",
    ]);
    writeFileSync(join(this.namespaces.directory, "hosts"), "");
    const gateway = this.spawn("bin/ipref-gw", [
      ...["-gateway", GATEWAY, "-encode-net", "10.240.0.0/12"],
      ...["-data", this.namespaces.subdirectory("data"), "-mapper-socket", this.socketPath],
      ...["-hosts", join(this.namespaces.directory, "hosts")],
    ]);
    const isUp = await waitFor(() => existsSync(this.socketPath) || undefined, START_TIMEOUT_MS);
    assert.ok(isUp, gateway.log());
  }

  async destroy(): Promise<void> {
    await this.namespaces.destroy();
    this.reactor.close();
  }

  /** A new folder for files of one program. */
  folder(name: string): string {
    return this.namespaces.subdirectory(`${name}-${++this.#serial}`);
  }

  /** Starts a program; a relative path is one of the repository. */
  spawn(command: string, args: readonly string[]): Program {
    const path = command.includes("/") ? join(repositoryRoot(), command) : command;
    const logPath = join(this.folder("log"), "log");
    const child = this.namespaces.spawn(this.namespace, path, args, { logPath });
    const log = () => (existsSync(logPath) ? readFileSync(logPath, "utf8") : "");
    return {
      child,
      log,
      stop: (signal = "SIGTERM") => stopProcess(child, signal),
      async until(pattern, timeoutMs = START_TIMEOUT_MS) {
        const isThere = await waitFor(() => pattern.test(log()) || undefined, timeoutMs);
        assert.ok(isThere, `no ${pattern} in the log of ${command}:\n${log().slice(-4000)}`);
      },
    };
  }

  /** Starts an agent that asks the local names at 127.0.0.1:5300. */
  agent(...args: readonly string[]): Program {
    const standard = ["-m", `unix://${this.socketPath}`, "-local-resolver", "127.0.0.1:5300"];
    return this.spawn("bin/dns-agent", [...standard, "-t", "1", ...args]);
  }

  /** Local address that the gateway has for a published reference; undefined when it has none. */
  localAddress(reference: bigint): Promise<string | undefined> {
    const request = buildGetEaRequest(parseIp(GATEWAY)!, reference, "probe.", 4);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the gateway does not answer")), 5000);
      const connection = connectSeqpacket(this.reactor, this.socketPath, {
        onMessages: (_, messages) => {
          clearTimeout(timer);
          const reply = readGetEaReply(messages[0]!.bytes, request);
          resolve(reply.kind === "address" ? formatIp(reply.address) : undefined);
          connection.close();
        },
      });
      connection.send(request);
    });
  }

  /** Waits until a reference has this local address, or none. */
  async untilAddress(
    reference: number,
    address: string | undefined,
    timeoutMs = START_TIMEOUT_MS,
    agent?: Program,
  ): Promise<void> {
    const isSo = await waitFor(
      async () => (await this.localAddress(BigInt(reference))) === address || undefined,
      timeoutMs,
      200,
    );
    assert.ok(isSo, `reference ${reference} does not become ${address}\n${agent?.log() ?? ""}`);
  }
}

/** Zones of a server: text by name; the key that transfers need, "" for none. */
export interface ServedZone {
  readonly text: string;
  readonly key?: string;
}

export type ServedZones = Readonly<Record<string, ServedZone>>;

function writeZones(folder: string, zones: ServedZones): void {
  for (const [zone, { text }] of Object.entries(zones)) {
    writeFileSync(join(folder, `${zone}.zone`), text);
  }
}

/** Secrets of the key files above, without the syntax of BIND. */
const SECRET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/** A running Knot DNS and its folder. */
export interface Knot extends Program {
  readonly folder: string;
  /** Writes a zone and has it loaded. */
  change(zone: string, text: string): Promise<void>;
}

/** Starts Knot DNS; changes are sent as NOTIFY to port `notifyPort`. */
export async function startKnot(
  site: AgentSite,
  port: number,
  zones: ServedZones,
  options: { readonly notifyPort?: number } = {},
): Promise<Knot> {
  const folder = site.folder("knot");
  writeZones(folder, zones);
  const notify = options.notifyPort === undefined ? "" : "    notify: agent\n";
  const list = Object.entries(zones).map(
    ([zone, { key }]) =>
      `  - domain: ${zone}\n    file: ${folder}/${zone}.zone\n    zonefile-load: difference\n` +
      `    journal-content: all\n    acl: ${key || "open"}\n${notify}`,
  );
  writeFileSync(
    join(folder, "knot.conf"),
    `${knotServer(folder, [`127.0.0.1@${port}`, `::1@${port}`])}key:
  - id: transfer
    algorithm: hmac-sha256
    secret: ${SECRET}
  - id: strong
    algorithm: hmac-sha512
    secret: ${SECRET}
remote:
  - id: agent
    address: 127.0.0.1@${options.notifyPort ?? 9}
acl:
  - id: open
    address: [127.0.0.1, "::1"]
    action: transfer
  - id: transfer
    key: transfer
    action: transfer
  - id: strong
    key: strong
    action: transfer
zone:
${list.join("")}`,
  );
  const configuration = join(folder, "knot.conf");
  const program = site.spawn("knotd", ["-c", configuration]);
  await program.until(/server started/);
  return {
    ...program,
    folder,
    async change(zone, text) {
      writeFileSync(join(folder, `${zone}.zone`), text);
      const args = ["-c", configuration, "zone-reload", zone];
      const result = await site.namespaces.exec(site.namespace, "knotc", args);
      assert.equal(result.code, 0, result.stderr);
    },
  };
}

/** Starts BIND as primary. */
export async function startBind(
  site: AgentSite,
  port: number,
  zones: ServedZones,
): Promise<Program> {
  const folder = site.folder("bind");
  writeZones(folder, zones);
  const list = Object.entries(zones).map(([zone, { key }]) => {
    const who = key ? `key "${key}"` : "127.0.0.1";
    const file = `file "${folder}/${zone}.zone"`;
    return `zone "${zone}" { type primary; ${file}; allow-transfer { ${who}; }; };\n`;
  });
  writeFileSync(
    join(folder, "named.conf"),
    `${KEY_TEXT}${KEY_512_TEXT}options {
  directory "${folder}";
  pid-file none;
  session-keyfile none;
  recursion no;
  notify no;
  listen-on port ${port} { 127.0.0.1; };
  listen-on-v6 { none; };
  dnssec-validation no;
};
controls { };
${list.join("")}`,
  );
  const program = site.spawn("named", ["-g", "-c", join(folder, "named.conf"), "-n", "1"]);
  await program.until(/running/);
  return program;
}

/** Starts NSD as primary. */
export async function startNsd(
  site: AgentSite,
  port: number,
  zones: ServedZones,
): Promise<Program> {
  const folder = site.folder("nsd");
  writeZones(folder, zones);
  const key = (name: string, algorithm: string) =>
    `key:\n  name: "${name}"\n  algorithm: ${algorithm}\n  secret: "${SECRET}"\n`;
  const list = Object.entries(zones).map(
    ([zone, { key: keyName }]) =>
      `zone:\n  name: "${zone}"\n  zonefile: "${folder}/${zone}.zone"\n` +
      `  provide-xfr: 127.0.0.1 ${keyName || "NOKEY"}\n`,
  );
  writeFileSync(
    join(folder, "nsd.conf"),
    `${nsdServer(folder, `127.0.0.1@${port}`)}${key("transfer", "hmac-sha256")}${key("strong", "hmac-sha512")}${list.join("")}`,
  );
  const program = site.spawn("nsd", ["-d", "-c", join(folder, "nsd.conf")]);
  await program.until(/nsd started/);
  return program;
}
