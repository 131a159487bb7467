/**
 * `ipref traceroute`: the way to a host behind a remote gateway, in its three parts: the routers
 * between the gateways, the remote gateway, and the routers behind it. Exit statuses as ping(8).
 *
 * The outer part is found with UDP datagrams to the remote gateway's tunnel port, from another
 * port: empty ones, which it drops unread, so that it learns nothing wrong about this gateway. The
 * inner part is found with echo requests of small TTL through the tunnel.
 */

import type { Command } from "commander";
import { formatIp, parseIp, sameAddress } from "../../base/ip.js";
import { formatIprefAddress } from "../../base/reference.js";
import type { WhoReport } from "../../control/inspection/explain-report.js";
import { type Hop, type HopProbes, probeHops } from "../../platform/hop-probes.js";
import type { Reactor } from "../../platform/reactor.js";
import { SystemCallError } from "../../platform/system-error.js";
import { addRunOption, newCommand, parseArguments } from "../command-line.js";
import { EXIT_FAILED, EXIT_OK } from "../exit-status.js";
import { type EchoOutcome, EchoProbes } from "./echo-probes.js";
import { numberOption } from "./number-option.js";
import { headText, timeText } from "./ping-text.js";
import { EventWriter, withWay } from "./probing.js";
import type { Destination, Way } from "./way.js";

const HOPS_MAX = 255;
const SECONDS_MAX = 60;
const DATA = new Uint8Array(32);
/** Hops in a row that stay silent before the search is given up. */
const SILENT_MAX = 5;

export function define(): Command {
  const command = newCommand("traceroute", "show the way to a name or an IPREF address")
    .argument("<target>", 'name, encoded address, or "GATEWAY + REFERENCE"')
    .option("-m, --max-hops <number>", "hops of each part of the way", "30")
    .option("-W, --wait <seconds>", "time to wait for an answer", "1")
    .option("--json", "one JSON value a line")
    .addHelpText("after", "\nExit status: 0 the target answered, 1 it did not, 2 another error.");
  return addRunOption(command);
}

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const { options, words } = parsed;
  return await withWay(options, async (reactor, way) => {
    const tracing = new Tracing(reactor, way, readOptions(options));
    return (await tracing.run(words[0]!)) ? EXIT_OK : EXIT_FAILED;
  });
}

function readOptions(options: Readonly<Record<string, unknown>>): TraceOptions {
  return {
    hopsMax: numberOption(options, "maxHops", { min: 1, max: HOPS_MAX, isWhole: true })!,
    waitMs: 1000 * numberOption(options, "wait", { min: 0, max: SECONDS_MAX })!,
    isJson: options.json === true,
  };
}

interface TraceOptions {
  readonly hopsMax: number;
  readonly waitMs: number;
  readonly isJson: boolean;
}

/** Which part of the way a hop belongs to. */
type Part = "local gateway" | "between gateways" | "remote gateway" | "inner way" | "target";

class Tracing {
  readonly #reactor: Reactor;
  readonly #way: Way;
  readonly #options: TraceOptions;
  readonly #events: EventWriter;
  #number = 0;

  constructor(reactor: Reactor, way: Way, options: TraceOptions) {
    this.#reactor = reactor;
    this.#way = way;
    this.#options = options;
    this.#events = new EventWriter(options.isJson);
  }

