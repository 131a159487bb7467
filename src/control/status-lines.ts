/** Counters as lines for the log: on SIGUSR1 and at the end. Counters that are zero are left out. */

import { DROP_REASONS, type DropReason } from "../base/drop-reason.js";
import type { MapperStatistics } from "../mapper/status.js";
import type { CounterReader } from "../tables/counters.js";

/** What is told, most important first. */
export function statusLines(totals: CounterReader, mapper: MapperStatistics): readonly string[] {
  return [
    direction("to tunnel", "egress", totals),
    direction("from tunnel", "ingress", totals),
    ...offloadLine(totals),
    `mappings: ${mapper.remoteHosts} remote hosts, ${mapper.localHosts} local hosts, ` +
      `${mapper.created} made, ${mapper.expired} expired, ${mapper.records} records in all`,
    ...dropLines(totals),
  ];
}

function direction(label: string, role: "egress" | "ingress", totals: CounterReader): string {
  const packets = totals.total(`${role}-packets`);
  const octets = totals.total(`${role}-bytes`);
  const slow = totals.total(`${role}-slow-path`);
  return `${label}: ${packets} packets fast (${octets} octets), ${slow} the slow way`;
}

/** What came and went in units of several packets. */
function offloadLine(totals: CounterReader): string[] {
  const [read, written] = [
    totals.total("egress-super-packets"),
    totals.total("ingress-super-packets"),
  ];
  const [sent, received] = [totals.total("send-groups"), totals.total("receive-groups")];
  if (read + written + sent + received === 0) return [];
  return [
    `offloads: super-packets ${read} read, ${written} written; ` +
      `messages of several datagrams ${sent} sent, ${received} received`,
  ];
}

function dropLines(totals: CounterReader): string[] {
  return DROP_REASONS.flatMap(({ name, meaning }) => {
    const count = totals.drops(name as DropReason);
    return count === 0 ? [] : [`dropped ${name}: ${count} (${meaning})`];
  });
}
