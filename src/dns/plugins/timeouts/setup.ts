/** `timeouts { read DUR; write DUR; idle DUR }` of TCP connections, as in CoreDNS. */

import {
  durationOf,
  expectCount,
  type PropertyReader,
  readProperties,
} from "../../corefile/words.js";
import { definePlugin } from "../../plugin.js";

/** Milliseconds; defaults from spec/resolver.md 8. */
export interface TimeoutSettings {
  readonly readMs: number;
  readonly writeMs: number;
  readonly idleMs: number;
}

export const TIMEOUT_DEFAULTS: TimeoutSettings = { readMs: 3000, writeMs: 5000, idleMs: 10_000 };

export const timeoutsPlugin = definePlugin<TimeoutSettings>({
  name: "timeouts",
  isOnce: true,
  parse([directive], context) {
    expectCount(directive!.args, directive!.name, 0, 0, context);
    const settings: { -readonly [Field in keyof TimeoutSettings]: number } = {
      ...TIMEOUT_DEFAULTS,
    };
    const into =
      (field: keyof TimeoutSettings): PropertyReader =>
      (args, name) => {
        if (!expectCount(args, name, 1, 1, context)) return;
        settings[field] = durationOf(args[0]!, context, 1000) ?? settings[field];
      };
    readProperties(
      directive!.lines,
      { read: into("readMs"), write: into("writeMs"), idle: into("idleMs") },
      context,
    );
    return settings;
  },
});
