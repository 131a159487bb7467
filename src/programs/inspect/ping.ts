/**
 * `ipref ping`: echo requests through the kernel to a name, an encoded address or an IPREF address,
 * with the IPREF addresses of those who answer. Exit statuses as ping(8): 0 an answer came, 1 none,
 * 2 another error.
 */

import type { Command } from "commander";
import { formatIp } from "../../base/ip.js";
import { formatIprefAddress } from "../../base/reference.js";
import { monotonicMs } from "../../platform/clock.js";
import type { Reactor } from "../../platform/reactor.js";
import { addRunOption, newCommand, parseArguments } from "../command-line.js";
import { EXIT_FAILED, EXIT_OK } from "../exit-status.js";
import { type EchoOutcome, EchoProbes } from "./echo-probes.js";
import { numberOption } from "./number-option.js";
import { type Ending, untilSignal } from "./output.js";
import { headText, outcomeLine, PingStatistics, timeText } from "./ping-text.js";
import { EventWriter, withWay } from "./probing.js";
import type { Destination, Way } from "./way.js";

/** As ping(8) sends them. */
const DATA_BYTES = 56;
/** What IPv4 can carry behind its header and that of ICMP. */
const DATA_BYTES_MAX = 65_507;
const INTERVAL_SECONDS_MIN = 0.01;
const SECONDS_MAX = 3600;
const COUNT_MAX = 2 ** 31;
/** How often it is looked whether the last answers have come. */
const LOOK_MS = 20;

export function define(): Command {
  const command = newCommand("ping", "send echo requests to a name or an IPREF address")
    .argument("<target>", 'name, encoded address, or "GATEWAY + REFERENCE"')
    .option("-c, --count <number>", "stop after so many requests (default: at Ctrl-C)")
    .option("-i, --interval <seconds>", "time between requests", "1")
    .option("-W, --wait <seconds>", "time to wait for an answer", "2")
    .option("-s, --size <octets>", "octets of data in a request", String(DATA_BYTES))
    .option("--json", "one JSON value a line")
    .addHelpText("after", "\nExit status: 0 an answer came, 1 none came, 2 another error.");
  return addRunOption(command);
}

/** The options as numbers. */
interface PingOptions {
  readonly count: number;
  readonly intervalMs: number;
  readonly waitMs: number;
  readonly dataBytes: number;
  readonly isJson: boolean;
}

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(define(), args);
  if (typeof parsed === "number") return parsed;
  const { options, words } = parsed;
  return await withWay(options, async (reactor, way) => {
    const pinging = new Pinging(reactor, way, readOptions(options));
    return await pinging.run(words[0]!);
  });
}

function readOptions(options: Readonly<Record<string, unknown>>): PingOptions {
  const seconds = { min: 0, max: SECONDS_MAX };
  const interval = { min: INTERVAL_SECONDS_MIN, max: SECONDS_MAX };
  return {
    count: numberOption(options, "count", { min: 1, max: COUNT_MAX, isWhole: true }) ?? COUNT_MAX,
    intervalMs: 1000 * numberOption(options, "interval", interval)!,
    waitMs: 1000 * numberOption(options, "wait", seconds)!,
    dataBytes: numberOption(options, "size", { min: 0, max: DATA_BYTES_MAX, isWhole: true })!,
    isJson: options.json === true,
  };
}

class Pinging {
  readonly #reactor: Reactor;
  readonly #way: Way;
  readonly #options: PingOptions;
  readonly #statistics = new PingStatistics();
  readonly #events: EventWriter;
  readonly #ending: Ending = untilSignal();

  constructor(reactor: Reactor, way: Way, options: PingOptions) {
    this.#reactor = reactor;
    this.#way = way;
    this.#options = options;
    this.#events = new EventWriter(options.isJson);
  }

