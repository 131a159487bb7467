/**
 * A gateway that gives back the recorded results of packet vectors, for tests of the judgement:
 * what is judged is under full control.
 */

import { toHex } from "../../src/base/hex.js";
import type { Output, Played } from "../../src/programs/vectors/played.js";
import type { StartGateway } from "../../src/programs/vectors/test-gateway.js";
import { expectedSide } from "../../src/programs/vectors/trial.js";
import type { Outcome, PacketVector, Passage } from "../../src/programs/vectors/vector-file.js";

/** Outputs by the hex text of everything fed so far. */
export type Script = Map<string, Played>;

/** The outputs of an outcome as a gateway would send them. */
export function outputsOf(passage: Passage, outcome: Outcome): Output[] {
  const side = expectedSide(passage, outcome.verdict);
  const to = outcome.verdict === "icmp" ? passage.replyOuter : passage.outer;
  return outcome.outputs.map((bytes) => {
    if (side === "local" || to === undefined) return { side, bytes };
    return { side, bytes, destination: to.dst, port: to.dport };
  });
}

/** What a gateway does that behaves as recorded, or as suggested where there is a suggestion. */
export function scriptOf(vector: PacketVector): Script {
  const script: Script = new Map();
  const fed: string[] = [];
  for (const passage of vector.passages) {
    const outcome = passage.suggested ?? passage.recorded;
    for (const input of passage.inputs) fed.push(toHex(input));
    script.set(fed.join(), { outputs: outputsOf(passage, outcome), drops: [] });
  }
  return script;
}

/** Starts gateways that follow a script; anything else is dropped. */
export function replay(script: Script): StartGateway {
  return () => {
    const fed: string[] = [];
    let taken: Played = { outputs: [], drops: [] };
    const feed = (bytes: Uint8Array) => {
      fed.push(toHex(bytes));
      const played = script.get(fed.join());
      if (played !== undefined) taken = played;
      else fed.length = isPrefix(script, fed.join()) ? fed.length : fed.length - 1;
    };
    return {
      fromLocal: feed,
      fromTunnel: (datagram) => feed(datagram),
      fromClient: () => undefined,
      settle: () => Promise.resolve(),
      advance: () => undefined,
      take: () => {
        const played = taken;
        taken = { outputs: [], drops: [] };
        return played;
      },
      takeAnswers: () => [],
    };
  };
}

function isPrefix(script: Script, text: string): boolean {
  return [...script.keys()].some((key) => key.startsWith(`${text},`));
}