  /** True when the target answered. */
  async run(text: string): Promise<boolean> {
    const target = await this.#way.find(text);
    const probes = new EchoProbes(this.#reactor, target.address.version);
    try {
      const { notes, ipref } = target;
      const head = `traceroute to ${headText(target)}, ${this.#options.hopsMax} hops at most`;
      const json = { target: text, address: formatIp(target.address), route: target.route };
      const named = { ...json, ipref: ipref && formatIprefAddress(ipref) };
      await this.#events.tell([...notes, head], { event: "start", ...named });
      const own = await this.#way.own();
      if (own !== undefined && target.route !== undefined) await this.#outer(target, own, probes);
      return await this.#inner(target, probes);
    } finally {
      probes.close();
    }
  }

  /** The local gateway, the routers behind it and the remote gateway. */
  async #outer(target: Destination, own: WhoReport["own"], probes: EchoProbes): Promise<void> {
    const { route, ipref } = target;
    await this.#hop("local gateway", `${own.ipref} (${own.encoded})`, undefined, own.encoded);
    const destination = parseIp(route!.gateway)!;
    const { hopsMax, waitMs } = this.#options;
    const bind = parseIp(own.bind)!;
    const all = { bind, destination, port: route!.port, hopsMax, waitMs };
    const hops = await this.#probe(all);
    const routers = hops.filter(({ address }) => !sameAddress(address, destination));
    const farthest = routers.at(-1)?.ttl ?? 0;
    for (let ttl = 1; ttl <= farthest; ttl++)
      await this.#router(routers.find((hop) => hop.ttl === ttl));
    if (ipref !== undefined) await this.#remoteGateway(target, probes);
  }

  /** No hops when this is not the machine of the gateway, whose address it cannot use. */
  async #probe(probes: HopProbes): Promise<Hop[]> {
    try {
      return await probeHops(this.#reactor, probes);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      const text = `Routers between the gateways are not shown: ${error.message}`;
      await this.#events.tell([text], { event: "note", text });
      return [];
    }
  }

  async #router(hop: Hop | undefined): Promise<void> {
    const address = hop && formatIp(hop.address);
    await this.#hop("between gateways", address ?? "*", hop?.roundTripMs, address);
  }

  async #remoteGateway({ ipref, route }: Destination, probes: EchoProbes): Promise<void> {
    const address = await this.#way.gatewayAddress(ipref!.context);
    if (address === undefined) return;
    const { waitMs } = this.#options;
    const outcome = await probes.probe({ destination: address, data: DATA, waitMs });
    const name = `${await this.#way.nameOf(address)} port ${route!.port}`;
    const isAnswer = outcome.kind === "reply";
    const text = isAnswer ? name : `${name} does not answer itself`;
    const time = isAnswer ? outcome.roundTripMs : undefined;
    await this.#hop("remote gateway", text, time, formatIp(address));
  }

  /** Echo requests with growing TTL until the target answers. */
  async #inner({ address: destination }: Destination, probes: EchoProbes): Promise<boolean> {
    const { hopsMax, waitMs } = this.#options;
    let silent = 0;
    for (let ttl = 1; ttl <= hopsMax && silent < SILENT_MAX; ttl++) {
      const outcome = await probes.probe({ destination, data: DATA, ttl, waitMs });
      silent = outcome.kind === "silent" ? silent + 1 : 0;
      const isEnd = await this.#innerHop(outcome);
      if (isEnd) return outcome.kind === "reply";
    }
    return false;
  }

  /** True when the way ends here. */
  async #innerHop(outcome: EchoOutcome): Promise<boolean> {
    if (outcome.kind === "reply") {
      const { source, roundTripMs } = outcome;
      await this.#hop("target", await this.#way.nameOf(source), roundTripMs, formatIp(source));
      return true;
    }
    if (outcome.kind === "silent") {
      await this.#hop("inner way", "*", undefined, undefined);
      return false;
    }
    if (outcome.kind === "refused") {
      await this.#hop("inner way", `not sent: ${outcome.code}`, undefined, undefined);
      return true;
    }
    const { offender, roundTripMs, isTimeExceeded, text } = outcome;
    const name = offender === undefined ? "this machine" : await this.#way.nameOf(offender);
    const shown = isTimeExceeded ? name : `${name} ${text}`;
    await this.#hop("inner way", shown, roundTripMs, offender && formatIp(offender));
    return !isTimeExceeded;
  }

  async #hop(
    part: Part,
    text: string,
    roundTripMs: number | undefined,
    address: string | undefined,
  ): Promise<void> {
    const number = ++this.#number;
    const time = roundTripMs === undefined ? "" : `  ${timeText(roundTripMs)}`;
    const line = `${String(number).padStart(2)}  ${part.padEnd(17)} ${text}${time}`;
    await this.#events.tell([line], { event: "hop", number, part, text, address, roundTripMs });
  }
}