  async run(text: string): Promise<number> {
    const target = await this.#way.find(text);
    const probes = new EchoProbes(this.#reactor, target.address.version);
    try {
      await this.#begin(target);
      await this.#askGateway(target, probes);
      const startMs = monotonicMs();
      await this.#sendAll(target, probes);
      await this.#finish(target, monotonicMs() - startMs);
    } finally {
      probes.close();
    }
    return this.#statistics.received > 0 ? EXIT_OK : EXIT_FAILED;
  }

  async #begin(target: Destination): Promise<void> {
    const { text, address, ipref, route, notes } = target;
    const { dataBytes } = this.#options;
    const plain = { target: text, address: formatIp(address), route };
    const named = { ...plain, ipref: ipref && formatIprefAddress(ipref), dataBytes };
    const lines = [...notes, `PING ${headText(target)}, ${dataBytes} octets of data`];
    await this.#events.tell(lines, { event: "start", ...named });
    if (ipref === undefined || route !== undefined) return;
    const problem = await this.#way.ownProblem();
    if (problem !== undefined) await this.#events.tell([`Without names: ${problem}`], undefined);
  }

  /** The remote gateway itself, at its reference 1. */
  async #askGateway({ ipref, route }: Destination, probes: EchoProbes): Promise<void> {
    if (ipref === undefined || route === undefined) return;
    const address = await this.#way.gatewayAddress(ipref.context);
    if (address === undefined) return;
    const { waitMs } = this.#options;
    const data = new Uint8Array(DATA_BYTES);
    const outcome = await probes.probe({ destination: address, data, waitMs });
    const name = await this.#way.nameOf(address);
    const text =
      outcome.kind === "reply"
        ? `gateway ${name} answers in ${timeText(outcome.roundTripMs)}`
        : `gateway ${name} does not answer itself`;
    const time = outcome.kind === "reply" ? outcome.roundTripMs : null;
    const json = { event: "gateway", address: formatIp(address), ipref: `${route.gateway} + 1` };
    await this.#events.tell([text], {
      ...json,
      answers: outcome.kind === "reply",
      roundTripMs: time,
    });
  }

  async #sendAll({ address }: Destination, probes: EchoProbes): Promise<void> {
    const { count, intervalMs, waitMs, dataBytes } = this.#options;
    const data = Uint8Array.from({ length: dataBytes }, (_, index) => index & 0xff);
    const open = new Set<Promise<void>>();
    for (let sequence = 1; sequence <= count && this.#events.isRead; sequence++) {
      this.#statistics.transmitted++;
      const probe = probes.probe({ destination: address, data, waitMs });
      const told = probe.then((outcome) => this.#took(sequence, outcome));
      open.add(told);
      void told.finally(() => open.delete(told));
      if (sequence === count) break;
      if (await this.#ending.within(intervalMs)) return;
    }
    while (open.size > 0 && !(await this.#ending.within(LOOK_MS)));
  }

  async #took(sequence: number, outcome: EchoOutcome): Promise<void> {
    this.#statistics.take(outcome);
    const from = sourceOf(outcome);
    const name = from === undefined ? "this machine" : await this.#way.nameOf(from);
    const ipref = from === undefined ? undefined : (await this.#way.who(from))?.ipref;
    const address = from === undefined ? undefined : formatIp(from);
    const rest = { kind: outcome.kind, address, ipref, ...plainOf(outcome) };
    await this.#events.tell([outcomeLine(sequence, outcome, name)], {
      event: "echo",
      sequence,
      ...rest,
    });
  }

  async #finish({ text }: Destination, elapsedMs: number): Promise<void> {
    const {
      transmitted,
      received,
      errors,
      lossPercent,
      roundTrips: roundTripMs,
    } = this.#statistics;
    const counts = { transmitted, received, errors, lossPercent, roundTripMs };
    await this.#events.tell(this.#statistics.lines(text, elapsedMs), { event: "end", ...counts });
  }
}

function sourceOf(outcome: EchoOutcome) {
  if (outcome.kind === "reply") return outcome.source;
  return outcome.kind === "error" ? outcome.offender : undefined;
}

function plainOf(outcome: EchoOutcome) {
  if (outcome.kind === "reply") {
    const { ttl, octets, roundTripMs } = outcome;
    return { ttl, octets, roundTripMs };
  }
  if (outcome.kind === "error") return { error: outcome.text, roundTripMs: outcome.roundTripMs };
  return outcome.kind === "refused" ? { error: outcome.code } : {};
}
