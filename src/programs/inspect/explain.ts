/**
 * `ipref explain`: the way of one packet through the running gateway, step by step, to its delivery
 * or to the drop reason. Nothing is sent.
 */

import type { Command } from "commander";
import { DROP_REASONS, type DropReason } from "../../base/drop-reason.js";
import { toHex } from "../../base/hex.js";
import { formatIp } from "../../base/ip.js";
import { nearestWord } from "../../base/nearest-word.js";
import { printable, printableJson } from "../../base/printable.js";
import { formatIprefAddress } from "../../base/reference.js";
import type {
  ExplainQuestion,
  ExplainRaw,
  ExplainReport,
  WhoReport,
} from "../../control/inspection/explain-report.js";
import { explainDrop } from "../../control/inspection/explain-steps.js";
import { parseIpv4 } from "../../wire/ipv4.js";
import { parseIpv6 } from "../../wire/ipv6.js";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/packet-fields.js";
import { addRunOption, newCommand, parseArguments } from "../command-line.js";
import { EXIT_FOUND_PROBLEMS, EXIT_NO_INPUT, EXIT_OK, EXIT_USAGE } from "../exit-status.js";
import { askPart, complainUnavailable } from "./ask.js";
import { dropLines, explainLines } from "./explain-text.js";
import { BadNumber, numberOption } from "./number-option.js";
import { FileRefused, isCaptureFile, packetOfFile, readInput } from "./packet-file.js";
import { findTarget, type Target, TargetUnknown } from "./target.js";

const WIDTH_DEFAULT = 100;
const TUNNEL_PORT = 1045;
/** A file with a packet in hexadecimal, whatever stands between its octets. */
const HEX_BYTES_MAX = 2 ** 20;
const PROTOCOLS: Readonly<Record<string, number>> = {
  tcp: PROTOCOL_TCP,
  udp: PROTOCOL_UDP,
  icmp: PROTOCOL_ICMP,
};

type Options = Readonly<Record<string, unknown>>;

/** An option that says nothing useful; the message is a sentence. */
class BadOption extends Error {
  override readonly name = "BadOption";
}

export function define(): Command {
  const command = newCommand("explain", "walk one packet through the gateway, without sending it")
    .argument("[source]", "local address, or GATEWAY + REFERENCE of a remote host")
    .argument("[destination]", "name, encoded address, or GATEWAY + REFERENCE")
    .option("--proto <protocol>", "tcp, udp, icmp or a number", "tcp")
    .option("--port <number>", "destination port")
    .option("--source-port <number>", "source port")
    .option("--size <octets>", "octets of the packet in the local network")
    .option("--df", "the packet must not be fragmented")
    .option("--syn", "a TCP SYN that announces an MSS")
    .option("--packet <hex>", "explain this packet: hexadecimal, a capture file, or - for input")
    .option("--number <number>", "which packet of a capture file", "1")
    .option("--side <side>", "where --packet comes from: local or tunnel")
    .option("--from <address>", "gateway that a datagram comes from: ADDRESS or ADDRESS:PORT")
    .option("--drop <reason>", "explain a drop reason; needs no running gateway")
    .option("--json", "the explanation as JSON")
    .addHelpText(
      "after",
      "\nExit status: 0 the packet arrives, 3 it is dropped, 2 bad command line,\n" +
        "4 the system does not run, 77 not allowed to ask.",
    );
  return addRunOption(command);
}

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const { options, words } = parsed;
  if (typeof options.drop === "string") return explainReason(options.drop, options);
  try {
    const { question, notes } = await questionOf(options, words);
    const call = { method: "POST", path: "/explain", body: JSON.stringify(question) } as const;
    const answer = await askPart(String(options.run), "gateway", call);
    return show((await answer.json()) as ExplainReport, notes, options);
  } catch (error) {
    const isMistake =
      error instanceof BadOption || error instanceof BadNumber || error instanceof TargetUnknown;
    if (!isMistake && !(error instanceof FileRefused)) return complainUnavailable(error);
    process.stderr.write(`${printable(error.message)}\n`);
    return isMistake ? EXIT_USAGE : EXIT_NO_INPUT;
  }
}

function show(report: ExplainReport, notes: readonly string[], options: Options): number {
  if (options.json === true) {
    process.stdout.write(`${printableJson(JSON.stringify({ ...report, notes }))}\n`);
  } else {
    const width = process.stdout.isTTY ? process.stdout.columns : WIDTH_DEFAULT;
    process.stdout.write(`${explainLines(report, notes, width).join("\n")}\n`);
  }
  return report.verdict.kind === "dropped" ? EXIT_FOUND_PROBLEMS : EXIT_OK;
}

/** `--drop`: the meaning of a reason, from the list itself. */
function explainReason(name: string, options: Options): number {
  const names: readonly string[] = DROP_REASONS.map((reason) => reason.name);
  if (!names.includes(name)) {
    const near = nearestWord(name, names);
    const hint = near === undefined ? "docs/DROP-REASONS.md lists them" : `did you mean ${near}?`;
    process.stderr.write(`${printable(`Unknown drop reason '${name}'; ${hint}`)}\n`);
    return EXIT_USAGE;
  }
  const drop = explainDrop(name as DropReason);
  if (options.json === true) process.stdout.write(`${JSON.stringify(drop)}\n`);
  else process.stdout.write(`${[name, ...dropLines(drop, WIDTH_DEFAULT)].join("\n")}\n`);
  return EXIT_OK;
}

interface Asked {
  readonly question: ExplainQuestion;
  readonly notes: readonly string[];
}

