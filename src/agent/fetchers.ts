/**
 * Places that zone content comes from: a name server (transfer), a zone file, a list of names that
 * are asked for one by one (spec/dns-agent.md 9, 18).
 */

import { addressKey, formatIp, type IpAddress } from "../base/ip.js";
import { parseMasterFile } from "../dns/zone/master-file.js";
import { type Name, parseName } from "../wire/dns/name.js";
import { TYPE_SOA, TYPE_TXT } from "../wire/dns/numbers.js";
import { type ResourceRecord, recordOf } from "../wire/dns/record.js";
import { plainText } from "./candidates.js";
import type { KeyRing } from "./key-file.js";
import type { Fetcher, FetchResult } from "./poller.js";
import type { AgentWorld, StreamOpened, TextAnswer } from "./ports.js";
import type { ServerSpec, SourceSpec } from "./source-spec.js";
import { pollZone } from "./transfer.js";
import type { TsigKey } from "./tsig.js";
import { soaOf, type ZoneCopy, zoneCopyOf } from "./zone-copy.js";

/** The reference waits 2 s (spec/dns-agent.md 3.1). */
const CONNECT_TIMEOUT_MS = 5000;
/** TXT queries at once. */
const QUERIES_AT_ONCE_MAX = 16;

/** What a fetcher of a server knows, for NOTIFY. */
export interface ServerFetcher extends Fetcher {
  readonly key: TsigKey | undefined;
  /** True when the server has this address, as far as is known. */
  hasAddress(address: IpAddress): boolean;
}

/** All places of a source. */
export function fetchersOf(spec: SourceSpec, world: AgentWorld, keys: KeyRing): Fetcher[] {
  const { origin } = spec;
  switch (origin.kind) {
    case "servers":
      return origin.servers.map((server) =>
        serverFetcher(spec, server, world, keyOf(server, keys)),
      );
    case "file":
      return [fileFetcher(spec, origin.path, world)];
    case "names":
      return [namesFetcher(spec, { path: origin.path }, world)];
    default:
      return [namesFetcher(spec, { names: origin.names }, world)];
  }
}

function keyOf(server: ServerSpec, keys: KeyRing): TsigKey | undefined {
  const plain = typeof server.host === "string" ? server.host : formatIp(server.host);
  return keys.byServer.get(plain) ?? keys.common;
}

/** Transfers from a server; keeps the last version and when it was confirmed. */
export function serverFetcher(
  spec: SourceSpec,
  server: ServerSpec,
  world: AgentWorld,
  key: TsigKey | undefined,
): ServerFetcher {
  let known: ZoneCopy | undefined;
  let confirmedAtMs = 0;
  let addresses: readonly IpAddress[] = typeof server.host === "string" ? [] : [server.host];
  const open = async (): Promise<StreamOpened> => {
    if (typeof server.host === "string") {
      const found = await serverAddresses(server.host, world);
      if (typeof found === "string") return { ok: false, reason: found };
      addresses = found;
    }
    return await openFirst(addresses, server.port, world);
  };
  return {
    label: server.text,
    key,
    hasAddress: (address) => addresses.some((own) => addressKey(own) === addressKey(address)),
    async fetch() {
      const expireMs = 1000 * (known?.soa?.expireSeconds ?? 0);
      const isForced = world.clock.monotonicMs() - confirmedAtMs > expireMs;
      const request = { zone: spec.publicZone, known, isForced, key, open };
      const result = await pollZone(request, world);
      if (result.kind === "failed") return result;
      if (result.kind === "older") {
        const serials = `${result.soa.serial} is older than ${known!.soa!.serial}`;
        return { kind: "failed", reason: `the serial of the zone went back: ${serials}` };
      }
      confirmedAtMs = world.clock.monotonicMs();
      if (result.kind === "unchanged") return { kind: "unchanged" };
      known = result.copy;
      return { kind: "content", copy: known, how: result.how };
    },
  };
}

async function serverAddresses(
  host: string,
  world: AgentWorld,
): Promise<readonly IpAddress[] | string> {
  const [v4, v6] = await Promise.all([
    world.publicResolver.addresses(host, 4),
    world.publicResolver.addresses(host, 6),
  ]);
  const found = [v4, v6].flatMap((answer) => (answer.kind === "found" ? answer.addresses : []));
  if (found.length > 0) return found;
  const reason = v4.kind === "failed" ? v4.reason : v6.kind === "failed" ? v6.reason : undefined;
  return `cannot find the address of ${host}: ${reason ?? (v4.kind === "absent" ? v4.reason : "")}`;
}

async function openFirst(
  addresses: readonly IpAddress[],
  port: number,
  world: AgentWorld,
): Promise<StreamOpened> {
  let reason = "no address";
  for (const address of addresses) {
    const opened = await world.streams.open(address, port, CONNECT_TIMEOUT_MS);
    if (opened.ok) return opened;
    reason = `cannot connect to ${formatIp(address)} port ${port}: ${opened.reason}`;
  }
  return { ok: false, reason };
}

