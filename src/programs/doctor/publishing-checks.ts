/** Checks of what is published: transfers of the public zone, and its AA records. */

import { createHmac } from "node:crypto";
import { type AaText, characterStrings, parseAaText } from "../../agent/aa-text.js";
import { referenceRefusal } from "../../agent/candidates.js";
import { type KeyRing, NO_KEYS, parseKeyFile } from "../../agent/key-file.js";
import type { AddressAnswer, Resolver, StreamOpened } from "../../agent/ports.js";
import { parseServer, type ServerSpec } from "../../agent/source-spec.js";
import { pollZone, type TransferResult, textRecords } from "../../agent/transfer.js";
import type { TsigKey } from "../../agent/tsig.js";
import { formatIp, type IpAddress, parseIp } from "../../base/ip.js";
import { formatReference, type Reference } from "../../base/reference.js";
import type { UpConfiguration } from "../../control/config/settings.js";
import { unsetSetting } from "../../control/doctor/configuration-fix.js";
import { type Finding, judgeOf, shellWord } from "../../control/doctor/finding.js";
import {
  type AaRecord,
  judgeAaRecords,
  judgeTransfer,
  LOCAL_SOURCE,
  type LocalAnswer,
} from "../../control/doctor/publishing.js";
import { serverResolver, systemResolver } from "../../platform/agent-resolver.js";
import { tcpStreams } from "../../platform/agent-streams.js";
import { monotonicMs, wallClockMs } from "../../platform/clock.js";
import { systemRandom } from "../../platform/random.js";
import { formatName, type Name, nameOf } from "../../wire/dns/name.js";
import { freeReference, referenceRefusal as ownRefusal, readLocalZone } from "../publish-zone.js";
import { gatewayName } from "../up-plan.js";
import type { Check } from "./check.js";
import type { DoctorContext } from "./context.js";
import { routeSource } from "./network-checks.js";
import { readText } from "./tools.js";

const CONNECT_MS = 2500;
/** Connection, and then the time that a transfer waits for an answer. */
const TIMEOUT_MS = 9000;
const LOOKUPS_MAX = 256;
const RECORDS_SHOWN_MAX = 64;

export const PUBLISHING_CHECKS: readonly Check[] = [
  {
    id: "zone-transfer",
    looksAt: "transfer of the public zone from each of its servers",
    isQuick: false,
    timeoutMs: TIMEOUT_MS,
    examine: zoneTransfer,
  },
  {
    id: "aa-records",
    looksAt: "AA records and their hosts in the local zone",
    isQuick: false,
    timeoutMs: TIMEOUT_MS,
    examine: aaRecords,
  },
];

/** The zone as one server gives it. */
interface Transfer {
  readonly server: string;
  readonly keyName: string | undefined;
  readonly address: IpAddress | undefined;
  readonly result: TransferResult;
}

const transfers = new WeakMap<DoctorContext, Promise<Transfer[]>>();

/** Each server is asked once, for both checks. */
function transfersOf(context: DoctorContext): Promise<Transfer[]> {
  const known = transfers.get(context);
  if (known !== undefined) return known;
  const { publish } = context.configuration;
  const keys = keysOf(publish["tsig-key"]);
  const found = Promise.all(publish.servers.map((text) => transferFrom(text, keys, context)));
  transfers.set(context, found);
  return found;
}

async function zoneTransfer(context: DoctorContext): Promise<Finding[]> {
  const { publish } = context.configuration;
  if (publish.domain === "") return [];
  const keyFile = publish["tsig-key"];
  const complaint = keyComplaint(keyFile);
  if (complaint !== undefined) return [complaint];
  if (publish.servers.length === 0) {
    const judge = judgeOf("zone-transfer", publish.domain);
    return [judge.pass("no name servers configured: the records of ipref publish are used")];
  }
  const found = await transfersOf(context);
  return Promise.all(found.map((transfer) => transferFinding(transfer, context)));
}

async function transferFinding(
  { server, keyName, address, result }: Transfer,
  context: DoctorContext,
): Promise<Finding> {
  const { publish } = context.configuration;
  return judgeTransfer({
    zone: publish.domain,
    server,
    keyName,
    result:
      result.kind === "zone"
        ? { kind: "zone", serial: result.copy.soa?.serial, recordCount: result.copy.records.size }
        : { kind: "failed", reason: result.kind === "failed" ? result.reason : result.kind },
    ownAddress: (address && (await routeSource(formatIp(address)))) ?? "this machine",
    withoutServers: unsetSetting(context.request.file, "publish", "servers"),
    reload: context.reload,
    clockFix: "timedatectl set-ntp true",
  });
}

