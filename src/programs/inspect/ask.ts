/** Asks the parts of a running system over the control sockets in its run folder. */

import { join } from "node:path";
import { printable } from "../../base/printable.js";
import type { Refusal } from "../../control/inspection/api.js";
import {
  type ControlAnswer,
  type ControlCall,
  ControlUnavailable,
  callControl,
} from "../../platform/control-client.js";
import {
  EXIT_NO_PERMISSION,
  EXIT_NOT_RUNNING,
  EXIT_UNAVAILABLE,
  EXIT_USAGE,
} from "../exit-status.js";

/** A line of an answer; the longest have the names of a host. */
const LINE_CHARACTERS_MAX = 2 ** 20;
/** RFC 9110 15.5.1. */
const BAD_REQUEST = 400;

/** Parts with a control socket, in the order in which they are shown. */
export const PART_NAMES = ["gateway", "resolver", "agent", "up"] as const;

export type PartName = (typeof PART_NAMES)[number];

/** The path of a part's control socket. */
export function controlPath(runFolder: string, part: PartName): string {
  return join(runFolder, `${part}.control`);
}

/** A question that the part refuses; the message is its sentence. */
export class QuestionRefused extends Error {
  override readonly name = "QuestionRefused";
  /** 2 when the question is at fault, 69 when it cannot be answered now. */
  readonly exitStatus: number;

  constructor(message: string, httpStatus: number) {
    super(message);
    this.exitStatus = httpStatus === BAD_REQUEST ? EXIT_USAGE : EXIT_UNAVAILABLE;
  }
}

/** Asks; throws ControlUnavailable or QuestionRefused. */
export async function askPart(
  runFolder: string,
  part: PartName,
  call: ControlCall,
): Promise<ControlAnswer> {
  const answer = await callControl(controlPath(runFolder, part), call);
  if (answer.status < 400) return answer;
  const { error, fix } = (await answer.json()) as Refusal;
  throw new QuestionRefused(fix === "" ? error : `${error}; ${fix}`, answer.status);
}

/** What a part says to a question, or why it says nothing. */
export type PartAnswer<Value> =
  | { readonly state: "answered"; readonly value: Value }
  | { readonly state: "not-running" | "denied" | "failed"; readonly message: string };

/** Asks for JSON; failures are values. */
export async function tryPart<Value>(
  runFolder: string,
  part: PartName,
  call: ControlCall,
): Promise<PartAnswer<Value>> {
  try {
    const answer = await askPart(runFolder, part, call);
    return { state: "answered", value: (await answer.json()) as Value };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { state: stateOf(error), message: error.message };
  }
}

function stateOf(error: Error): "not-running" | "denied" | "failed" {
  if (!(error instanceof ControlUnavailable)) return "failed";
  if (error.exitStatus === EXIT_NOT_RUNNING) return "not-running";
  return error.exitStatus === EXIT_NO_PERMISSION ? "denied" : "failed";
}

/** Tells on standard error why a command got no answer; its exit status. */
export function complainUnavailable(error: unknown): number {
  const isKnown = error instanceof ControlUnavailable || error instanceof QuestionRefused;
  if (!isKnown) throw error;
  process.stderr.write(`${printable(error.message)}\n`);
  return error.exitStatus;
}

/** The first values of an answer of JSON lines; throws as askPart does. */
export async function askEntries<Entry>(
  runFolder: string,
  part: PartName,
  { path, signal }: Pick<ControlCall, "path" | "signal">,
  limit: number,
): Promise<Entry[]> {
  const query = { limit: String(limit) };
  const entries: Entry[] = [];
  const answer = await askPart(runFolder, part, { path, query, ...(signal && { signal }) });
  for await (const line of answerLines(answer)) {
    if (entries.push(JSON.parse(line) as Entry) >= limit) break;
  }
  return entries;
}

/** The lines of an answer of JSON lines, as they arrive. */
export async function* answerLines(answer: ControlAnswer): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of answer.stream()) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop()!;
    if (rest.length > LINE_CHARACTERS_MAX) {
      throw new ControlUnavailable("A line of the answer is too long", EXIT_UNAVAILABLE);
    }
    yield* lines;
  }
  if (rest !== "") yield rest;
}