/** Reads a zone file; a file with mistakes changes nothing. */
export function fileFetcher(spec: SourceSpec, path: string, world: AgentWorld): Fetcher {
  return {
    label: path,
    watch: (onChange) => world.files.watch(path, onChange),
    async fetch() {
      const content = await world.files.read(path);
      if ("error" in content) return { kind: "failed", reason: content.error };
      const errors: string[] = [];
      const located = await parseMasterFile(
        content.bytes,
        path,
        spec.publicZone,
        (included) => world.files.read(included),
        {
          error: ({ file, line, column }, message) => {
            errors.push(`${file}:${line}:${column}: ${message}`);
          },
          warning: () => {},
        },
      );
      if (errors.length > 0) return { kind: "failed", reason: errors.slice(0, 5).join("; ") };
      const records = located.map(({ record }) => record);
      return fileContent(records, spec.publicZone);
    },
  };
}

function fileContent(records: readonly ResourceRecord[], zone: Name): FetchResult {
  const soaRecord = records.find((record) => record.type === TYPE_SOA && record.owner.equals(zone));
  const soa = soaRecord && soaOf(soaRecord);
  const inside = records.filter((record) => record.owner.isWithin(zone));
  return { kind: "content", copy: zoneCopyOf(soa, inside), how: "file" };
}

/** Asks for the TXT records of each name; one name without answer changes nothing. */
export function namesFetcher(
  spec: SourceSpec,
  list: { readonly path: string } | { readonly names: readonly string[] },
  world: AgentWorld,
): Fetcher {
  const readNames = async (): Promise<readonly string[] | { readonly error: string }> => {
    if ("names" in list) return list.names;
    const content = await world.files.read(list.path);
    return "error" in content ? content : namesOfText(content.bytes);
  };
  const fetcher: Fetcher = {
    label: "path" in list ? list.path : `${list.names.length} names`,
    async fetch() {
      const names = await readNames();
      if ("error" in names) return { kind: "failed", reason: names.error };
      const owners: Name[] = [];
      for (const name of names) {
        const owner = ownerOf(name, spec);
        if (owner === undefined) return { kind: "failed", reason: `'${name}' is no name` };
        owners.push(owner);
      }
      return await askTexts(owners, world);
    },
  };
  if (!("path" in list)) return fetcher;
  return { ...fetcher, watch: (onChange) => world.files.watch(list.path, onChange) };
}

/** One name a line, or several; `#` starts a comment. */
function namesOfText(bytes: Uint8Array): string[] {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  const words = text.split("\n").flatMap((line) => line.replace(/#.*/, "").split(/\s+/));
  return words.filter((word) => word !== "");
}

/** `www`, `www.example.com` and `@` in the zone example.com. */
function ownerOf(name: string, spec: SourceSpec): Name | undefined {
  if (name === "@") return spec.publicZone;
  const plain = name.toLowerCase().replace(/\.$/, "");
  const isFull = plain === spec.public || plain.endsWith(`.${spec.public}`);
  const parsed = parseName(isFull ? `${plain}.` : `${plain}.${spec.public}.`);
  return parsed.ok ? parsed.name : undefined;
}

async function askTexts(owners: readonly Name[], world: AgentWorld): Promise<FetchResult> {
  const answers: TextAnswer[] = [];
  let next = 0;
  const lane = async () => {
    while (next < owners.length) {
      const index = next++;
      answers[index] = await world.publicResolver.texts(plainText(owners[index]!));
    }
  };
  await Promise.all(Array.from({ length: QUERIES_AT_ONCE_MAX }, lane));
  const records: ResourceRecord[] = [];
  for (const [index, answer] of answers.entries()) {
    const owner = owners[index]!;
    if (answer.kind === "failed") {
      return { kind: "failed", reason: `TXT of ${plainText(owner)}: ${answer.reason}` };
    }
    if (answer.kind === "absent") {
      const text = `${plainText(owner)}: ${answer.reason}; it is not published`;
      world.log.warning(text, "agent-record-left-out");
      continue;
    }
    for (const strings of answer.texts)
      records.push(recordOf(owner, TYPE_TXT, 0, txtData(strings)));
  }
  return { kind: "content", copy: zoneCopyOf(undefined, records), how: "TXT queries" };
}

/** TXT data from character strings (RFC 1035 3.3.14). */
export function txtData(strings: readonly string[]): Uint8Array {
  const octets: number[] = [];
  for (const text of strings) {
    octets.push(Math.min(255, text.length));
    for (let at = 0; at < Math.min(255, text.length); at++) octets.push(text.charCodeAt(at) & 255);
  }
  return Uint8Array.from(octets);
}
