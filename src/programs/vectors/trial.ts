/** One passage of a vector, what the gateway did with it, and a way to try something else. */

import type { Form } from "./dissect.js";
import type { Output, Play, Played } from "./played.js";
import type { Passage, VectorConfig, Verdict } from "./vector-file.js";

/** Everything that the judgement of one passage may look at. */
export interface Trial {
  readonly passage: Passage;
  readonly config: VectorConfig;
  readonly played: Played;
  readonly play: Play;
}

/** Side on which the outputs of a passage come out. */
export function expectedSide(passage: Passage, verdict: Verdict): Output["side"] {
  const isForward = verdict !== "icmp";
  return (passage.direction === "encap") === isForward ? "tunnel" : "local";
}

/** Form of the packets on a side. */
export function formOf(side: Output["side"]): Form {
  return side === "tunnel" ? "tunnel" : "native";
}
