/** docs/METRICS.md and docs/EVENTS.md from the tables of metrics and events. Pure. */

import { EVENT_LIST, LINES_PER_SECOND_MAX } from "../../base/event.js";
import { METRIC_SECTIONS, type MetricDeclaration } from "./declarations.js";

const METRICS_HEAD = `# Metrics

Every part has a page in the text format of Prometheus. \`ipref up\` joins the pages of its
parts and serves them at \`http://127.0.0.1:9145/metrics\` (setting \`metrics.listen\`); a
metric that several parts have then carries the label \`part\`. A gateway or DNS agent that runs
by itself serves its page where \`-metrics ADDRESS:PORT\` says, the DNS server where its
\`prometheus\` directive says. The same pages are on the control sockets:
\`curl --unix-socket /run/ipref/gateway.control http://x/metrics\`.

Packets are counted by the forwarding workers, once a batch, in shared memory; the counters are
read when a page is asked for, and only then. All counters whose labels are known beforehand,
among them every drop reason, are there from the beginning with the value 0. The number of
series is bounded: remote gateways and mappings appear as numbers, not one by one (\`ipref peers\`
and \`ipref maps\` list them), DNS sources number 64 at most, and no metric has more
than 2,000 series.

**Health.** \`/healthz\` says whether the system works, \`/readyz\` whether it can serve: 200 or
503, and a JSON body with the state of each check, \`ok\`, \`degraded\` or \`failing\`. For
\`/healthz\` the gateway asks each forwarding worker for a sign of life and looks at the delay
of its main thread. A disk that refuses new mappings makes it \`degraded\`, which is still 200,
since known mappings are forwarded without it and a new start would not help; \`/readyz\` is 503
then.

**Board and alerts.** \`packaging/grafana/ipref.json\` is a board for Grafana,
\`packaging/prometheus/ipref.rules.yml\` holds alert rules with what to do, and
\`packaging/prometheus/scrape.yml\` an example of a scrape configuration.

The page is made from \`src/control/metrics/declarations.ts\` by \`scripts/write-metrics.js\`.
`;

/** docs/METRICS.md. */
export function metricsPage(): string {
  const sections = METRIC_SECTIONS.map(([title, metrics]) => {
    const heading = `## ${title}\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n`;
    return heading + metrics.map(metricRow).join("");
  });
  return `${METRICS_HEAD}\n${sections.join("\n")}`;
}

function metricRow({ name, kind, labels, help }: MetricDeclaration): string {
  const labelText = labels.map((label) => `\`${label}\``).join(", ");
  return `| \`${name}\` | ${kind} | ${labelText} | ${help} |\n`;
}

const EVENTS_HEAD = `# Events in the log

Each line of a log belongs to one of these events. Their names stay the same between releases,
so that logs can be filtered and alarms written by them; the text of a line may change.

| Form | Flag | A line |
|---|---|---|
| text | \`-log-format text\` | \`W hosts file /h does not exist\` |
| journal | \`-log-format journal\` | \`<4>hosts-unreadable: hosts file /h does not exist\` |
| JSON | \`-log-format json\` | \`{"time":"...","level":"warning","event":"kernel","text":"..."}\` |

\`auto\`, the default, is the journal's form when standard error leads to the journal, and text
otherwise. \`ipref up\` writes text to a terminal, the journal's form to the journal and JSON to
anything else (\`--log-format\`); its lines carry the name of the part as well. The DNS server
writes to standard output and begins a line of text with \`[LEVEL]\`, as CoreDNS does.

An event that repeats passes ${LINES_PER_SECOND_MAX} times a second, unless the table says
otherwise; the rest is counted, and the number is written ("15 more suppressed:
mapper-client-fault"). What came from the network is written so that it cannot move the cursor
of a terminal or forge a line.

The page is made from \`src/base/event.ts\` by \`scripts/write-metrics.js\`.

| Event | Meaning | Lines a second |
|---|---|---|
`;

/** docs/EVENTS.md. */
export function eventsPage(): string {
  const rows = EVENT_LIST.map(({ name, meaning, linesPerSecondMax: most }) => {
    const limit = most === Number.POSITIVE_INFINITY ? "all" : (most ?? LINES_PER_SECOND_MAX);
    return `| \`${name}\` | ${meaning} | ${limit} |\n`;
  });
  return EVENTS_HEAD + rows.join("");
}
