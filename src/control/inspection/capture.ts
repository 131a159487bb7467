/**
 * POST /capture: captures packets on both sides of the gateway and streams them, as a pcapng file
 * or as lines of JSON. One capture at a time; it ends with its limits or with its client. The body
 * of the question is a JSON object with any of the members of `CaptureQuestion`. POST /capture/end,
 * by the same process, ends it with everything that belongs to the end.
 */

import { isUnspecified } from "../../base/ip.js";
import { type CaptureFilter, formatFilter } from "../../capture/filter.js";
import { describeFault, parseFilter } from "../../capture/filter-parser.js";
import { CAPTURE_FILTER_BYTES_MAX, CaptureArea } from "../../tables/capture-area.js";
import { CaptureRingConsumer } from "../../tables/capture-ring.js";
import { DeskTap } from "../capture/desk-tap.js";
import { SharedMappings } from "../capture/mapping-view.js";
import { type CaptureRequest, CaptureSession } from "../capture/session.js";
import type { PacketDesk } from "../packet-desk.js";
import {
  type ControlHandler,
  type ControlReply,
  type ControlRequest,
  jsonReply,
  refusal,
} from "./api.js";
import { CAPTURE_BOUNDS, CAPTURE_DEFAULTS, type CaptureQuestion } from "./capture-question.js";
import type { ForwardingFacts, InspectionParts } from "./gateway-routes.js";

/** The rings are looked at in this interval while a capture runs. */
const TURN_MS = 10;

const CONTENT_TYPES = {
  pcapng: "application/x-pcapng",
  lines: "application/x-ndjson",
} as const;

/** Questions about captures. */
export function captureRoutes(parts: InspectionParts): [string, ControlHandler][] {
  const { desk, facts } = parts;
  if (desk === undefined || facts === undefined) {
    const refuse = () =>
      refusal(409, "This gateway forwards no packets", "run it without -devmode");
    return [["POST /capture", refuse]];
  }
  const captures = new Captures(parts, desk, facts);
  return [
    ["POST /capture", (request) => captures.start(request)],
    ["POST /capture/end", (request) => captures.end(request)],
  ];
}

/** The capture that runs. */
interface Running {
  readonly session: CaptureSession;
  readonly pid: number;
  readonly caller: string;
}

/** The captures of one gateway, one after the other. */
class Captures {
  readonly #parts: InspectionParts;
  readonly #desk: PacketDesk;
  readonly #facts: ForwardingFacts;
  readonly #area: CaptureArea;
  #generation = 0;
  #running: Running | undefined;

  constructor(parts: InspectionParts, desk: PacketDesk, facts: ForwardingFacts) {
    const { memory, plan } = parts.shared;
    this.#parts = parts;
    this.#desk = desk;
    this.#facts = facts;
    this.#area = new CaptureArea(memory, plan.captureOffset);
  }

  start({ body, caller, signal }: ControlRequest): ControlReply {
    const request = readQuestion(new TextDecoder().decode(body));
    if (typeof request === "string") return refusal(400, request);
    if (this.#running !== undefined) {
      const fix = `wait for the one of ${this.#running.caller} to end, or end it`;
      return refusal(409, "A capture is running already, and there is only one at a time", fix);
    }
    if (signal.aborted) return refusal(409, "The gateway is ending");
    const session = this.#begin(request, caller);
    signal.addEventListener("abort", () => session.end("stopped"), { once: true });
    return { status: 200, contentType: CONTENT_TYPES[request.format], body: session.chunks() };
  }

