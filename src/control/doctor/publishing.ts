/**
 * Judges of what is published: whether the public zone may be transferred, and whether its AA
 * records lead to hosts (spec/dns-agent.md 3.1, 4, 5, 8.6). Pure.
 */

import { type Finding, type Fix, judgeOf, shellWord } from "./finding.js";

/** One name server of the public zone. */
export interface TransferFacts {
  readonly zone: string;
  /** As configured; "" when there is none. */
  readonly server: string;
  readonly keyName: string | undefined;
  readonly result:
    | { readonly kind: "zone"; readonly serial: number | undefined; readonly recordCount: number }
    | { readonly kind: "failed"; readonly reason: string };
  /** Address that the server sees, for its access list. */
  readonly ownAddress: string;
  /** Takes publish.servers out of the configuration. */
  readonly withoutServers: string;
  readonly reload: string | undefined;
  /** Date and time of the last part of a TSIG fault. */
  readonly clockFix: string;
}

/** Is the transfer of the zone allowed? */
export function judgeTransfer(facts: TransferFacts): Finding {
  const { zone, server, keyName, result, ownAddress, withoutServers, reload } = facts;
  const judge = judgeOf("zone-transfer", `${zone} from ${server}`);
  const signed = keyName === undefined ? "" : `, signed with ${keyName}`;
  if (result.kind === "zone") {
    const serial = result.serial === undefined ? "" : `serial ${result.serial}, `;
    return judge.pass(`${serial}${result.recordCount} records of interest${signed}`);
  }
  const fixes: Fix[] = [
    {
      command: reload === undefined ? withoutServers : `${withoutServers} && ${reload}`,
      note: "uses the records of ipref publish instead",
    },
  ];
  const { reason } = result;
  if (/REFUSED|NOTAUTH/.test(reason)) {
    const grant = keyName === undefined ? ownAddress : `key "${keyName}"`;
    return judge.fail(`${reason}; the name server has to allow transfers to ${grant}`, ...fixes);
  }
  if (/BADTIME|time/i.test(reason) && keyName !== undefined && !/no answer/.test(reason)) {
    return judge.fail(`${reason}; the clocks differ`, facts.clockFix, ...fixes);
  }
  return judge.fail(reason, ...fixes);
}

/** One AA record, or what was meant to be one. */
export interface AaRecord {
  /** Owner without final dot. */
  readonly owner: string;
  readonly label: string;
  /** The text of the record. */
  readonly text: string;
  /** Why it is none, or why gateways refuse it. */
  readonly problem: string | undefined;
  /** Gateway as written, for comparison. */
  readonly gateway: string;
  readonly reference: string;
}

/** What the local zone says about a label. */
export type LocalAnswer =
  | { readonly kind: "found"; readonly address: string }
  | { readonly kind: "absent"; readonly reason: string }
  | { readonly kind: "unknown"; readonly reason: string };

/** The records of one zone and what belongs to them. */
export interface AaFacts {
  readonly zone: string;
  readonly localZone: string;
  /** Where the records come from. */
  readonly source: string;
  readonly records: readonly AaRecord[];
  readonly locals: ReadonlyMap<string, LocalAnswer>;
  /** Lowest references that nobody uses, as many as there are records. */
  readonly freeReferences: readonly string[];
  /** `ipref publish` with the options that find this configuration. */
  readonly publish: string;
  /** Server and key file for DNS updates. */
  readonly update: { readonly server: string; readonly keyFile: string } | undefined;
}

/** Do all AA records parse, differ, and lead to hosts of the local zone? */
export function judgeAaRecords(facts: AaFacts): Finding[] {
  const { records, zone, source } = facts;
  const free = [...facts.freeReferences];
  const findings = records.flatMap((record, index) => {
    const twin = records.slice(0, index).find((earlier) => isTwin(earlier, record, facts));
    const finding = recordFinding(record, twin, facts, () => free.shift() ?? "1024");
    return finding === undefined ? [] : [finding];
  });
  if (findings.length > 0) return findings;
  const judge = judgeOf("aa-records", `${zone} (${source})`);
  if (records.length === 0) return [judge.pass("no AA records: nothing is published")];
  const count = records.length === 1 ? "1 AA record" : `${records.length} AA records`;
  return [judge.pass(`${count}, each with a host in ${facts.localZone}`)];
}

