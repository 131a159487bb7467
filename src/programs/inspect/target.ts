/**
 * The hosts that people name on a command line: an address, an IPREF address with an address or a
 * name in front of the plus sign, or a DNS name. Names are asked for as TXT, which the resolver
 * passes on: it creates no mapping for that. Addresses of gateways are asked for behind it, at its
 * upstream: a gateway may have an IPREF name itself (spec/resolver.md 1.7).
 */

import type { Resolver } from "../../agent/ports.js";
import { formatIp, type IpAddress, type IpVersion, parseIp } from "../../base/ip.js";
import { formatIprefAddress, type IprefAddress, parseReference } from "../../base/reference.js";
import type { ResolverStatus } from "../../control/inspection/part-status.js";
import { type AaAddress, parseAaString } from "../../dns/plugins/ipref/aa-string.js";
import { serverResolver, systemResolver } from "../../platform/agent-resolver.js";
import { tryPart } from "./ask.js";

const DNS_PORT = 53;
/** Both versions, the usual one first. */
const VERSIONS: readonly IpVersion[] = [4, 6];

/** A host that was named. */
export interface Target {
  /** As it was written. */
  readonly text: string;
  /** A native address, when no IPREF address is known. */
  readonly address?: IpAddress;
  readonly ipref?: IprefAddress;
  /** How a name was resolved, one sentence each. */
  readonly notes: readonly string[];
}

/** A name that does not lead to a host; the message is a sentence. */
export class TargetUnknown extends Error {
  override readonly name = "TargetUnknown";
}

/** Finds out what `text` means; `tunnelVersion`: that of the gateway's tunnel, if it is known. */
export async function findTarget(
  runFolder: string,
  text: string,
  tunnelVersion: IpVersion | undefined,
): Promise<Target> {
  const address = parseIp(text);
  if (address !== undefined) return { text, address, notes: [] };
  const finder = new Finder(runFolder, tunnelVersion);
  if (text.includes("+")) return { text, ...(await finder.iprefAddress(text)) };
  return { text, ...(await finder.name(text)) };
}

type Found = Omit<Target, "text">;

/** Whom to ask for names of hosts, and whom for addresses of gateways. */
interface Resolvers {
  readonly front: Resolver;
  readonly upstream: Resolver;
}

class Finder {
  readonly #runFolder: string;
  readonly #versions: readonly IpVersion[];
  #resolvers: Resolvers | undefined;
  #resolverText = "";

  constructor(runFolder: string, tunnelVersion: IpVersion | undefined) {
    this.#runFolder = runFolder;
    this.#versions = tunnelVersion === undefined ? VERSIONS : [tunnelVersion];
  }

  /** "gateway + reference". */
  async iprefAddress(text: string): Promise<Found> {
    const [gateway = "", referenceText = "", ...surplus] = text.split("+").map((s) => s.trim());
    const reference = parseReference(referenceText);
    if (surplus.length > 0 || gateway === "" || !reference.ok) {
      throw new TargetUnknown(
        `Cannot read '${text}': expected GATEWAY + REFERENCE, such as 198.51.100.7 + 1025`,
      );
    }
    const address = parseIp(gateway);
    if (address !== undefined) {
      return { ipref: { context: address, reference: reference.value }, notes: [] };
    }
    const context = await this.#gatewayAddress(gateway);
    const notes = [`${gateway} has the address ${formatIp(context)}`];
    return { ipref: { context, reference: reference.value }, notes };
  }

  async name(name: string): Promise<Found> {
    const { front: resolver } = await this.#open();
    const answer = await resolver.texts(name);
    if (answer.kind === "failed") {
      throw new TargetUnknown(`Cannot resolve ${name}: ${answer.reason}${this.#resolverText}`);
    }
    const aa = answer.kind === "found" ? firstAa(answer.texts) : undefined;
    if (aa !== undefined) return await this.#published(name, aa);
    for (const version of VERSIONS) {
      const found = await resolver.addresses(name, version);
      if (found.kind !== "found") continue;
      const address = found.addresses[0]!;
      const notes = [`${name} has no AA record; its address is ${formatIp(address)}`];
      return { address, notes };
    }
    throw new TargetUnknown(`${name} has neither an AA record nor an address${this.#resolverText}`);
  }

  async #published(name: string, { gateway, reference }: AaAddress): Promise<Found> {
    const isAddress = gateway.kind === "address";
    const context = isAddress
      ? gateway.address
      : await this.#gatewayAddress(gateway.name.toString());
    const ipref = { context, reference };
    const by = isAddress ? "" : `, its gateway being ${String(gateway.name).replace(/\.$/, "")}`;
    return { ipref, notes: [`${name} has an AA record: ${formatIprefAddress(ipref)}${by}`] };
  }

  async #gatewayAddress(name: string): Promise<IpAddress> {
    const { upstream: resolver } = await this.#open();
    const reasons: string[] = [];
    for (const version of this.#versions) {
      const found = await resolver.addresses(name, version);
      if (found.kind === "found") return found.addresses[0]!;
      reasons.push(found.reason);
    }
    throw new TargetUnknown(
      `Cannot find the gateway ${name}: ${reasons.join(", ")}${this.#resolverText}`,
    );
  }

  /** The resolver of the system that runs, else that of the machine. */
  async #open(): Promise<Resolvers> {
    this.#resolvers ??= await this.#choose();
    return this.#resolvers;
  }

  async #choose(): Promise<Resolvers> {
    const call = { path: "/status" } as const;
    const answer = await tryPart<ResolverStatus>(this.#runFolder, "resolver", call);
    const system = systemResolver();
    if (answer.state !== "answered") return { front: system, upstream: system };
    const { listening, upstreams } = answer.value;
    const front = listening.flatMap(parseEndpoint).slice(0, 1);
    const behind = upstreams.flatMap(({ server }) => parseEndpoint(server));
    if (front.length > 0) this.#resolverText = ` (asked at ${listening[0]})`;
    const first = front.length > 0 ? serverResolver(front) : system;
    return { front: first, upstream: behind.length > 0 ? serverResolver(behind) : first };
  }
}

/** The first valid AA string of TXT records whose strings have one character an octet. */
function firstAa(records: readonly (readonly string[])[]): AaAddress | undefined {
  for (const text of records.flat()) {
    const octets = Uint8Array.from(text, (character) => character.charCodeAt(0));
    const parsed = parseAaString(octets);
    if (parsed.kind === "valid") return parsed.aa;
  }
  return undefined;
}

/** "127.0.0.1:53" or "[::1]:53"; a server on any address is asked on the loopback. */
function parseEndpoint(text: string): { address: IpAddress; port: number }[] {
  const match = /^(?:dns:\/\/)?\[?([^\]]+?)\]?:([0-9]+)$/.exec(text);
  const host = match?.[1] ?? "";
  const loopback = { "0.0.0.0": "127.0.0.1", "::": "::1" }[host];
  const address = parseIp(loopback ?? host);
  const port = Number(match?.[2] ?? DNS_PORT);
  return address === undefined ? [] : [{ address, port }];
}