  end({ caller: { pid } }: ControlRequest): ControlReply {
    if (this.#running?.pid !== pid) return refusal(409, `Process ${pid} captures nothing`);
    this.#running.session.end("stopped");
    return jsonReply({});
  }

  #begin(request: CaptureRequest, { pid, uid }: ControlRequest["caller"]): CaptureSession {
    const { shared, machine, log } = this.#parts;
    const caller = `process ${pid} of user ${uid}`;
    const generation = this.#nextGeneration();
    const filter = formatFilter(request.filter);
    const session = this.#makeSession(request, generation, () => {
      timer.close();
      shared.control.setCaptureGeneration(0);
      this.#desk.tap = undefined;
      this.#parts.mapperSocket.tap = undefined;
      this.#running = undefined;
      log.info(`capture of ${caller} has ended`, "capture");
    });
    const timer = machine.every(TURN_MS, () => session.turn());
    this.#running = { session, pid, caller };
    this.#desk.tap = new DeskTap({
      snaplen: request.snaplen,
      tunnelVersion: this.#parts.settings.tunnelVersion,
      nowMs: () => machine.monotonicMs(),
      take: (record) => session.offer(record),
    });
    if (request.hasMessages) {
      this.#parts.mapperSocket.tap = (message, client, isReceived) =>
        session.offerMessage(message, client, isReceived);
    }
    this.#area.write({ snaplen: request.snaplen, filter });
    shared.control.setCaptureGeneration(generation);
    const text = `capture of ${caller} begins${filter === "" ? "" : `: ${filter}`}`;
    log.info(text, "capture");
    return session;
  }

  /** 1 to 2^31 - 1, over and over. */
  #nextGeneration(): number {
    this.#generation = (this.#generation % 0x7fff_ffff) + 1;
    return this.#generation;
  }

  #makeSession(request: CaptureRequest, generation: number, onEnd: () => void): CaptureSession {
    const { shared, settings, machine } = this.#parts;
    const { memory, plan } = shared;
    const ring = (offset: number) =>
      new CaptureRingConsumer(memory, offset, settings.tunnelVersion);
    const { bind, publicAddress, port } = settings;
    return new CaptureSession({
      request,
      generation,
      egressRings: plan.lanes.map(({ egressCaptureOffset }) => ring(egressCaptureOffset)),
      ingressRings: plan.lanes.map(({ ingressCaptureOffset }) => ring(ingressCaptureOffset)),
      own: { publicAddress, mappings: new SharedMappings(shared, settings) },
      tunnelEnd: { address: isUnspecified(bind) ? publicAddress : bind, port },
      tunName: this.#facts.tunName,
      application: `ipref-gw ${machine.version}`,
      nowMs: () => machine.monotonicMs(),
      wallClockMs: () => machine.wallClockMs(),
      onEnd,
    });
  }
}

/** Reads the body; a sentence when it is none. */
function readQuestion(text: string): CaptureRequest | string {
  const question = readObject(text);
  if (question === undefined) return "The question is no JSON object";
  for (const name of Object.keys(question)) {
    if (!Object.hasOwn(CAPTURE_DEFAULTS, name))
      return `There is no "${name}" in a question for a capture`;
  }
  const { filter: filterText, format, mapper, ...limits } = { ...CAPTURE_DEFAULTS, ...question };
  if (format !== "pcapng" && format !== "lines") return 'The format is "pcapng" or "lines"';
  for (const [name, [least, most]] of Object.entries(CAPTURE_BOUNDS)) {
    const value: unknown = limits[name as keyof typeof CAPTURE_BOUNDS];
    if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
      return `Cannot use this "${name}": expected a whole number from ${least} to ${most}`;
    }
  }
  if (typeof mapper !== "boolean") return '"mapper" is true or false';
  const filter = readFilter(filterText);
  if (typeof filter === "string") return filter;
  const { snaplen, count, durationMs, bytes } = limits;
  const rest = { countMax: count, durationMs, bytesMax: bytes, hasMessages: mapper };
  return { filter, format, snaplen, ...rest };
}

function readObject(text: string): CaptureQuestion | undefined {
  if (text === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as CaptureQuestion) : undefined;
  } catch {
    return undefined;
  }
}

function readFilter(text: unknown): CaptureFilter | string {
  if (typeof text !== "string") return "The filter is a text";
  const parsed = parseFilter(text);
  if (!parsed.ok) return describeFault(text, parsed.fault);
  const isShort = formatFilter(parsed.filter).length <= CAPTURE_FILTER_BYTES_MAX;
  return isShort ? parsed.filter : "The filter is too long";
}