async function questionOf(options: Options, words: readonly string[]): Promise<Asked> {
  if (typeof options.packet === "string") {
    if (words.length > 0) throw new BadOption("Expected either --packet or SOURCE and DESTINATION");
    return { question: rawQuestion(options), notes: [] };
  }
  const [source, destination] = endsOf(words);
  const runFolder = String(options.run);
  const answer = await askPart(runFolder, "gateway", { path: "/who" });
  const { own } = (await answer.json()) as WhoReport;
  const from = await findTarget(runFolder, source, own.tunnelVersion);
  const to = await findTarget(runFolder, destination, own.tunnelVersion);
  const question = {
    source: textOf(from),
    destination: textOf(to),
    protocol: protocolOf(String(options.proto)),
    port: numberOf(options, "port") ?? 0,
    sourcePort: numberOf(options, "sourcePort"),
    size: numberOf(options, "size"),
    df: options.df === true,
    syn: options.syn === true,
  };
  return { question: question as ExplainQuestion, notes: [...from.notes, ...to.notes] };
}

/** Two words; an IPREF address may also come as several, as a shell cuts it. */
function endsOf(words: readonly string[]): [string, string] {
  const [source, destination, ...surplus] = words;
  if (source !== undefined && destination !== undefined && surplus.length === 0) {
    return [source, destination];
  }
  throw new BadOption(
    "Expected SOURCE and DESTINATION, --packet or --drop; put an IPREF address in quotes: " +
      'ipref explain 10.1.0.5 "198.51.100.7 + 1025"',
  );
}

function textOf({ address, ipref }: Target): string {
  return ipref === undefined ? formatIp(address!) : formatIprefAddress(ipref);
}

function protocolOf(text: string): number {
  const known = PROTOCOLS[text.toLowerCase()];
  if (known !== undefined) return known;
  if (/^[0-9]{1,3}$/.test(text) && Number(text) < 256) return Number(text);
  const near = nearestWord(text, Object.keys(PROTOCOLS));
  const hint = near === undefined ? "" : `; did you mean ${near}?`;
  throw new BadOption(`Unknown protocol '${text}': expected tcp, udp, icmp or a number${hint}`);
}

function numberOf(options: Options, name: string): number | undefined {
  return numberOption(options, name, { min: 0, max: 65_535, isWhole: true });
}

// ---- raw packets ---------------------------------------------------------------------------

function rawQuestion(options: Options): ExplainRaw {
  const { packet, isFile } = packetFrom(String(options.packet), numberOf(options, "number") ?? 1);
  const side = sideOf(options, packet, isFile);
  const given = originOf(options.from);
  if (side === "local" || !isFile) return { packet: toHex(packet), side, ...given };
  const datagram = insideOf(packet);
  if (datagram === undefined) throw new FileRefused("The packet of the file is no UDP datagram");
  return { side, from: datagram.from, fromPort: datagram.port, ...given, packet: datagram.hex };
}

/** The packet, and whether a capture file has it with its IP header. */
function packetFrom(text: string, number: number): { packet: Uint8Array; isFile: boolean } {
  const hex = bytesOfHex(text);
  if (hex !== undefined) return { packet: hex, isFile: false };
  const bytes = readInput(text);
  if (isCaptureFile(bytes)) return { packet: packetOfFile(bytes, number), isFile: true };
  const packet =
    bytes.length > HEX_BYTES_MAX ? undefined : bytesOfHex(new TextDecoder().decode(bytes));
  if (packet !== undefined) return { packet, isFile: false };
  throw new FileRefused(`${text} is neither a capture file nor hexadecimal`);
}

/** Digits with blanks, line ends and colons between octets. */
function bytesOfHex(text: string): Uint8Array | undefined {
  const digits = text.replace(/[\s:]/g, "");
  return /^([0-9a-f]{2})*$/i.test(digits) ? Uint8Array.from(Buffer.from(digits, "hex")) : undefined;
}

function sideOf(options: Options, packet: Uint8Array, isFile: boolean): "local" | "tunnel" {
  const { side } = options;
  if (side === "local" || side === "tunnel") return side;
  if (side !== undefined) {
    throw new BadOption(`Cannot use --side ${String(side)}: expected local or tunnel`);
  }
  if (!isFile) throw new BadOption("Expected --side local or --side tunnel");
  const ports = insideOf(packet)?.ports ?? [];
  return ports.includes(TUNNEL_PORT) ? "tunnel" : "local";
}

/** The datagram in an outer packet. */
function insideOf(packet: Uint8Array) {
  const isIpv6 = (packet[0] ?? 0) >> 4 === 6;
  const parsed = isIpv6 ? parseIpv6(packet, false) : parseIpv4(packet, false);
  if (typeof parsed === "string" || parsed.protocol !== PROTOCOL_UDP) return undefined;
  const { payload, source } = parsed;
  if (payload.length < 8 || parsed.fragment !== undefined) return undefined;
  const portAt = (offset: number) => (payload[offset]! << 8) | payload[offset + 1]!;
  return {
    from: formatIp(source),
    port: portAt(0),
    ports: [portAt(0), portAt(2)],
    hex: toHex(payload.subarray(8)),
  };
}

/** `--from`: ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT. */
function originOf(text: unknown): { from?: string; fromPort?: number } {
  if (typeof text !== "string") return {};
  const match = /^(?:\[([^\]]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(text);
  if (match === null) return { from: text };
  return { from: match[1] ?? match[2]!, fromPort: Number(match[3]) };
}