/** A key file that cannot be used, and how a new one is made. */
function keyComplaint(path: string): Finding | undefined {
  if (path === "") return undefined;
  const judge = judgeOf("zone-transfer", path);
  const text = readText(path);
  const file = shellWord(path);
  const make = `tsig-keygen -a hmac-sha256 home > ${file} && chmod 0600 ${file}`;
  const note = "a new key, which the name server needs as well";
  if (text === undefined) return judge.fail("the key file cannot be read", { command: make, note });
  const parsed = parseKeyFile(text);
  if (parsed.ok) return undefined;
  return judge.fail(`line ${parsed.line}: ${parsed.error}`, { command: make, note });
}

function keysOf(path: string): KeyRing {
  const parsed = path === "" ? undefined : parseKeyFile(readText(path) ?? "");
  return parsed?.ok === true ? parsed.keys : NO_KEYS;
}

async function transferFrom(
  text: string,
  keys: KeyRing,
  { configuration }: DoctorContext,
): Promise<Transfer> {
  const spec = parseServer(text);
  if (typeof spec === "string") {
    const result = { kind: "failed" as const, reason: spec };
    return { server: text, keyName: undefined, address: undefined, result };
  }
  const key = keyFor(spec, keys);
  const addresses = await addressesOf(spec, configuration);
  const open = async (): Promise<StreamOpened> => {
    if (addresses.length === 0) return { ok: false, reason: "the name server has no address" };
    return await tcpStreams.open(addresses[0]!, spec.port, CONNECT_MS);
  };
  const zone = nameOf(`${configuration.publish.domain}.`);
  const result = await pollZone(
    { zone, known: undefined, isForced: true, key, open },
    {
      clock: { monotonicMs, unixSeconds: () => Math.floor(wallClockMs() / 1000) },
      random: systemRandom(),
      hmac: (algorithm, secret, data) => createHmac(algorithm, secret).update(data).digest(),
    },
  );
  const keyName = key === undefined ? undefined : plain(key.name);
  return { server: text, keyName, address: addresses[0], result };
}

function keyFor({ host }: ServerSpec, keys: KeyRing): TsigKey | undefined {
  const server = typeof host === "string" ? host : formatIp(host);
  return keys.byServer.get(server) ?? keys.common;
}

async function addressesOf(
  { host }: ServerSpec,
  configuration: UpConfiguration,
): Promise<readonly IpAddress[]> {
  if (typeof host !== "string") return [host];
  const resolver = upstreamResolver(configuration);
  const answers = await Promise.all([resolver.addresses(host, 4), resolver.addresses(host, 6)]);
  return answers.flatMap((answer) => (answer.kind === "found" ? answer.addresses : []));
}

/** Servers that do not translate (spec/dns-agent.md 5.1). */
function upstreamResolver({ resolver, files }: UpConfiguration): Resolver {
  const remembered = readText(`${files.data}/upstreams`)?.split("\n").filter(Boolean) ?? [];
  const texts = resolver.upstream.length > 0 ? resolver.upstream : remembered;
  return resolverAt(texts) ?? systemResolver();
}

function resolverAt(texts: readonly string[]): Resolver | undefined {
  const servers = texts.flatMap((text) => {
    const spec = parseServer(text);
    if (typeof spec === "string" || typeof spec.host === "string") return [];
    return [{ address: spec.host, port: spec.port }];
  });
  return servers.length === 0 ? undefined : serverResolver(servers);
}

function plain(name: Name): string {
  return formatName(name).toLowerCase().replace(/\.$/, "");
}

async function aaRecords(context: DoctorContext): Promise<Finding[]> {
  const { configuration, command, configurationOption } = context;
  const { publish } = configuration;
  if (publish.domain === "") return [];
  const zone = await zoneRecords(context);
  if (zone === undefined) {
    const judge = judgeOf("aa-records", publish.domain);
    return [judge.skip("no server gives the zone; zone-transfer says why")];
  }
  const { source, records, taken } = zone;
  const keyFile = publish["tsig-key"];
  const server = publish["update-server"];
  const findings = judgeAaRecords({
    zone: publish.domain,
    localZone: publish.local,
    source,
    records,
    locals: await localAnswers(records, context),
    freeReferences: freeReferences(configuration, taken, records.length),
    publish: `${command} publish${configurationOption}`,
    update: server === "" ? undefined : { server, keyFile },
  });
  return findings.slice(0, RECORDS_SHOWN_MAX);
}

/** What is published, as one server, or `ipref publish`, has it. */
async function zoneRecords(context: DoctorContext): Promise<
  | {
      readonly source: string;
      readonly records: readonly AaRecord[];
      readonly taken: ReadonlySet<Reference>;
    }
  | undefined
