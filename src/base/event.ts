/**
 * Everything that makes a log line has one name here, which stays the same between releases: logs
 * are filtered and limited by it, and docs/EVENTS.md explains it.
 */

/** One event. */
export interface EventInfo {
  readonly name: string;
  readonly meaning: string;
  /** Lines a second that pass when they repeat; the rest is counted. Absent: 10. */
  readonly linesPerSecondMax?: number;
}

const UNLIMITED = Number.POSITIVE_INFINITY;

const EVENTS = [
  // Life of a program
  ["start", "The program begins; what it is and how it is set up"],
  ["ready", "Everything is open and serves"],
  ["stop", "The program ends, and why"],
  ["fatal", "The program cannot go on; the line says why", UNLIMITED],
  ["internal-error", "A bug was met; please report the line", 5],
  ["reload", "A configuration was read again"],
  ["reload-refused", "A configuration was refused; the one in force stays", 50],
  ["configuration", "A remark about the configuration", 50],
  ["doctor", "Something of the machine is in the way, and how to put it right", 100],
  ["status", "A line of the answer to SIGUSR1, or at the end", UNLIMITED],
  ["other", "A line without a name of its own"],
  // Sockets for asking
  ["control-socket", "The control socket is open"],
  ["control-refused", "There is no control socket; everything else goes on"],
  ["metrics-port", "The port for metrics is open"],
  ["metrics-refused", "There is no port for metrics; everything else goes on"],
  ["metrics-exposed", "Others than this machine can read the metrics"],
  ["capture", "A packet capture begins or ends, and who asked for it"],
  // Gateway
  ["kernel", "Which inner loops the workers run, and why not others"],
  ["device", "The TUN device, its address and MTU"],
  ["device-setting", "A setting of the machine may stop traffic", 50],
  ["lanes", "How many pairs of workers there are"],
  ["offloads", "Which offloads are in use, and which ones the machine refuses"],
  ["interface-mtu", "The MTU of the public interface is not known"],
  ["gateway", "Addresses of the gateway"],
  ["mapper-socket", "The mapper socket is open"],
  ["mapper-client-slow", "A client of the mapper socket does not read its answers: closed"],
  ["mapper-client-fault", "A client of the mapper socket sent something that cannot be used"],
  ["hosts-loaded", "The hosts file was read"],
  ["hosts-mistake", "A line of the hosts file is wrong and left out", 100],
  ["hosts-unreadable", "The hosts file is missing or cannot be read; what was known stays"],
  ["store-opened", "Something was found and mended when the store was opened", 50],
  // Mapper
  ["mapper-conflict", "Two sources want one address or reference; the order of precedence decides"],
  ["mapper-refused-record", "A published record cannot be used", 50],
  ["mapper-exhausted", "No address or reference is free"],
  ["mapper-quota", "A remote gateway wants more addresses than its share"],
  ["mapper-restored", "Mappings were taken over from the store"],
  ["mapper-source-new", "A DNS source was heard of for the first time"],
  ["mapper-source-writer", "A DNS source comes over another connection than before"],
  ["mapper-source-stale", "A DNS source has been silent for long; its records stay"],
  ["mapper-source-dropped", "A DNS source was silent for too long; its records are gone"],
  ["mapper-source-limit", "There are too many sources, or a source has too many records"],
  ["mapper-store-failed", "The disk refuses new mappings; known ones are forwarded"],
  // DNS agent
  ["agent-source", "A source that the agent reads", 100],
  ["agent-no-sources", "There is nothing to publish"],
  ["agent-notify-port", "The port for NOTIFY is open"],
  ["agent-transfer", "The content of a zone was read"],
  ["agent-transfer-failed", "The content of a zone could not be read"],
  ["agent-disagreement", "Servers of a zone disagree and none has a majority"],
  ["agent-hosts", "The set of hosts to publish has changed"],
  ["agent-record-left-out", "A record is wrong, or a name of it is not known", 60],
  ["agent-mapper-connected", "The gateway is reached"],
  ["agent-mapper-lost", "The gateway is not reached"],
  ["agent-mapper-fault", "The gateway sent something that cannot be read"],
  ["agent-delivered", "The gateway has a whole set"],
  ["agent-delivery-lost", "The gateway did not answer in time; it is sent again"],
  ["agent-delivery-refused", "The gateway has another set; all is sent again"],
  // DNS server
  ["dns-block", "Whom a server block answers", 100],
  ["dns-listening", "The addresses at which questions are answered"],
  ["dns-address-refused", "An address of the machine cannot be listened at"],
  ["dns-query", "The query log that a `log` directive asked for", UNLIMITED],
  ["dns-error", "A query failed (directive `errors`)", 100],
  ["dns-upstream-down", "A server does not answer its health checks"],
  ["dns-upstream-up", "A server answers again"],
  ["dns-loop", "A server leads back to this one"],
  ["dns-mapper-connected", "The gateway is reached"],
  ["dns-mapper-lost", "The gateway is not reached"],
  ["dns-ipref", "Something about IPREF addresses of names"],
  ["dns-zone", "A zone was read, or cannot be read", 50],
  ["dns-transfer", "A zone transfer or a NOTIFY failed"],
  ["dns-hosts", "A hosts file cannot be read"],
  ["dns-plugin", "Another plugin says something"],
  // ipref up
  ["part-output", "A line of a part that is not of its log", 200],
  ["part-ended", "A part has ended and is started again"],
  ["advice", "What to do to use the system on this machine", 50],
] as const satisfies readonly (readonly [string, string] | readonly [string, string, number])[];

/** Name of an event. */
export type EventId = (typeof EVENTS)[number][0];

/** All events in the order of the documentation. */
export const EVENT_LIST: readonly EventInfo[] = EVENTS.map(([name, meaning, most]) => ({
  name,
  meaning,
  ...(most !== undefined && { linesPerSecondMax: most }),
}));

const BY_NAME: ReadonlyMap<string, EventInfo> = new Map(
  EVENT_LIST.map((event) => [event.name, event]),
);

/** Lines a second that pass when an event repeats (spec/tunnel.md S17). */
export const LINES_PER_SECOND_MAX = 10;

/** The event of this name; `other` when there is none. */
export function eventOf(name: string): EventId {
  return BY_NAME.has(name) ? (name as EventId) : "other";
}

/** Lines a second of an event that pass. */
export function linesPerSecondMax(event: EventId): number {
  return BY_NAME.get(event)?.linesPerSecondMax ?? LINES_PER_SECOND_MAX;
}
