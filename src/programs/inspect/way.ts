/**
 * What `ipref ping` and `ipref traceroute` know of the way to a host: its encoded address, which
 * the mapper gives as it does to the resolver, and the IPREF addresses behind the addresses that
 * answer, which the gateway tells on its control socket.
 */

import { formatIp, type IpAddress, parsePrefix } from "../../base/ip.js";
import { formatIprefAddress, type IprefAddress, parseIprefAddress } from "../../base/reference.js";
import type { WhoReport } from "../../control/inspection/explain-report.js";
import type { MapperClient } from "../../dns/mapper-client.js";
import { ControlUnavailable } from "../../platform/control-client.js";
import type { Reactor } from "../../platform/reactor.js";
import { EXIT_NOT_RUNNING, EXIT_UNAVAILABLE } from "../exit-status.js";
import { mapperQuestions } from "../mapper-question.js";
import { askPart, type PartAnswer, tryPart } from "./ask.js";
import { findTarget, TargetUnknown } from "./target.js";

/** Reference of a gateway itself (spec/tunnel.md 1.1). */
const GATEWAY_REFERENCE = 1n;
/** Addresses whose owners are remembered. */
const KNOWN_MAX = 256;

/** A host and what is known of it. */
export interface Destination {
  /** As it was named. */
  readonly text: string;
  readonly address: IpAddress;
  readonly ipref: IprefAddress | undefined;
  /** Where packets to it go; undefined when the gateway cannot be asked or has no part in it. */
  readonly route: WhoReport["route"];
  readonly notes: readonly string[];
}

/** Asks the running system; without one only native addresses can be used. */
export class Way {
  readonly #reactor: Reactor;
  readonly #runFolder: string;
  readonly #known = new Map<string, WhoReport>();
  #gateway: PartAnswer<WhoReport> | undefined;
  #mapper: MapperClient | undefined;

  constructor(reactor: Reactor, runFolder: string) {
    this.#reactor = reactor;
    this.#runFolder = runFolder;
  }

  /** The gateway of this machine; undefined when it cannot be asked. */
  async own(): Promise<WhoReport["own"] | undefined> {
    const answer = await this.#ask();
    return answer.state === "answered" ? answer.value.own : undefined;
  }

  /** Why the gateway cannot be asked; undefined when it can. */
  async ownProblem(): Promise<string | undefined> {
    const answer = await this.#ask();
    return answer.state === "answered" ? undefined : answer.message;
  }

  /** Finds a host; throws TargetUnknown or ControlUnavailable. */
  async find(text: string): Promise<Destination> {
    const own = await this.own();
    const { address, ipref, notes } = await findTarget(this.#runFolder, text, own?.tunnelVersion);
    if (ipref !== undefined) {
      const encoded = await this.encodedAddress(ipref, text);
      const who = await this.who(encoded);
      return { text, address: encoded, ipref, route: who?.route, notes };
    }
    const who = await this.who(address!);
    const known = who?.ipref === undefined ? undefined : parseIprefAddress(who.ipref);
    return { text, address: address!, ipref: known, route: who?.route, notes };
  }

  /** The address that local hosts use for an IPREF address, from the mapper. */
  async encodedAddress(ipref: IprefAddress, name: string): Promise<IpAddress> {
    const own = await this.own();
    if (own === undefined) throw await this.#unavailable();
    const version = parsePrefix(own.encodeNet)!.address.version;
    const mapper = this.#openMapper(own.mapperSocket);
    const { context, reference } = ipref;
    const label = name.includes("+") ? "" : name.toLowerCase().replace(/\.?$/, ".");
    const result = await mapper.getEncodedAddress(context, reference, label, version);
    if (result.kind === "address") return result.address;
    if (result.kind === "refused") {
      throw new TargetUnknown(
        `The gateway has no address for ${formatIprefAddress(ipref)}: its quota is used up, or ` +
          "the address belongs to no remote gateway",
      );
    }
    throw new ControlUnavailable(`The mapper gives no address: ${result.detail}`, EXIT_UNAVAILABLE);
  }

  /** Encoded address of a remote gateway itself; undefined when there is none to be had. */
  async gatewayAddress(context: IpAddress): Promise<IpAddress | undefined> {
    try {
      return await this.encodedAddress({ context, reference: GATEWAY_REFERENCE }, "");
    } catch (error) {
      const isKnown = error instanceof TargetUnknown || error instanceof ControlUnavailable;
      if (!isKnown) throw error;
      return undefined;
    }
  }

  /** Who an address stands for; undefined when the gateway cannot be asked. */
  async who(address: IpAddress): Promise<WhoReport | undefined> {
    const text = formatIp(address);
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    if ((await this.own()) === undefined) return undefined;
    const call = { path: "/who", query: { address: text } } as const;
    const answer = await tryPart<WhoReport>(this.#runFolder, "gateway", call);
    if (answer.state !== "answered") return undefined;
    if (answer.value.ipref !== undefined && this.#known.size < KNOWN_MAX) {
      this.#known.set(text, answer.value);
    }
    return answer.value;
  }

  /** "198.51.100.7 + 1025 (10.240.0.22)", or the address alone. */
  async nameOf(address: IpAddress): Promise<string> {
    const who = await this.who(address);
    const text = formatIp(address);
    if (who?.ipref === undefined || who.role === "local") return text;
    return `${who.ipref} (${text}${who.role === "gateway" ? ", this gateway" : ""})`;
  }

  close(): void {
    this.#mapper?.close();
  }

  async #ask(): Promise<PartAnswer<WhoReport>> {
    this.#gateway ??= await tryPart<WhoReport>(this.#runFolder, "gateway", { path: "/who" });
    return this.#gateway;
  }

  async #unavailable(): Promise<Error> {
    try {
      await askPart(this.#runFolder, "gateway", { path: "/who" });
    } catch (error) {
      if (error instanceof Error) return error;
    }
    return new ControlUnavailable("The gateway does not answer", EXIT_NOT_RUNNING);
  }

  #openMapper(path: string): MapperClient {
    this.#mapper ??= mapperQuestions(this.#reactor, path);
    return this.#mapper;
  }
}