> {
  const { configuration } = context;
  if (configuration.publish.servers.length === 0) return ownRecords(configuration);
  for (const { server, result } of await transfersOf(context)) {
    if (result.kind !== "zone") continue;
    const taken = new Set<Reference>();
    const records = textRecords(result.copy).flatMap(({ owner, data }) =>
      characterStrings(data).flatMap((text) => recordOf(owner, text, configuration, taken) ?? []),
    );
    return { source: server, records, taken };
  }
  return undefined;
}

function recordOf(
  owner: Name,
  text: string,
  configuration: UpConfiguration,
  taken: Set<Reference>,
): AaRecord | undefined {
  const parsed = parseAaText(text);
  if (parsed.kind === "none") return undefined;
  const name = plain(owner);
  const label = name.split(".")[0]!;
  if (parsed.kind === "bad") {
    return { owner: name, label, text, problem: parsed.reason, gateway: "", reference: "" };
  }
  taken.add(parsed.reference);
  // Records of other gateways are theirs to judge.
  if (!isOwnGateway(parsed, configuration)) return undefined;
  const depth = owner.labelCount - nameOf(`${configuration.publish.domain}.`).labelCount;
  const problem = depth > 1 ? "is more than one label below the zone" : undefined;
  return {
    owner: name,
    label,
    text,
    problem: problem ?? referenceRefusal(parsed.reference),
    gateway: gatewayText(parsed),
    reference: formatReference(parsed.reference),
  };
}

type Parsed = Extract<AaText, { kind: "aa" }>;

function gatewayText({ gateway }: Parsed): string {
  return typeof gateway === "string" ? gateway : formatIp(gateway);
}

/** By the name or by the address of the own gateway, or by all zeros (spec/dns-agent.md 4). */
function isOwnGateway(parsed: Parsed, configuration: UpConfiguration): boolean {
  const own = [gatewayName(configuration), configuration.gateway.public, "0.0.0.0", "::"];
  return own.map((text) => text.toLowerCase()).includes(gatewayText(parsed));
}

function ownRecords(configuration: UpConfiguration) {
  const { names } = readLocalZone(configuration);
  const gateway = gatewayName(configuration);
  const records = names.map(({ label, reference }): AaRecord => {
    const shown = formatReference(reference);
    return {
      owner: `${label}.${configuration.publish.domain}`,
      label,
      text: `AA ${gateway} + ${shown}`,
      problem: ownRefusal(configuration, reference),
      gateway,
      reference: shown,
    };
  });
  return { source: LOCAL_SOURCE, records, taken: new Set(names.map((each) => each.reference)) };
}

function freeReferences(
  configuration: UpConfiguration,
  taken: ReadonlySet<Reference>,
  count: number,
): string[] {
  const used = new Set(taken);
  for (const { reference } of readLocalZone(configuration).names) used.add(reference);
  const free: string[] = [];
  while (free.length < Math.min(count, RECORDS_SHOWN_MAX)) {
    const reference = freeReference(configuration, used);
    if (reference === undefined) break;
    used.add(reference);
    free.push(formatReference(reference));
  }
  return free;
}

/** Addresses in the local zone: its file where that is this machine's, else its DNS server. */
async function localAnswers(
  records: readonly AaRecord[],
  context: DoctorContext,
): Promise<ReadonlyMap<string, LocalAnswer>> {
  const { configuration, gateway } = context;
  const labels = [...new Set(records.map(({ label }) => label))].slice(0, LOOKUPS_MAX);
  const answers = new Map<string, LocalAnswer>();
  const version = gateway.localVersion;
  const names = readLocalZone(configuration).names;
  const asked = localResolver(context);
  await Promise.all(
    labels.map(async (label) => {
      const own = names.find((name) => name.label === label && name.address.version === version);
      if (own !== undefined) {
        answers.set(label, { kind: "found", address: formatIp(own.address) });
      } else if (asked !== undefined) {
        const answer = await asked.addresses(`${label}.${configuration.publish.local}`, version);
        answers.set(label, localAnswer(answer));
      } else answers.set(label, { kind: "unknown", reason: "the DNS server does not run" });
    }),
  );
  return answers;
}

/** The server of the local zone, as the DNS agent asks it; undefined while it does not run. */
function localResolver({ configuration, resolverProcess }: DoctorContext): Resolver | undefined {
  const { resolver } = configuration;
  if (!resolver.enabled) return systemResolver();
  if (resolverProcess === undefined) return undefined;
  const address = parseIp(resolver.listen[0] ?? "127.0.0.1")!;
  return serverResolver([{ address, port: resolver.port }]);
}

function localAnswer(answer: AddressAnswer): LocalAnswer {
  if (answer.kind === "found") return { kind: "found", address: formatIp(answer.addresses[0]!) };
  return { kind: answer.kind === "absent" ? "absent" : "unknown", reason: answer.reason };
}
