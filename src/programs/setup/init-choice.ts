/**
 * What `ipref init` chooses for a machine, and why: facts and the user's wishes in, values with
 * reasons out. Pure. A wish always wins; what it costs is said among the notes.
 */

import { valueOfFlag } from "../../control/config/read.js";
import { nameOfSetting, SETTINGS } from "../../control/config/settings.js";
import { chooseEncodeNet } from "./init-encode-net.js";
import { chooseListening, chooseUpstream } from "./init-resolver.js";
import {
  chooseBind,
  choosePort,
  choosePublic,
  chooseUplink,
  tunnelVersionOf,
} from "./init-tunnel.js";
import type { Choice, Choices, Wishes } from "./init-types.js";
import type { MachineFacts } from "./machine-facts.js";

/** Decides everything; throws CannotChoose. */
export function choose(facts: MachineFacts, wishes: Wishes): Choices {
  const notes: string[] = [];
  const tunnel = tunnelVersionOf(facts, wishes);
  const uplink = chooseUplink(facts, tunnel.version, wishes);
  const own = choosePublic(facts, uplink, wishes, notes);
  const upstream = chooseUpstream(facts, wishes, notes);
  const wished = wishesOf(wishes);
  const values = [own, upstream, ...wished.filter(({ name }) => name === "resolver.upstream")];
  const servers = values.flatMap((choice) => choice?.value ?? []).map(String);
  const net = chooseEncodeNet(facts, wishes, [...facts.resolvers, ...servers], notes);
  const found = [
    chooseBind(facts, tunnel, uplink, wishes),
    own,
    choosePort(facts, notes),
    net.choice,
    ...chooseListening(facts, uplink, wishes, notes),
    ...(upstream === undefined ? [] : [upstream]),
  ];
  const names = new Set(found.map(({ name }) => name));
  const choices = [...found, ...wished.filter(({ name }) => !names.has(name))];
  if (facts.tunTrouble !== undefined) {
    notes.push(`/dev/net/tun cannot be used (${facts.tunTrouble}): sudo modprobe tun`);
  }
  return { choices, notes, uplink, encodeNet: net.prefix };
}

/** Settings that the user has given a value. */
function wishesOf({ settings }: Wishes): readonly Choice[] {
  return SETTINGS.flatMap((setting) => {
    const text = setting.flag === undefined ? undefined : settings.get(setting.flag);
    if (text === undefined) return [];
    const reasons = [`As asked for with --${setting.flag}.`];
    return [{ name: nameOfSetting(setting), value: valueOfFlag(setting, text), reasons }];
  });
}
