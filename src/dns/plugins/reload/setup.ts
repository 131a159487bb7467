/** `reload [INTERVAL [JITTER]]` (spec/resolver.md 2.6): watches the Corefile and its imports. */

import { durationOf, expectCount, expectNoLines } from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";

export interface ReloadSettings {
  readonly intervalMs: number;
  /** Each wait is longer or shorter by up to this. */
  readonly jitterMs: number;
}

const INTERVAL_MIN_MS = 2000;
const JITTER_MIN_MS = 1000;
const DEFAULTS: ReloadSettings = { intervalMs: 30_000, jitterMs: 15_000 };

export const reloadPlugin = definePlugin<ReloadSettings>({
  name: "reload",
  isOnce: true,
  parse([directive], context) {
    const { args, name } = directive!;
    expectNoLines(directive!, context);
    if (!expectCount(args, name, 0, 2, context)) return undefined;
    const [interval, jitter] = args;
    const intervalMs =
      interval === undefined ? DEFAULTS.intervalMs : durationOf(interval, context, INTERVAL_MIN_MS);
    if (intervalMs === undefined) return undefined;
    const jitterMs =
      jitter === undefined
        ? Math.min(DEFAULTS.jitterMs, intervalMs / 2)
        : durationOf(jitter, context, JITTER_MIN_MS);
    if (jitterMs === undefined) return undefined;
    return { intervalMs, jitterMs: Math.min(jitterMs, intervalMs / 2) };
  },
});