function isTwin(a: AaRecord, b: AaRecord, { locals }: AaFacts): boolean {
  if (a.problem !== undefined || b.problem !== undefined) return false;
  if (a.gateway !== b.gateway || a.reference !== b.reference) return false;
  if (a.owner === b.owner) return true;
  return addressOf(locals.get(a.label)) !== addressOf(locals.get(b.label));
}

function addressOf(answer: LocalAnswer | undefined): string | undefined {
  return answer?.kind === "found" ? answer.address : undefined;
}

function recordFinding(
  record: AaRecord,
  twin: AaRecord | undefined,
  facts: AaFacts,
  freeReference: () => string,
): Finding | undefined {
  const { owner, label, text, problem } = record;
  const judge = judgeOf("aa-records", `${owner} TXT "${text}"`);
  const local = facts.locals.get(label);
  if (problem !== undefined)
    return judge.fail(problem, ...replaceFixes(record, facts, freeReference()));
  if (twin !== undefined) {
    return judge.fail(
      `has the reference of ${twin.owner}: packets for one of them reach the other`,
      ...replaceFixes(record, facts, freeReference()),
    );
  }
  if (local?.kind === "absent") {
    const host = `${label}.${facts.localZone}`;
    return judge.fail(`leads to no host: ${host}: ${local.reason}`, ...removeFixes(record, facts));
  }
  if (local?.kind === "unknown") {
    return judge.skip(`${label}.${facts.localZone} could not be looked up: ${local.reason}`);
  }
  return undefined;
}

/** Takes the record out of the public zone and publishes the host anew, if it is known. */
function replaceFixes(record: AaRecord, facts: AaFacts, reference: string): (Fix | string)[] {
  const local = facts.locals.get(record.label);
  const removal = removeFixes(record, facts);
  if (local?.kind !== "found") return removal;
  const words = [record.label, local.address, "--ref", reference].map(shellWord).join(" ");
  return [...removal, `${facts.publish} ${words}`];
}

function removeFixes({ owner, text, label }: AaRecord, facts: AaFacts): (Fix | string)[] {
  const { update, zone, publish, source } = facts;
  if (source === LOCAL_SOURCE) return [`${publish} --remove ${shellWord(label)}`];
  const quoted = masterFileText(text);
  if (update === undefined) {
    const record = `${owner}. TXT "${quoted}"`;
    return [{ command: `${publish} --list`, note: `remove ${record} from the public zone, see` }];
  }
  const [, host, port] = /^\[?([^\]]*?)\]?(?::(\d+))?$/.exec(serverText(update.server))!;
  const lines = [
    `server ${host}${port === undefined ? "" : ` ${port}`}`,
    `zone ${zone}.`,
    `update delete ${owner}. TXT "${quoted}"`,
    "send",
  ];
  const words = lines.map(shellWord).join(" ");
  return [`printf '%s\\n' ${words} | nsupdate -v -k ${shellWord(update.keyFile)}`];
}

/**
 * Text of octets as it stands between quotation marks of a master file (RFC 1035 5.1). Whoever
 * wrote it must not be able to begin another line, a command of its own for nsupdate(1).
 */
function masterFileText(text: string): string {
  return text.replace(/["\\]|[^ -~]/g, (character) => {
    const isMark = character === '"' || character === "\\";
    return `\\${isMark ? character : String(character.charCodeAt(0)).padStart(3, "0")}`;
  });
}

/** Source of records that `ipref publish` keeps. */
export const LOCAL_SOURCE = "ipref publish";

/** A bare IPv6 address in brackets, so that its colons are no port. */
function serverText(server: string): string {
  return /^[0-9a-fA-F]*:[0-9a-fA-F:]*:/.test(server) ? `[${server}]` : server;
}
